#include "rmap/map_write.h"

#include <charconv>

#include "base/bytes.h"
#include "rmap/map.h"
#include "scripts.h"

namespace pulseengine {
namespace {

// Writes of one turn that leave in one script run, at most.
constexpr size_t kWritesPerRun = 512;
constexpr size_t kBytesPerRun = size_t{256} * 1024;
// A single one that its caller may send.
constexpr size_t kBytesAtOnce = size_t{16} * 1024;

// Errors that only this script has.
Error map_error(std::string_view text) {
  if (text.substr(0, 8) == "TOOLARGE") {
    return Error(PULSE_ERR_TOO_LARGE, text.substr(std::min<size_t>(9, text.size())),
                 PULSE_ERROR_SERVER);
  }
  return server_error(text);
}

Error map_error(const Error& error) {
  const bool too_large = error.message().substr(0, 8) == "TOOLARGE";
  return too_large ? map_error(error.message()) : error;
}

}  // namespace

// --- MapWrite ---------------------------------------------------------------------

MapWrite::~MapWrite() {
  for (const pulse_map_result& r : map_results_) {
    if (r.value != nullptr) reinterpret_cast<Bytes*>(r.value)->unref();
  }
}

void MapWrite::begin(std::string_view what, size_t arguments) {
  mutations_++;
  numeric_.push_back(what == "inc");
  add(what);
  add(static_cast<int64_t>(arguments));
}

void MapWrite::add(std::string_view argument) {
  sizes_.push_back(static_cast<uint32_t>(argument.size()));
  text_.append(argument.data(), argument.size());
}

void MapWrite::add(int64_t number) {
  char text[24];
  auto end = std::to_chars(text, text + sizeof text, number);
  add(std::string_view(text, static_cast<size_t>(end.ptr - text)));
}

void MapWrite::format(CommandWriter& writer) const {
  const char* at = text_.data();
  for (uint32_t size : sizes_) {
    writer.arg(std::string_view(at, size));
    at += size;
  }
}

// {revision, existed, updated, value} or an error.
bool MapWrite::take_result(Reply& reply, uint64_t* revision) {
  pulse_map_result r{};
  r.size = sizeof r;
  const size_t index = map_results_.size();
  const ReplyNode& head = reply.next();
  if (head.is_error()) {
    Error error = map_error(head.text);
    r.status = error.code();
    r.flags = error.flags();
    if (refusal_.ok()) refusal_ = error;
  } else {
    if (head.elements() < 3 || head.elements() > 4) return false;
    if (!parse_revision(reply.next().text, &r.revision)) return false;
    r.existed = reply.next().integer == 1;
    r.updated = reply.next().integer == 1;
    if (head.elements() == 4) {
      const ReplyNode& value = reply.next();
      if (value.is_text()) {
        if (numeric_[index]) {
          std::from_chars(value.text.data(), value.text.data() + value.text.size(), r.number);
        }
        r.value = reinterpret_cast<pulse_bytes*>(Bytes::copy(value.text).release());
      }
    }
    *revision = std::max(*revision, r.revision);
  }
  map_results_.push_back(r);  // there is room
  return true;
}

bool MapWrite::take_results(Reply& reply, uint64_t* revision) {
  map_results_.reserve(mutations_);
  while (map_results_.size() < mutations_) {
    if (!take_result(reply, revision)) return false;
  }
  return true;
}

pulse_map_result MapWrite::release_result(size_t index) {
  pulse_map_result none{};
  none.size = sizeof none;
  none.status = status();
  none.flags = error().flags();
  // Of a call that was cut short, a late reply may be writing them at this moment.
  if (status() != PULSE_OK || index >= map_results_.size()) return none;
  pulse_map_result r = map_results_[index];
  map_results_[index].value = nullptr;
  return r;
}

bool MapWrite::next_event(pulse_event* event) {
  if (!Operation::next_event(event)) return false;
  if (event->status == PULSE_OK && !map_results_.empty()) {
    event->map_results = map_results_.data();
    event->map_result_count = map_results_.size();
  }
  return true;
}

// --- the script run ------------------------------------------------------------------

namespace {

class MapWriteCommand final : public Command {
 public:
  MapWriteCommand(Ref<ReplicatedMap> map, const String& content, const String& channel,
                  Vector<Ref<MapWrite>> writes)
      : map_(std::move(map)), content_(content), channel_(channel), writes_(std::move(writes)) {}

  const Script* script() const override { return &scripts::map_write; }
  void format(CommandWriter& w) override {
    size_t arguments = 4;
    for (const Ref<MapWrite>& write : writes_) arguments += write->arguments();
    const MapConfig& config = map_->config();
    w.begin_script(scripts::map_write, eval, 2, arguments);
    w.arg(std::string_view(content_));
    w.arg(std::string_view(channel_));
    w.arg(config.ttl_ms);
    w.arg(std::string_view(config.sliding ? "1" : "0"));
    w.arg(map_->longest_value());
    w.arg(std::string_view(writes_.front()->atomic() ? "1" : "0"));
    for (const Ref<MapWrite>& write : writes_) write->format(w);
  }
  bool abandoned() const override {
    for (const Ref<MapWrite>& write : writes_) {
      if (!write->completed()) return false;
    }
    return true;
  }
  void sent() override {
    for (const Ref<MapWrite>& write : writes_) write->sent_any = true;
  }
  void replied(Reply& reply) override {
    size_t mutations = 0;
    for (const Ref<MapWrite>& write : writes_) mutations += write->mutations();
    const bool whole = reply.next().elements() == mutations;
    for (const Ref<MapWrite>& write : writes_) {
      uint64_t revision = 0;
      bool readable = whole && write->take_results(reply, &revision);
      if (write->completed()) continue;
      if (!readable) {
        write->complete(
            Error(PULSE_ERR_PROTOCOL, "map_write: unexpected reply", PULSE_ERROR_OUTCOME_UNKNOWN));
      } else if (!write->refusal().ok()) {
        write->complete(write->refusal());
      } else if (write->visible()) {
        map_->complete_when_visible(write, revision);
      } else {
        write->complete();
      }
    }
  }
  void failed(const Error& error) override {
    for (const Ref<MapWrite>& write : writes_) write->complete(map_error(error));
  }

