#include "map_scene.h"

#include <pulseengine/map.h>
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>

namespace faults {
namespace {

constexpr char kMap[] = "m";
constexpr char kKey[] = "map:m:content";
// Claims of each kind that each worker must have made, and that could be checked.
constexpr int kEnoughClaims = 11;

// Sanitized processes get as much to do as they can manage.
const int64_t kSlower = ts_is_sanitized() != 0 ? 4 : 1;

uint64_t number(const std::string& text, int base = 10) {
  return strtoull(text.c_str(), nullptr, base);
}

}  // namespace

MapScene::MapScene(const ts_server_options& options, int64_t ttl_ms)
    : SceneBase(options),
      append_only_(options.append_only != 0),
      ttl_ms_(ttl_ms),
      history_(std::make_unique<MapHistory>(server_, kMap)),
      expires_(ttl_ms > 0) {}

MapScene::~MapScene() {
  history_.reset();
  workers_.clear();
}

// --- workers -------------------------------------------------------------------

MapWorkerSeen& MapScene::start_worker(const char* url, int64_t rate, int64_t threads) {
  auto worker = std::make_unique<MapWorkerSeen>();
  const size_t index = workers_.size();
  worker->name = "w" + std::to_string(index);
  const std::string journal = journal_path(worker->name);
  const Settings settings = {
      {"url", url == nullptr ? ts_server_url(server_) : url},
      {"client", worker->name},
      {"name", worker->name},
      {"journal", journal},
      {"map", kMap},
      {"seed", std::to_string(random(0, INT32_MAX))},
      {"driver", threads == 0 && index % 2 == 1 ? "manual" : "thread"},
      {"rate", std::to_string(rate)},
      {"threads", std::to_string(threads)},
      {"thread_pause_ms", std::to_string(12 * kSlower)},
      // Half of it is the time that the server has to answer a probe.
      {"max_unnoticed_ms", ts_is_sanitized() != 0 ? "2000" : "500"},
      {"ttl_ms", std::to_string(ttl_ms_)},
      {"read_your_writes", index % 3 == 0 ? "1" : "0"},
      // Small enough for watches to fall behind it now and then.
      {"watch_history", index % 2 == 0 ? "1024" : "20"},
  };
  worker->process = start_process("mapper", settings);
  worker->journal = std::make_unique<JournalReader>(journal);
  workers_.push_back(std::move(worker));
  return *workers_.back();
}

void MapScene::start(const char* url) {
  until("the history begins", [this] { return history_->size() > 0; });
  for (int i = 0; i < 2; i++) start_worker(url, 0, 4);
  for (int i = 0; i < 3; i++) start_worker(url, 150 / kSlower, 0);
  until("all are in step", [this] {
    return std::all_of(workers_.begin(), workers_.end(),
                       [](const auto& worker) { return worker->in_step; });
  });
  go();
  progress(100);
}

void MapScene::order(MapWorkerSeen& worker, const std::string& text) {
  SceneBase::order(worker.process, text);
}

void MapScene::order_all(const std::string& text) {
  for (const auto& worker : workers_) order(*worker, text);
}

void MapScene::go() { order_all("go"); }

// --- what they have seen ---------------------------------------------------------

void MapScene::collect() {
  for (const auto& worker : workers_) {
    worker->journal->read([&](const JournalReader::Words& words) { record(*worker, words); });
  }
}

void MapScene::record(MapWorkerSeen& worker, const JournalReader::Words& words) {
  const auto word = [&](size_t index) {
    return index < words.size() ? words[index] : std::string();
  };
  switch (words[0][0]) {
    case 'S':
      worker.synced.push_back(
          {number(word(1)), number(word(2), 16), static_cast<int64_t>(number(word(3)))});
      worker.in_step = true;
      break;
    case 'U':
      worker.in_step = false;
      break;
    case 'N':
      worker.reasons.push_back(static_cast<int>(number(word(1))));
      break;
    case 'W':
      worker.watched.push_back({number(word(1)), number(word(2), 16), 0});
      break;
    case 'O':
      worker.resyncs++;
      break;
    case 'R':
      worker.rewinds++;
      break;
    case 'A':
      worker.writes = static_cast<int64_t>(number(word(1)));
      worker.failed = static_cast<int64_t>(number(word(2)));
      worker.unknown = static_cast<int64_t>(number(word(3)));
      break;
    case 'Q':
      worker.quiet = true;
      break;
    case 'D':
      worker.disconnects = static_cast<int64_t>(number(word(1)));
      break;
    case 'B': {
      std::string text;
      for (size_t i = 1; i < words.size(); i++) text += words[i] + " ";
      worker.broken.push_back(text);
      break;
    }
    default:
      break;
  }
}

int64_t MapScene::total(const std::function<int64_t(const MapWorkerSeen&)>& count) const {
  int64_t sum = 0;
  for (const auto& worker : workers_) sum += count(*worker);
  return sum;
}

bool MapScene::gave(int reason) const {
  return total([&](const MapWorkerSeen& worker) {
           return std::count(worker.reasons.begin(), worker.reasons.end(), reason);
         }) > 0;
}

// --- time --------------------------------------------------------------------------

void MapScene::repeat(int64_t milliseconds, const char* what, const std::function<bool()>& seen,
                      const std::function<void()>& round) {
  const int64_t end = ts_now_ms() + milliseconds;
  const int64_t last = end + (failed_ ? 0 : TS_DEADLINE_MS);
  bool met = false;
  for (int64_t now = 0; now < last && !(met && now >= end); now = ts_now_ms()) {
    round();
    collect();
    met = seen();
  }
  EXPECT_TRUE(met) << "never happened: " << what;
  if (!met) failed_ = true;
}

void MapScene::see_enough() {
  if (seen_enough_) return;
  seen_enough_ = true;
  const auto enough = [this](const std::vector<MapClaim>& claims) {
    int known = 0;
    for (auto at = claims.begin(); at != claims.end() && known < kEnoughClaims; ++at) {
      known += history_->knows(at->revision) ? 1 : 0;
    }
    return known == kEnoughClaims;
  };
  const auto all = [&] {
    let_history_catch_up();
    collect();
    return std::all_of(workers_.begin(), workers_.end(), [&](const auto& worker) {
      return worker->writes > 0 && enough(worker->synced) && enough(worker->watched);
    });
  };
  repeat(0, "every worker has shown enough", all, [&] { progress(50); });
}

void MapScene::progress(int64_t writes) {
  const auto written = [this] {
    return total([](const MapWorkerSeen& worker) { return worker.writes; });
  };
  collect();
  const int64_t enough = written() + writes;
  until("writes end well", [&] { return written() >= enough; });
}

// --- the server ----------------------------------------------------------------------

void MapScene::command(const std::vector<std::string>& words) {
  std::vector<const char*> texts;
  std::vector<size_t> sizes;
  for (const std::string& word : words) {
    texts.push_back(word.data());
    sizes.push_back(word.size());
  }
  ts_reply* reply = ts_command_argv(server_, texts.size(), texts.data(), sizes.data());
  EXPECT_NE(ts_reply_get_type(reply), TS_NONE) << words[0];
  EXPECT_FALSE(ts_reply_is_error(reply)) << words[0] << ": " << ts_reply_text(reply);
  ts_reply_free(reply);
}

// The history is on a connection of its own, which may be behind.
void MapScene::let_history_catch_up() {
  const std::string mark = "caught-up-" + std::to_string(++marks_);
  command({"ECHO", mark});
  while (!history_->has_heard(mark)) {
    const uint64_t seen = history_->commands();
    const auto goes_on = [&] { return history_->has_heard(mark) || history_->commands() > seen; };
    if (!until("the history catches up", goes_on)) return;
  }
}

void MapScene::expire(int64_t milliseconds) {
  expires_ = true;
  command({"PEXPIRE", kKey, std::to_string(milliseconds)});
  until("the map has expired",
        [this] { return ts_command_integer(server_, "PTTL", kKey, nullptr) < 0; });
}

namespace {

// The append-only file, whatever the server's version makes of it.
void copy_append_only(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::filesystem::create_directories(to);
  const auto is_part = [](const std::filesystem::directory_entry& entry) {
    return entry.path().filename().string().rfind("appendonly", 0) == 0;
  };
  for (const auto& entry : std::filesystem::directory_iterator(to)) {
    if (is_part(entry)) std::filesystem::remove_all(entry.path());
  }
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    if (!is_part(entry)) continue;
    std::filesystem::copy(entry.path(), to / entry.path().filename(),
                          std::filesystem::copy_options::recursive);
  }
}

}  // namespace

