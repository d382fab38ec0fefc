#include "map_history.h"

#include <cstring>
#include <utility>

namespace faults {
namespace {

constexpr int64_t kReadMs = 200;
constexpr int64_t kAgainMs = 5;

int hex(char c) { return c <= '9' ? c - '0' : (c | 32) - 'a' + 10; }

// The word in quotation marks at *at, as MONITOR writes it; *at moves behind it.
std::string take_word(const std::string& line, size_t* at) {
  std::string word;
  size_t i = line.find('"', *at);
  if (i == std::string::npos) return word;
  for (i++; i < line.size() && line[i] != '"'; i++) {
    if (line[i] != '\\') {
      word.push_back(line[i]);
      continue;
    }
    static const char kLetters[] = "nrtab", kBytes[] = "\n\r\t\a\b";
    const char c = line[++i];
    if (c == 'x') {
      word.push_back(static_cast<char>(hex(line[i + 1]) * 16 + hex(line[i + 2])));
      i += 2;
    } else {
      const char* letter = strchr(kLetters, c);
      word.push_back(letter == nullptr ? c : kBytes[letter - kLetters]);
    }
  }
  *at = i + 1;
  return word;
}

std::string take_part(const std::string& message, size_t* at) {
  uint32_t size = 0;
  for (unsigned i = 0; i < 4; i++) {
    size |= static_cast<uint32_t>(static_cast<unsigned char>(message.at(*at + i))) << (8 * i);
  }
  *at += 4 + size;
  return message.substr(*at - size, size);
}

}  // namespace

MapHistory::MapHistory(ts_server* server, std::string name)
    : server_(server), name_(std::move(name)) {
  thread_ = std::thread([this] { run(); });
}

MapHistory::~MapHistory() {
  stop_ = true;
  thread_.join();
}

uint64_t MapHistory::revision() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return known_ ? revision_ : 0;
}

bool MapHistory::knows(uint64_t revision) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return digests_.count(revision) != 0;
}

bool MapHistory::was(uint64_t revision, uint64_t digest) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = digests_.find(revision);
  return found != digests_.end() && found->second.count(digest) != 0;
}

bool MapHistory::has_heard(const std::string& echo) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return echo_ == echo;
}

size_t MapHistory::size() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return digests_.size();
}

void MapHistory::run() {
  while (!stop_) {
    ts_connection* monitor = ts_connection_open(server_);
    if (monitor != nullptr && begin(monitor)) {
      for (bool alive = true; alive && !stop_;) {
        const int64_t start = ts_now_ms();
        ts_reply* reply = ts_connection_read(monitor, kReadMs);
        const bool got = ts_reply_get_type(reply) != TS_NONE;
        if (got) take(std::string(ts_reply_text(reply), ts_reply_size(reply)));
        // Nothing came: in no time at all when the connection has ended.
        alive = got || ts_now_ms() - start >= kReadMs / 2;
        ts_reply_free(reply);
      }
    }
    ts_connection_free(monitor);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      known_ = false;
    }
    ts_pause_ms(kAgainMs);
  }
}

// Asks for a copy, whose command is its place among what MONITOR shows.
bool MapHistory::begin(ts_connection* monitor) {
  ts_reply* ok = ts_connection_command(monitor, "MONITOR", nullptr);
  bool good = ts_reply_equals(ok, "OK") != 0;
  ts_reply_free(ok);
  ts_connection* other = good ? ts_connection_open(server_) : nullptr;
  if (other == nullptr) return false;
  static std::atomic<int> marks{0};
  const std::string mark = "mark-" + std::to_string(++marks);
  const std::string key = "map:" + name_ + ":content";
  ts_reply* hash = ts_connection_command(other, "EVAL", "return redis.call('HGETALL', KEYS[1])",
                                         "1", key.c_str(), mark.c_str(), nullptr);
  good = ts_reply_get_type(hash) == TS_ARRAY;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    mark_ = mark;
    copy_.clear();
    copy_revision_ = 0;
    for (size_t i = 0; i + 1 < ts_reply_size(hash); i += 2) {
      const ts_reply *k = ts_reply_at(hash, i), *v = ts_reply_at(hash, i + 1);
      const std::string field(ts_reply_text(k), ts_reply_size(k));
      if (field == "=rev") {
        copy_revision_ = strtoull(ts_reply_text(v), nullptr, 10);
      } else if (is_map_field(field)) {
        copy_.set(field, std::string(ts_reply_text(v), ts_reply_size(v)));
      }
    }
  }
  ts_reply_free(hash);
  ts_connection_free(other);
  return good;
}

void MapHistory::note() {
  digests_[revision_].insert(content_.digest());
  changed_ms_ = ts_now_ms();
}

void MapHistory::take(const std::string& line) {
  commands_++;
  size_t at = line.find(']');
  if (at == std::string::npos) return;
  const bool in_script = at >= 4 && line.compare(at - 4, 4, " lua") == 0;
  const std::string command = take_word(line, &at);
  if (in_script && command == "PUBLISH") {
    if (take_word(line, &at) == "map:" + name_ + ":updates") take_message(take_word(line, &at));
    return;
  }
  std::lock_guard<std::mutex> lock(mutex_);
  if (command == "ECHO") {
    echo_ = take_word(line, &at);
  } else if (command == "FLUSHALL") {
    content_.clear();
    revision_ = 0;
    note();
  } else if (command == "EVAL" && line.find('"' + mark_ + '"') != std::string::npos) {
    content_ = copy_;
    revision_ = copy_revision_;
    known_ = true;
    note();
    starts_++;
  }
}

void MapHistory::take_message(const std::string& message) {
  const size_t colon = message.find(':');
  const std::string what = message.substr(0, colon);
  size_t at = colon + 1;
  std::string key, value, revision;
  if (what == "set" || what == "del") {
    key = take_part(message, &at);
    if (what == "set") value = take_part(message, &at);
    revision = take_part(message, &at);
  } else {
    revision = message.substr(at);
  }
  const uint64_t number = strtoull(revision.c_str(), nullptr, 10);
  std::lock_guard<std::mutex> lock(mutex_);
  if (number == 1) {  // a new hash, after it expired
    content_.clear();
    known_ = true;
  } else if (number != revision_ + 1) {
    known_ = false;
  }
  if (!known_) return;
  revision_ = number;
  if (what == "set") {
    content_.set(key, value);
  } else if (what == "del") {
    content_.erase(key);
  } else {
    content_.clear();
  }
  note();
}

}  // namespace faults