 private:
  const Ref<ReplicatedMap> map_;
  const String& content_;
  const String& channel_;
  const Vector<Ref<MapWrite>> writes_;
};

}  // namespace

// --- the map --------------------------------------------------------------------------------

Error ReplicatedMap::write(Ref<MapWrite> write, int64_t timeout_ms, Ref<Signal> signal,
                           Ref<Operation>* out) {
  write->set_signal(std::move(signal));
  Connection& connection = engine_->connection_for(content_);
  // The loop takes the writes under the same lock, so it finds this one.
  std::lock_guard<std::mutex> lock(mutex_);
  Error error = engine_->admit(connection, write_bytes_ + write->bytes());
  if (!error.ok()) return error;
  if (writes_.empty() && !writes_leaving_ && connection.writes_at_once() &&
      write->bytes() <= kBytesAtOnce && check_published(write->published(), 0).ok()) {
    return write_at_once(connection, std::move(write), timeout_ms, out);
  }
  reserve_one_more(writes_);
  if (writes_.empty()) {
    auto send = [map = Ref<ReplicatedMap>::share(this)] { map->send_writes(); };
    if (!engine_->post_call(std::move(send))) {
      return Error(PULSE_ERR_CLOSED, "the engine is closed", PULSE_ERROR_NEVER_SENT);
    }
  }
  error = engine_->accept(*write, timeout_ms);
  if (!error.ok()) return error;
  *out = write;
  write_bytes_ += write->bytes();
  writes_.push_back(std::move(write));
  return {};
}

// Nothing is under way that it could share a script run with.  mutex_ is held: nobody's next write
// comes before it.
Error ReplicatedMap::write_at_once(Connection& connection, Ref<MapWrite> write, int64_t timeout_ms,
                                   Ref<Operation>* out) {
  Ref<Command> command = make_ref<MapWriteCommand>(Ref<ReplicatedMap>::share(this), content_,
                                                   channel_, Vector<Ref<MapWrite>>{write});
  Connection::Submission submission(connection);
  Error error =
      engine_->accept_with(*write, timeout_ms, [&] { return submission.submit(command); });
  if (error.ok()) *out = std::move(write);
  return error;
}

// Something that waits may be more than the server can publish: that is soon known.
bool ReplicatedMap::may_be_too_large() const {
  if (limit_known_) return false;
  std::lock_guard<std::mutex> lock(mutex_);
  return write_bytes_ > kBytesPerRun;
}

// What waits leaves, in order: neighbours share a script run.  While there is no connection it
// waits here, where a write that was given up can still be taken out.
void ReplicatedMap::send_writes() {
  if (!ended_ && (!engine_->server_is_ready() || may_be_too_large())) return;
  Vector<Ref<MapWrite>> all = take_writes();
  size_t next = 0;
  try {
    while (next < all.size()) {
      Vector<Ref<MapWrite>> run;
      size_t bytes = 0, published = 0, end = next;
      for (; end < all.size(); end++) {
        MapWrite& write = *all[end];
        const bool alone = write.atomic() || !config_.coalesce;
        if (!run.empty() && (alone || run.size() == kWritesPerRun || bytes > kBytesPerRun)) break;
        if (write.completed()) continue;  // cancelled meanwhile
        // Its limit may have become known since it was taken.
        if (Error e = check_published(write.published(), PULSE_ERROR_NEVER_SENT); !e.ok()) {
          write.complete(e);
          continue;
        }
        if (!run.empty() && !check_published(published + write.published(), 0).ok()) break;
        bytes += write.bytes();
        published += write.published();
        run.push_back(all[end]);
        if (alone) {
          end++;
          break;
        }
      }
      if (!run.empty()) submit_writes(std::move(run));
      next = end;
    }
  } catch (const std::bad_alloc&) {
    Error error(PULSE_ERR_NO_MEMORY, "out of memory", PULSE_ERROR_NEVER_SENT);
    for (; next < all.size(); next++) all[next]->complete(error);
  }
  std::lock_guard<std::mutex> lock(mutex_);
  writes_leaving_ = false;
}

void ReplicatedMap::submit_writes(Vector<Ref<MapWrite>> writes) {
  Vector<Ref<MapWrite>> keep = writes;
  // From here on one of them cannot be taken out of the run any more.
  if (keep.size() > 1) {
    for (const Ref<MapWrite>& write : keep) write->sent_any = true;
  }
  Ref<Command> command = make_ref<MapWriteCommand>(Ref<ReplicatedMap>::share(this), content_,
                                                   channel_, std::move(writes));
  Error error = engine_->connection_for(content_).submit(std::move(command));
  // On the loop thread a closed connection has told the command already.
  if (error.ok()) return;
  for (const Ref<MapWrite>& write : keep) write->complete(error);
}

Vector<Ref<MapWrite>> ReplicatedMap::take_writes() noexcept {
  Vector<Ref<MapWrite>> all;
  std::lock_guard<std::mutex> lock(mutex_);
  all.swap(writes_);
  write_bytes_ = 0;
  writes_leaving_ = !all.empty();
  return all;
}

}  // namespace pulseengine