void MapScene::keep_data() {
  if (!append_only_) {
    command({"SAVE"});
    return;
  }
  const std::filesystem::path data = ts_server_directory(server_);
  copy_append_only(data, data / "kept");
}

void MapScene::kill_server(ts_proxy* proxy) { restart_server(proxy, false); }

void MapScene::restart_server(ts_proxy* proxy, bool with_kept_data) {
  ts_proxy_refuse(proxy, 1);
  const int starts = history_->starts();
  ASSERT_EQ(ts_server_kill(server_), 1);
  const std::filesystem::path data = ts_server_directory(server_);
  if (with_kept_data && append_only_) copy_append_only(data / "kept", data);
  pass(random(0, 500));
  ASSERT_EQ(ts_server_restart(server_), 1);
  until("the history begins anew", [&] { return history_->starts() > starts; });
  ts_proxy_refuse(proxy, 0);
}

void MapScene::rewind(ts_proxy* proxy) {
  ts_proxy_refuse(proxy, 1);
  ts_proxy_cut_all(proxy);
  let_history_catch_up();
  restart_server(proxy, true);
}

bool MapScene::follows(const MapWorkerSeen& worker) {
  ts_reply* list = ts_command(server_, "CLIENT", "LIST", "TYPE", "pubsub", nullptr);
  const bool found = strstr(ts_reply_text(list), (" name=" + worker.name + " ").c_str()) != nullptr;
  ts_reply_free(list);
  return found;
}

