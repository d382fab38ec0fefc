#include "scene.h"

#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <cinttypes>
#include <cstring>

namespace faults {
namespace {

constexpr char kKey[] = "pulse:stream:s";
constexpr char kGroup[] = "g";

std::string id_text(const Id& id) {
  return std::to_string(id.first) + "-" + std::to_string(id.second);
}

}  // namespace

Id parse_id(const std::string& text) {
  char* rest = nullptr;
  const uint64_t ms = strtoull(text.c_str(), &rest, 10);
  return {ms, *rest == '-' ? strtoull(rest + 1, nullptr, 10) : 0};
}

Scene::Scene(const ts_server_options& options) : SceneBase(options) {
  common_ = {{"url", ts_server_url(server_)},
             {"stream", "s"},
             {"group", kGroup},
             {"grace_ms", "600"},
             {"block_ms", "1000"},
             // Longer than any answer that is on its way takes on a busy machine.
             {"command_timeout_ms", std::to_string(TS_DEADLINE_MS / 2)},
             {"rate", "600"},
             {"work_us", "1000"},
             {"buffer", "200"},
             {"max_len", "-1"}};
}

Scene::~Scene() { workers_.clear(); }

// --- workers -------------------------------------------------------------------

Worker& Scene::start(const std::string& role, const Settings& more) {
  auto worker = std::make_unique<Worker>();
  const int number = started_[role]++;
  worker->role = role;
  worker->name = role.substr(0, 1) + std::to_string(number);
  const std::string journal = journal_path(worker->name);
  Settings settings = common_;
  settings["name"] = worker->name;
  settings["client"] = role;
  settings["journal"] = journal;
  settings["seed"] = std::to_string(random(0, INT32_MAX));
  // The drivers take turns.
  settings["driver"] = number % 2 == 0 ? "thread" : "manual";
  for (const auto& [name, value] : more) settings[name] = value;
  worker->process = start_process(role, settings);
  worker->journal = std::make_unique<JournalReader>(journal);
  workers_.push_back(std::move(worker));
  return *workers_.back();
}

Worker& Scene::publisher(const Settings& more) { return start("publisher", more); }

Worker& Scene::consumer(const Settings& more) {
  Worker& worker = start("consumer", more);
  until("a new consumer receives", [&] { return !worker.consumer.empty(); });
  return worker;
}

Worker& Scene::reader(const Settings& more) {
  Worker& worker = start("reader", more);
  until("a new reader receives", [&] { return !worker.consumer.empty(); });
  return worker;
}

void Scene::order(Worker& worker, const std::string& text) {
  SceneBase::order(worker.process, text);
}

void Scene::order_all(const std::string& role, const std::string& text) {
  for (Worker* worker : all(role)) order(*worker, text);
}

void Scene::kill(Worker& worker) {
  ts_process_signal(worker.process, SIGKILL);
  EXPECT_EQ(ts_process_wait(worker.process, TS_DEADLINE_MS), 128 + SIGKILL)
      << worker.name << " ended before it was killed";
  collect();
  ts_process_free(worker.process);
  worker.process = nullptr;
}

std::vector<Worker*> Scene::all(const std::string& role) {
  std::vector<Worker*> found;
  for (const auto& worker : workers_) {
    if (worker->role == role && worker->process != nullptr) found.push_back(worker.get());
  }
  return found;
}

std::vector<Worker*> Scene::everyone() {
  std::vector<Worker*> found;
  for (const auto& worker : workers_) {
    if (worker->process != nullptr) found.push_back(worker.get());
  }
  return found;
}

void Scene::end_all() {
  for (const char* role : {"publisher", "consumer", "reader"}) end(role);
}

void Scene::end(const std::string& role) {
  for (Worker* worker : all(role)) ts_process_close_input(worker->process);
  for (Worker* worker : all(role)) {
    EXPECT_EQ(ts_process_wait(worker->process, TS_DEADLINE_MS), 0)
        << worker->name << " did not end well";
    ts_process_free(worker->process);
    worker->process = nullptr;
  }
  collect();
}

// --- what they have seen ---------------------------------------------------------

void Scene::collect() {
  for (const auto& worker : workers_) {
    worker->journal->read([&](const JournalReader::Words& words) { record(*worker, words); });
  }
}

void Scene::record(Worker& worker, const JournalReader::Words& words) {
  const auto word = [&](size_t index) {
    return index < words.size() ? words[index] : std::string();
  };
  const bool is_reader = worker.role == "reader";
  switch (words[0][0]) {
    case 'A':
      acknowledged_[word(1)] = parse_id(word(2));
      break;
    case 'U':
      unknown_.insert(word(1));
      worker.failed_adds[std::stoi(word(2))]++;
      break;
    case 'N':
      refused_.insert(word(1));
      worker.failed_adds[std::stoi(word(2))]++;
      break;
    case 'Q':
      worker.quiet = true;
      break;
    case 'Y':
      worker.consumer = word(1);
      break;
    case 'H':
      worker.handled.push_back({word(1), parse_id(word(2)), std::stoull(word(3))});
      if (is_reader) break;
      handled_[word(1)].insert(parse_id(word(2)));
      handlings_++;
      if (worker.handled.back().deliveries > 1) redeliveries_++;
      break;
    case 'T':
      worker.taken.push_back({word(1), parse_id(word(2)), std::stoull(word(3))});
      break;
    case 'K':
      worker.acked++;
      break;
    case 'O':
      worker.not_owner.push_back(parse_id(word(1)));
      break;
    case 'F':
      worker.failed_acks[std::stoi(word(2))]++;
      break;
    case 'G':
      worker.gaps.push_back({parse_id(word(1)), parse_id(word(2)), std::stoull(word(3))});
      break;
    case 'L':
      worker.lost.push_back(parse_id(word(1)));
      lost_++;
      break;
    case 'R':
      worker.recreated.push_back(parse_id(word(1)));
      break;
    case 'D':
      worker.disconnected++;
      break;
    case 'C':
      worker.reconnected++;
      break;
    case 'X':
      worker.ownership_lost++;
      break;
    case 'E':
      worker.read_errors[std::stoi(word(1))]++;
      break;
    default:
      break;
  }
}

int64_t Scene::total(const std::function<int64_t(const Worker&)>& count) const {
  int64_t sum = 0;
  for (const auto& worker : workers_) sum += count(*worker);
  return sum;
}

int64_t Scene::recreated() const {
  return total([](const Worker& worker) {
    return worker.role == "consumer" ? static_cast<int64_t>(worker.recreated.size()) : 0;
  });
}

// --- time --------------------------------------------------------------------------

bool Scene::progress(size_t events) {
  collect();
  const size_t published = acknowledged() + events;
  const size_t done = handled() + events;
  return until("events are published and handled",
               [&] { return acknowledged() >= published && handled() >= done; });
}

// --- the server ----------------------------------------------------------------------

int64_t Scene::command(const std::string& words) {
  ts_reply* reply = ts_commandf(server_, words.c_str());
  EXPECT_NE(ts_reply_get_type(reply), TS_NONE) << words;
  EXPECT_FALSE(ts_reply_is_error(reply)) << words << ": " << ts_reply_text(reply);
  const int64_t result = ts_reply_get_type(reply) == TS_INTEGER
                             ? ts_reply_integer(reply)
                             : static_cast<int64_t>(ts_reply_size(reply));
  ts_reply_free(reply);
  return result;
}

int64_t Scene::info(const char* field) {
  ts_reply* reply = ts_command(server_, "INFO", "all", nullptr);
  const std::string text = ts_reply_text(reply);
  ts_reply_free(reply);
  const size_t at = text.find(std::string("\n") + field + ":");
  return at == std::string::npos ? 0 : atoll(text.c_str() + at + strlen(field) + 2);
}

void Scene::load_entries() {
  entries_.clear();
  std::string from = "-";
  for (;;) {
    ts_reply* page =
        ts_command(server_, "XRANGE", kKey, from.c_str(), "+", "COUNT", "1000", nullptr);
    EXPECT_EQ(ts_reply_get_type(page), TS_ARRAY) << ts_reply_text(page);
    const size_t count = ts_reply_size(page);
    for (size_t i = 0; i < count; i++) {
      const ts_reply* entry = ts_reply_at(page, i);
      entries_.emplace_back(parse_id(ts_reply_text(ts_reply_at(entry, 0))),
                            ts_reply_text(ts_reply_field(ts_reply_at(entry, 1), "p")));
    }
    ts_reply_free(page);
    if (count < 1000) return;
    // "(id" for ranges came with Redis 6.2.
    from = id_text({entries_.back().first.first, entries_.back().first.second + 1});
  }
}

// --- the end ---------------------------------------------------------------------------

bool Scene::all_handled() const {
  for (const auto& entry : entries_) {
    if (!was_handled(entry.second)) return false;
  }
  return true;
}

bool Scene::all_read() {
  if (entries_.empty()) return true;
  for (Worker* reader : all("reader")) {
    if (reader->handled.empty() || reader->handled.back().id < entries_.back().first) return false;
  }
  return true;
}

int64_t Scene::pending() {
  ts_reply* reply = ts_command(server_, "XPENDING", kKey, kGroup, nullptr);
  const bool is_list = ts_reply_get_type(reply) == TS_ARRAY;
  const int64_t count = is_list ? ts_reply_integer(ts_reply_at(reply, 0)) : -1;
  ts_reply_free(reply);
  return count;
}

void Scene::print_pending() {
  ts_reply* list = ts_command(server_, "XPENDING", kKey, kGroup, "-", "+", "10", nullptr);
  for (size_t i = 0; i < ts_reply_size(list); i++) {
    const ts_reply* entry = ts_reply_at(list, i);
    const Id id = parse_id(ts_reply_text(ts_reply_at(entry, 0)));
    printf("  pending %s, consumer %s, idle %" PRId64 " ms, deliveries %" PRId64 ", handled by",
           id_text(id).c_str(), ts_reply_text(ts_reply_at(entry, 1)),
           ts_reply_integer(ts_reply_at(entry, 2)), ts_reply_integer(ts_reply_at(entry, 3)));
    for (const auto& worker : workers_) {
      for (const Seen& event : worker->handled) {
        if (worker->role == "consumer" && event.id == id) {
          printf(" %s (%s)", worker->name.c_str(), worker->consumer.c_str());
        }
      }
    }
    printf("\n");
  }
  ts_reply_free(list);
  for (const auto& worker : workers_) {
    if (worker->role != "consumer") continue;
    printf("  %s: %zu handled, %" PRId64 " acked, %zu not owner, %" PRId64 " times declared dead\n",
           worker->name.c_str(), worker->handled.size(), worker->acked, worker->not_owner.size(),
           worker->ownership_lost);
    for (const auto& [status, count] : worker->failed_acks) {
      printf("  %s: %" PRId64 " acks failed with status %d\n", worker->name.c_str(), count, status);
    }
  }
}

void Scene::pause(Worker& publisher) {
  publisher.quiet = false;
  order(publisher, "pause");
  until("no add is under way", [&] { return publisher.quiet; });
}

void Scene::finish() {
  end("publisher");
  load_entries();
  until("the sink has handled every entry", [this] { return all_handled(); });
  until("the readers have seen the last entry", [this] { return all_read(); });
  if (!until("nothing is pending", [this] { return pending() == 0; })) print_pending();
  end("consumer");
  end("reader");
  check_adds();
  check_handled();
  check_readers();
  print();
}

std::set<std::string> Scene::entry_keys() const {
  std::set<std::string> keys;
  for (const auto& entry : entries_) keys.insert(entry.second);
  return keys;
}

void Scene::check_adds() {
  std::map<std::string, int> times;
  for (const auto& [id, key] : entries_) {
    EXPECT_EQ(++times[key], 1) << key << " was added twice";
    EXPECT_EQ(refused_.count(key), 0u) << key << " was said not to have been added";
  }
  EXPECT_GT(acknowledged_.size(), 0u);
}

void Scene::check_handled() {
  const std::set<std::string> there = entry_keys();
  for (const auto& [key, id] : acknowledged_) {
    EXPECT_TRUE(gone_ || there.count(key) != 0) << key << " is gone from the server";
    if (was_handled(key)) continue;
    EXPECT_TRUE(there.count(key) == 0 && excused_ && excused_(key, id))
        << key << " " << id_text(id) << " is lost";
  }
  for (const auto& [key, ids] : handled_) {
    EXPECT_EQ(ids.size(), 1u) << key << " was handled under several ids";
    const auto add = acknowledged_.find(key);
    if (add != acknowledged_.end()) {
      EXPECT_EQ(ids.count(add->second), 1u) << key;
    } else {
      EXPECT_EQ(unknown_.count(key), 1u) << key << " was handled, but never added";
    }
  }
}

void Scene::check_readers() {
  for (const auto& reader : workers_) {
    if (reader->role != "reader") continue;
    std::set<Id> seen;
    Id last = {0, 0};
    for (const Seen& event : reader->handled) {
      EXPECT_LT(last, event.id) << reader->name << " saw " << event.key << " out of order";
      last = event.id;
      seen.insert(event.id);
    }
    for (const auto& [id, key] : entries_) {
      EXPECT_EQ(seen.count(id), 1u) << reader->name << " missed " << key << " " << id_text(id);
    }
    if (gone_) continue;
    EXPECT_EQ(seen.size(), entries_.size()) << reader->name;
  }
}

void Scene::print() const {
  printf("  %zu adds acknowledged, %zu unknown, %zu failed; %zu handled, %" PRIu64
         " of them twice or more, %" PRIu64 " redelivered, %" PRIu64 " reported lost\n",
         acknowledged_.size(), unknown_.size(), refused_.size(), handled_.size(),
         handlings_ - handled_.size(), redeliveries_, lost_);
  fflush(stdout);
}

// --- calm ----------------------------------------------------------------------------

Calm::Calm(Scene& scene)
    : scene_(scene),
      start_ms_(ts_now_ms()),
      commands_(commands()),
      connections_(connections()),
      events_(scene.acknowledged() + scene.handled()) {}

// Commands that are refused (BUSY, OOM) are not counted as processed.
int64_t Calm::commands() const {
  return scene_.info("total_commands_processed") + scene_.info("total_error_replies");
}

int64_t Calm::connections() const {
  return scene_.info("total_connections_received") + scene_.info("rejected_connections");
}

void Calm::check(const char* state) {
  const int64_t commands = this->commands() - commands_;
  const int64_t connections = this->connections() - connections_;
  const int64_t spent_ms = ts_now_ms() - start_ms_;
  const auto workers = static_cast<int64_t>(scene_.everyone().size());
  scene_.pass(0);
  const auto events = static_cast<int64_t>(scene_.acknowledged() + scene_.handled() - events_);
  printf("  %s: %" PRId64 " commands, %" PRId64 " connections, %" PRId64 " events, %" PRId64
         " workers in %" PRId64 " ms\n",
         state, commands, connections, events, workers, spent_ms);
  fflush(stdout);
  // A loop without a pause makes tens of thousands per second.
  const int64_t most = 500 + workers * spent_ms * 150 / 1000 + 4 * events;
  EXPECT_LE(commands, most) << state;
  EXPECT_LE(connections, 50 + workers * spent_ms * 30 / 1000) << state;
  if (commands > most) {
    ts_reply* which = ts_command(scene_.server(), "INFO", "commandstats", nullptr);
    printf("%s\n", ts_reply_text(which));
    ts_reply_free(which);
  }
}

}  // namespace faults
