#include "pool/membership.h"

#include <algorithm>

namespace pulseengine {
namespace {

std::string_view view(const String& s) { return {s.data(), s.size()}; }

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// Numbers as digits.
bool less(std::string_view a, std::string_view b) {
  return a.size() != b.size() ? a.size() < b.size() : a < b;
}

}  // namespace

void Membership::set(Table table, std::string_view id, std::string_view value, int64_t now_ms) {
  auto found = tables_[table].find(id);
  if (found == tables_[table].end()) {
    tables_[table].emplace(String(id), Entry{String(value), now_ms});
  } else if (view(found->second.value) != value) {
    found->second.value.assign(value.data(), value.size());
    found->second.changed_ms = now_ms;
  }
}

void Membership::erase(Table table, std::string_view id) {
  auto found = tables_[table].find(id);
  if (found != tables_[table].end()) tables_[table].erase(found);
}

void Membership::clear(Table table) { tables_[table].clear(); }

void Membership::forgive(int64_t now_ms) {
  for (Entries& table : tables_) {
    for (auto& [id, entry] : table) entry.changed_ms = now_ms;
  }
  strangers_.clear();
}

const Membership::Entry* Membership::find(Table table, std::string_view id) const {
  auto found = tables_[table].find(id);
  return found == tables_[table].end() ? nullptr : &found->second;
}

bool Membership::refresh(int64_t now_ms) {
  int64_t next = kNever;
  Vector<const Entries::value_type*> found;
  for (const auto& worker : tables_[kWorkers]) {
    if (!is_number(view(worker.second.value))) continue;  // leaving, or rubbish
    const Entry* lock = find(kLocks, view(worker.first));
    if (lock != nullptr && alive(*lock, now_ms)) {
      next = std::min(next, lock->changed_ms + ttl_ms_ + 1);
      continue;
    }
    const Entry* beat = find(kWorkerBeats, view(worker.first));
    if (beat == nullptr || !alive(*beat, now_ms)) continue;
    next = std::min(next, beat->changed_ms + ttl_ms_ + 1);
    found.push_back(&worker);
  }
  std::sort(found.begin(), found.end(), [](const auto* a, const auto* b) {
    const std::string_view x = view(a->second.value), y = view(b->second.value);
    return x != y ? less(x, y) : a->first < b->first;
  });
  next_change_ms_ = next;
  const bool same = std::equal(found.begin(), found.end(), active_.begin(), active_.end(),
                               [](const auto* a, const String& b) { return a->first == b; });
  if (same) return false;
  Vector<String> active;
  active.reserve(found.size());
  for (const auto* worker : found) active.push_back(worker->first);
  active_.swap(active);
  return true;
}

bool Membership::is_active(std::string_view worker) const {
  return std::any_of(active_.begin(), active_.end(),
                     [&](const String& id) { return view(id) == worker; });
}

Vector<Membership::Dead> Membership::dead_workers(const Vector<String>& also, int64_t now_ms) {
  Vector<Dead> dead;
  auto judge = [&](const String& id, int64_t since_ms) {
    const Entry* lock = find(kLocks, view(id));
    if (lock != nullptr && alive(*lock, now_ms)) return;
    const Entry* beat = find(kWorkerBeats, view(id));
    if (beat != nullptr && alive(*beat, now_ms)) return;
    if (beat == nullptr && now_ms - since_ms <= ttl_ms_) return;
    dead.push_back({id, beat == nullptr ? String() : beat->value});
  };
  for (const auto& [id, entry] : tables_[kWorkers]) judge(id, entry.changed_ms);
  Entries strangers;
  for (const String& id : also) {
    if (find(kWorkers, view(id)) != nullptr) continue;
    auto known = strangers_.find(id);
    const int64_t since = known == strangers_.end() ? now_ms : known->second.changed_ms;
    strangers.emplace(id, Entry{String(), since});
    judge(id, since);
  }
  strangers_.swap(strangers);
  return dead;
}

Vector<Membership::Dead> Membership::dead_nodes(int64_t now_ms) const {
  Vector<Dead> dead;
  for (const auto& [id, entry] : tables_[kNodeBeats]) {
    if (!alive(entry, now_ms)) dead.push_back({id, entry.value});
  }
  return dead;
}

int64_t Membership::silent_ms(Table table, std::string_view id, int64_t now_ms) const {
  const Entry* entry = find(table, id);
  return entry == nullptr ? -1 : now_ms - entry->changed_ms;
}

}  // namespace pulseengine