MapScene::Hash MapScene::load() const {
  Hash hash;
  ts_reply* reply = ts_command(server_, "HGETALL", kKey, nullptr);
  EXPECT_EQ(ts_reply_get_type(reply), TS_ARRAY);
  for (size_t i = 0; i + 1 < ts_reply_size(reply); i += 2) {
    const ts_reply *k = ts_reply_at(reply, i), *v = ts_reply_at(reply, i + 1);
    const std::string field(ts_reply_text(k), ts_reply_size(k));
    const std::string value(ts_reply_text(v), ts_reply_size(v));
    if (field == "=rev") {
      hash.revision = number(value);
    } else if (is_map_field(field)) {
      hash.content.set(field, value);
    }
  }
  ts_reply_free(reply);
  return hash;
}

// --- the end ---------------------------------------------------------------------------

bool MapScene::all_equal(Hash* hash) {
  *hash = load();
  return std::all_of(workers_.begin(), workers_.end(), [&](const auto& worker) {
    return worker->in_step && worker->synced.back().revision == hash->revision &&
           worker->synced.back().digest == hash->content.digest() && !worker->watched.empty() &&
           worker->watched.back().revision == hash->revision &&
           worker->watched.back().digest == hash->content.digest();
  });
}

void MapScene::settle(const char* fault) {
  see_enough();
  const int64_t over_ms = ts_now_ms();
  for (const auto& worker : workers_) worker->quiet = false;
  order_all("pause");
  until("no write is under way", [this] {
    return std::all_of(workers_.begin(), workers_.end(),
                       [](const auto& worker) { return worker->quiet; });
  });
  let_history_catch_up();
  // From here on the hash stays as it is.  Writers who wait to see what they wrote end later.
  const int64_t calm_ms = std::max(over_ms, history_->changed_ms());
  Hash hash;
  if (!until("all replicas and watches equal the hash", [&] { return all_equal(&hash); })) {
    printf("  hash: revision %" PRIu64 ", %zu keys, %016" PRIx64 "\n", hash.revision,
           hash.content.values().size(), hash.content.digest());
    for (const auto& worker : workers_) {
      const MapClaim s = worker->synced.empty() ? MapClaim() : worker->synced.back();
      const MapClaim w = worker->watched.empty() ? MapClaim() : worker->watched.back();
      printf("  %s: %s, replica %" PRIu64 " %016" PRIx64 ", watch %" PRIu64 " %016" PRIx64
             ", last reason %d\n",
             worker->name.c_str(), worker->in_step ? "in step" : "out of step", s.revision,
             s.digest, w.revision, w.digest, worker->reasons.empty() ? 0 : worker->reasons.back());
    }
  }
  int64_t longest = 0;
  for (const auto& worker : workers_) {
    if (!worker->synced.empty()) longest = std::max(longest, worker->synced.back().ms - calm_ms);
  }
  printf("  %s: all in step %" PRId64 " ms after the last write, at revision %" PRIu64 "\n", fault,
         longest, hash.revision);
  fflush(stdout);
  compare_dumps(hash);
}

// Byte for byte, not only by digest.  A map that expires may be gone by now.
void MapScene::compare_dumps(const Hash& hash) {
  for (const auto& worker : workers_) worker->disconnects = -1;
  order_all("dump");
  until("all have dumped", [this] {
    return std::all_of(workers_.begin(), workers_.end(),
                       [](const auto& worker) { return worker->disconnects >= 0; });
  });
  if (ttl_ms_ > 0) return;
  for (const auto& worker : workers_) {
    std::map<std::string, std::string> values;
    FILE* file = fopen((journal_path(worker->name) + ".dump").c_str(), "r");
    ASSERT_NE(file, nullptr);
    size_t key_size = 0, value_size = 0;
    while (fscanf(file, "%zu %zu", &key_size, &value_size) == 2 && fgetc(file) == '\n') {
      std::string key(key_size, '\0'), value(value_size, '\0');
      ASSERT_EQ(fread(&key[0], 1, key_size, file), key_size);
      ASSERT_EQ(fread(&value[0], 1, value_size, file), value_size);
      values[key] = value;
    }
    fclose(file);
    EXPECT_TRUE(values == hash.content.values()) << worker->name << " differs from the hash";
  }
}

void MapScene::check(const MapWorkerSeen& worker, const std::vector<MapClaim>& claims,
                     const char* what) {
  int false_ones = 0;
  for (const MapClaim& claim : claims) {
    if (!history_->knows(claim.revision)) {
      unknown_++;
      continue;
    }
    checked_++;
    if (history_->was(claim.revision, claim.digest)) continue;
    // A map that expires is forgotten without a message.
    if (expires_ && claim.digest == 0) continue;
    if (++false_ones > 3) continue;
    ADD_FAILURE() << worker.name << ": " << what << " at revision " << claim.revision
                  << " was not what the hash was then";
  }
}

void MapScene::finish() {
  let_history_catch_up();
  if (ttl_ms_ == 0) {
    EXPECT_EQ(history_->revision(), load().revision);
  }
  for (const auto& worker : workers_) ts_process_close_input(worker->process);
  for (const auto& worker : workers_) {
    EXPECT_EQ(ts_process_wait(worker->process, TS_DEADLINE_MS), 0)
        << worker->name << " did not end well";
  }
  collect();
  for (const auto& worker : workers_) {
    check(*worker, worker->synced, "the replica");
    check(*worker, worker->watched, "the content told by the watch");
    for (const std::string& text : worker->broken) ADD_FAILURE() << worker->name << ": " << text;
  }
  // What the server had published and nobody has received when it was killed is not known.
  if (history_->starts() == 1) {
    EXPECT_EQ(unknown_, 0) << "the history knows too little";
  }
  const auto sum = [&](int64_t MapWorkerSeen::*field) {
    return total([&](const MapWorkerSeen& worker) { return worker.*field; });
  };
  printf("  %" PRId64 " writes (%" PRId64 " failed, %" PRId64 " unknown), %" PRId64
         " claims checked, %" PRId64 " of unknown revisions; out of step %" PRId64
         " times, %" PRId64 " resyncs of watches, %" PRId64 " rewinds told\n",
         sum(&MapWorkerSeen::writes), sum(&MapWorkerSeen::failed), sum(&MapWorkerSeen::unknown),
         checked_, unknown_,
         total([](const MapWorkerSeen& w) { return static_cast<int64_t>(w.reasons.size()); }),
         sum(&MapWorkerSeen::resyncs), sum(&MapWorkerSeen::rewinds));
  fflush(stdout);
}

}  // namespace faults
