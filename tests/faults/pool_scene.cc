#include "pool_scene.h"

#include <pulseengine/pool.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>

namespace faults {
namespace {

constexpr char kPool[] = "p";

// The server keeps a map as a hash, with what belongs to the map itself in fields like "=rev".
std::string map_key(const char* name) { return std::string("map:p:") + name + ":content"; }

int64_t now_us() {
  using namespace std::chrono;
  return duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count();
}

// The time that is in an id.
int64_t ulid_ms(const std::string& id) {
  static const std::string kDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  int64_t ms = 0;
  for (size_t i = 0; i < 10 && i < id.size(); i++) {
    ms = ms * 32 + static_cast<int64_t>(kDigits.find(id[i]));
  }
  return ms;
}

int64_t to_number(const std::string& text) { return strtoll(text.c_str(), nullptr, 10); }

}  // namespace

PoolScene::PoolScene(const ts_server_options& options, const Settings& more) : SceneBase(options) {
  common_ = {{"url", ts_server_url(server_)},
             {"pool", kPool},
             {"command_timeout_ms", std::to_string(TS_DEADLINE_MS / 2)},
             // What is alive must be able to say so on a busy machine.
             {"ttl_ms", ts_is_sanitized() != 0 ? "3000" : "1500"},
             {"grace_ms", ts_is_sanitized() != 0 ? "3000" : "1500"},
             {"block_ms", "1000"},
             {"max_queued", "1000"},
             {"handle_ms", "20"},
             {"finish_ms", "2000"}};
  for (const auto& [name, value] : more) common_[name] = value;
}

PoolScene::~PoolScene() { processes_.clear(); }

// --- processes -------------------------------------------------------------------

PoolProcess& PoolScene::start(const Settings& settings, Proxy proxy) {
  auto process = std::make_unique<PoolProcess>();
  process->index = processes_.size();
  process->name = "n" + std::to_string(process->index);
  process->proxy = std::move(proxy);
  Settings all = common_;
  if (process->proxy != nullptr) all["url"] = ts_proxy_url(process->proxy.get());
  all["name"] = process->name;
  all["client"] = process->name;
  all["journal"] = journal_path(process->name);
  all["seed"] = std::to_string(random(0, INT32_MAX));
  // The drivers take turns.
  all["driver"] = process->index % 2 == 0 ? "thread" : "manual";
  for (const auto& [name, value] : settings) all[name] = value;
  process->process = start_process("node", all);
  process->journal = std::make_unique<JournalReader>(all["journal"]);
  processes_.push_back(std::move(process));
  return *processes_.back();
}

void PoolScene::wait_ready(PoolProcess& process, int workers) {
  process.workers = workers > 0;
  until("a node takes part",
        [&] { return process.member && process.ready.size() >= static_cast<size_t>(workers); });
}

PoolProcess& PoolScene::node(int workers, const Settings& more) {
  Settings settings = more;
  settings["workers"] = std::to_string(workers);
  PoolProcess& process = start(settings, nullptr);
  wait_ready(process, workers);
  return process;
}

PoolProcess& PoolScene::distant_node(int workers, const Settings& more) {
  Settings settings = more;
  settings["workers"] = std::to_string(workers);
  PoolProcess& process = start(settings, Proxy(ts_proxy_start(server_)));
  wait_ready(process, workers);
  return process;
}

PoolProcess& PoolScene::dispatcher(const Settings& more) {
  Settings settings = more;
  settings["client_only"] = "1";
  PoolProcess& process = start(settings, nullptr);
  process.client_only = true;
  wait_ready(process, 0);
  return process;
}

std::vector<PoolProcess*> PoolScene::routers() {
  std::vector<PoolProcess*> found;
  for (PoolProcess* process : all(false)) {
    if (!process->client_only) found.push_back(process);
  }
  return found;
}

std::vector<PoolProcess*> PoolScene::all(bool workers) {
  std::vector<PoolProcess*> found;
  for (const auto& process : processes_) {
    if (process->workers == workers && process->process != nullptr) found.push_back(process.get());
  }
  return found;
}

PoolProcess& PoolScene::any(bool workers) {
  const std::vector<PoolProcess*> found = all(workers);
  return *found[static_cast<size_t>(random(0, static_cast<int64_t>(found.size()) - 1))];
}

void PoolScene::order(PoolProcess& process, const std::string& text) {
  SceneBase::order(process.process, text);
}

void PoolScene::dispatch(PoolProcess& process, const std::string& prefix, size_t count) {
  order(process, "dispatch " + prefix + " " + std::to_string(count));
}

void PoolScene::stop(PoolProcess& process, const std::string& key) {
  jobs_[key].stopped = true;
  order(process, "stop " + key);
}

void PoolScene::kill(PoolProcess& process) {
  process.frozen = false;
  process.killed = true;
  ts_process_signal(process.process, SIGKILL);
  EXPECT_EQ(ts_process_wait(process.process, TS_DEADLINE_MS), 128 + SIGKILL)
      << process.name << " ended before it was killed";
  collect();
  const int64_t now = now_us();
  for (const auto& [number, run] : process.runs) {
    runs_[run].end_us = std::min(runs_[run].end_us, now);
  }
  ts_process_free(process.process);
  process.process = nullptr;
}

void PoolScene::freeze(PoolProcess& process) {
  process.frozen = true;
  process.away.emplace_back(now_us(), INT64_MAX);
  ts_process_signal(process.process, SIGSTOP);
}

void PoolScene::thaw(PoolProcess& process) {
  process.frozen = false;
  ts_process_signal(process.process, SIGCONT);
  process.away.back().second = now_us();
}

void PoolScene::cut_off(PoolProcess& process) {
  process.away.emplace_back(now_us(), INT64_MAX);
  ts_proxy_stall(process.proxy.get(), TS_BOTH);
}

void PoolScene::reconnect(PoolProcess& process) {
  ts_proxy_cut_all(process.proxy.get());
  ts_proxy_resume(process.proxy.get(), TS_BOTH);
  process.away.back().second = now_us();
}

void PoolScene::leave(PoolProcess& process) {
  ts_process_close_input(process.process);
  EXPECT_EQ(ts_process_wait(process.process, TS_DEADLINE_MS), 0)
      << process.name << " did not end well";
  collect();
  ts_process_free(process.process);
  process.process = nullptr;
  for (const auto& [number, run] : process.runs) {
    EXPECT_NE(runs_[run].end_us, INT64_MAX)
        << process.name << " has left, and has not stopped " << runs_[run].key;
  }
}

// --- what they have written down ---------------------------------------------------

void PoolScene::collect() {
  for (const auto& process : processes_) {
    process->journal->read([&](const JournalReader::Words& words) { record(*process, words); });
  }
}

void PoolScene::record(PoolProcess& process, const JournalReader::Words& words) {
  const auto word = [&](size_t index) {
    return index < words.size() ? words[index] : std::string();
  };
  const auto run = [&]() -> JobRun& {
    return runs_[process.runs.at(static_cast<uint64_t>(to_number(word(1))))];
  };
  const auto outcome = [&](Outcome is) {
    Job& job = jobs_[word(1)];
    job.outcome = is;
    job.status = static_cast<int>(to_number(word(2)));
    process.asked.erase(word(1));
  };
  if (words[0] != "W") records_++;
  switch (words[0][0]) {
    case 'M':
      process.member = true;
      process.id_ms = ulid_ms(word(1));
      break;
    case 'Y':
      process.ready.push_back(word(1));
      break;
    case 'B': {
      process.runs[static_cast<uint64_t>(to_number(word(1)))] = runs_.size();
      JobRun begun;
      begun.key = word(2);
      begun.worker = word(3);
      begun.process = process.index;
      begun.begin_us = to_number(word(4));
      begun.requeued = word(5) == "1";
      runs_.push_back(begun);
      break;
    }
    case 'S':
      run().started = true;
      break;
    case 'T':
      run().reason = static_cast<int>(to_number(word(3)));
      break;
    case 'E':
      run().end_us = to_number(word(2));
      break;
    case 'F':
      run().end_us = to_number(word(2));
      jobs_[run().key].may_finish = true;
      break;
    case 'G':
      run().end_us = INT64_MAX;
      break;
    case 'X':
      process.declared_dead++;
      process.declared_dead_us.push_back(to_number(word(2)));
      break;
    case 'W':
      if (to_number(word(2)) - to_number(word(1)) > ttl_ms() * 500) {
        process.away.emplace_back(to_number(word(1)), to_number(word(2)));
      }
      break;
    case 'D':
      jobs_[word(1)].dispatcher = process.index;
      process.asked.insert(word(1));
      break;
    case 'A':
      outcome(Outcome::accepted);
      break;
    case 'U':
      outcome(Outcome::unknown);
      break;
    case 'V':
      outcome(Outcome::refused);
      break;
    case 'P':
      jobs_[word(1)].stopping = true;
      break;
    case 'C':
      process.closed = true;
      process.closed_status = static_cast<int>(to_number(word(1)));
      break;
    case 'I': {
      printf("  %s", process.name.c_str());
      for (size_t i = 1; i < words.size(); i++) printf(" %s", words[i].c_str());
      printf("\n");
      break;
    }
    case '!': {
      std::string text = process.name + ":";
      for (size_t i = 1; i < words.size(); i++) text += " " + words[i];
      broken_.push_back(text);
      break;
    }
    default:
      break;
  }
}

size_t PoolScene::count(Outcome outcome) const {
  return static_cast<size_t>(std::count_if(jobs_.begin(), jobs_.end(), [&](const auto& entry) {
    return entry.second.outcome == outcome;
  }));
}

size_t PoolScene::running() const {
  return static_cast<size_t>(std::count_if(runs_.begin(), runs_.end(), [](const JobRun& run) {
    return run.started && run.end_us == INT64_MAX;
  }));
}

int64_t PoolScene::declared_dead() const {
  int64_t sum = 0;
  for (const auto& process : processes_) sum += process->declared_dead;
  return sum;
}

size_t PoolScene::guards() const {
  const auto keys = list({"HKEYS", map_key("pending-jobs")});
  return static_cast<size_t>(std::count_if(keys.begin(), keys.end(),
                                           [](const std::string& key) { return key[0] != '='; }));
}

bool PoolScene::all_answered() {
  collect();
  return std::all_of(processes_.begin(), processes_.end(), [](const auto& process) {
    return process->process == nullptr || process->asked.empty();
  });
}

// --- the server --------------------------------------------------------------------

std::vector<std::string> PoolScene::list(const std::vector<std::string>& words) const {
  std::vector<const char*> texts;
  for (const std::string& word : words) texts.push_back(word.c_str());
  ts_reply* reply = ts_command_argv(server_, texts.size(), texts.data(), nullptr);
  EXPECT_FALSE(ts_reply_is_error(reply)) << words[0] << ": " << ts_reply_text(reply);
  std::vector<std::string> found;
  for (size_t i = 0; i < ts_reply_size(reply); i++) {
    const ts_reply* item = ts_reply_at(reply, i);
    found.push_back(ts_reply_get_type(item) == TS_INTEGER ? std::to_string(ts_reply_integer(item))
                                                          : ts_reply_text(item));
  }
  ts_reply_free(reply);
  return found;
}

int64_t PoolScene::number(const std::vector<std::string>& words) const {
  std::vector<const char*> texts;
  for (const std::string& word : words) texts.push_back(word.c_str());
  ts_reply* reply = ts_command_argv(server_, texts.size(), texts.data(), nullptr);
  EXPECT_FALSE(ts_reply_is_error(reply)) << words[0] << ": " << ts_reply_text(reply);
  const int64_t result = ts_reply_integer(reply);
  ts_reply_free(reply);
  return result;
}

// --- the oracle --------------------------------------------------------------------

// Whether what runs is what exists.  `why` says what is still missing.
bool PoolScene::settled(std::string* why) {
  if (!all_answered()) {
    *why = "dispatches have no answer";
    return false;
  }
  const auto queue = list({"XPENDING", "pulse:stream:p:pool", "events"});
  if (!queue.empty() && queue[0] != "0") {
    *why = queue[0] + " events of the pool's stream are pending";
    return false;
  }
  std::set<std::string> exist;
  for (const std::string& key : list({"HKEYS", map_key("job-payloads")})) {
    if (key[0] != '=') exist.insert(key);
  }
  for (const auto& [key, job] : jobs_) {
    const bool there = exist.count(key) != 0;
    if ((job.stopping || key[0] == 'f') && there) {
      *why = key + " has not ended";
      return false;
    }
    const bool lasts = job.outcome == Outcome::accepted && !job.stopped && key[0] != 'f';
    if (lasts && !there) {
      *why = key + " was accepted, and does not exist";
      return false;
    }
    if (job.outcome == Outcome::refused && job.status != PULSE_ERR_EXISTS && there) {
      *why = key + " was refused, and exists";
      return false;
    }
  }
  std::map<std::string, std::string> lists;
  const auto jobs = list({"HGETALL", map_key("jobs")});
  for (size_t i = 0; i + 1 < jobs.size(); i += 2) lists[jobs[i]] = jobs[i + 1];
  std::map<std::string, int> run_now;
  for (const JobRun& run : runs_) {
    if (run.end_us != INT64_MAX) continue;
    run_now[run.key]++;
    if (!run.started || exist.count(run.key) == 0) {
      *why = run.key + (run.started ? " runs, and does not exist" : " is starting");
      return false;
    }
    if (lists[run.worker].find('"' + run.key + '"') == std::string::npos) {
      *why = run.key + " runs on a worker that does not have it";
      return false;
    }
  }
  for (const std::string& key : exist) {
    if (run_now[key] == 1) continue;
    *why = key + " runs on " + std::to_string(run_now[key]) + " workers";
    return false;
  }
  return true;
}

void PoolScene::settle(const char* what) {
  std::string why;
  bool done = false;
  // As long as something happens; but not for ever.
  const int64_t last_ms = ts_now_ms() + 10 * TS_DEADLINE_MS;
  while (!done) {
    const size_t seen = records_;
    const bool met = until(what, [&] {
      done = settled(&why);
      return done || (records_ > seen && ts_now_ms() < last_ms);
    });
    if (!met) break;
  }
  if (!done) {
    ADD_FAILURE() << why;
    print_queue();
    print_runs(why.substr(0, why.find(' ')));
  }
  print(what);
}

// A process that was away cannot know that its jobs are others' by now until it is back, and was
// told.
bool PoolScene::excused(const JobRun& older, const JobRun& newer) const {
  const auto was_away = [&](const JobRun& run) {
    const PoolProcess& process = *processes_[run.process];
    return std::any_of(process.away.begin(), process.away.end(), [&](const auto& window) {
      const auto told = [&](int64_t us) { return us >= window.first && us >= newer.begin_us; };
      const bool was_told =
          run.reason == PULSE_STOP_LOST || process.killed ||
          std::any_of(process.declared_dead_us.begin(), process.declared_dead_us.end(), told);
      return window.first <= newer.begin_us && window.second > older.begin_us && was_told;
    });
  };
  return was_away(older) || was_away(newer);
}

void PoolScene::check_overlaps() {
  std::map<std::string, std::vector<const JobRun*>> by_key;
  for (const JobRun& run : runs_) by_key[run.key].push_back(&run);
  int told = 0;
  for (auto& [key, list] : by_key) {
    std::sort(list.begin(), list.end(),
              [](const JobRun* a, const JobRun* b) { return a->begin_us < b->begin_us; });
    for (size_t i = 0; i < list.size(); i++) {
      for (size_t j = i + 1; j < list.size(); j++) {
        const JobRun &older = *list[i], &newer = *list[j];
        if (newer.begin_us >= older.end_us) continue;
        if (excused(older, newer)) {
          excused_++;
          continue;
        }
        if (++told > 5) continue;
        ADD_FAILURE() << key << " ran on " << older.worker << " ("
                      << processes_[older.process]->name << ") from " << older.begin_us << " to "
                      << older.end_us << " (reason " << older.reason << "), and on " << newer.worker
                      << " (" << processes_[newer.process]->name << ") from " << newer.begin_us
                      << (newer.requeued ? ", requeued" : "");
        for (const JobRun* run : {list[i], list[j]}) {
          for (const auto& [from, to] : processes_[run->process]->away) {
            printf("  %s was away from %" PRId64 " to %" PRId64 "\n",
                   processes_[run->process]->name.c_str(), from, to);
          }
        }
        print_runs(key);
      }
    }
  }
}

void PoolScene::check_outcomes() {
  std::map<std::string, int> runs;
  for (const JobRun& run : runs_) runs[run.key]++;
  for (const auto& [key, job] : jobs_) {
    if (job.outcome == Outcome::refused) {
      EXPECT_EQ(runs[key], 0) << key << " was refused with status " << job.status << ", and ran";
    } else if (job.outcome == Outcome::accepted) {
      EXPECT_GT(runs[key], 0) << key << " was accepted, and never ran";
      EXPECT_TRUE(key[0] != 'f' || job.may_finish) << key << " is gone, and has not finished";
    }
  }
  for (const std::string& text : broken_) ADD_FAILURE() << text;
}

void PoolScene::check_keys() {
  for (const std::string& key : list({"KEYS", "*"})) {
    bool empty = false;
    if (key.compare(0, 4, "map:") == 0) {
      const auto fields = list({"HKEYS", key});
      empty = std::all_of(fields.begin(), fields.end(),
                          [](const std::string& field) { return field[0] == '='; });
    }
    EXPECT_TRUE(empty) << "the pool has left " << key;
  }
}

void PoolScene::print(const char* what) const {
  printf("  %s: %zu accepted, %zu unknown, %zu refused; %zu run, %zu starts, %" PRId64
         " workers declared dead\n",
         what, count(Outcome::accepted), count(Outcome::unknown), count(Outcome::refused),
         running(), runs_.size(), declared_dead());
  fflush(stdout);
}

// What the pool's stream has, and who is to route it.
void PoolScene::print_queue() {
  ts_reply* pending =
      ts_command(server_, "XPENDING", "pulse:stream:p:pool", "events", "-", "+", "20", nullptr);
  for (size_t i = 0; i < ts_reply_size(pending); i++) {
    const ts_reply* entry = ts_reply_at(pending, i);
    const char* id = ts_reply_text(ts_reply_at(entry, 0));
    ts_reply* range = ts_command(server_, "XRANGE", "pulse:stream:p:pool", id, id, nullptr);
    const ts_reply* fields = ts_reply_at(ts_reply_at(range, 0), 1);
    const ts_reply* payload = ts_reply_field(fields, "p");
    // The key comes first, after its length.
    const size_t key_end = std::min<size_t>(ts_reply_size(payload), 24);
    std::string key(ts_reply_text(payload) + std::min<size_t>(key_end, 4),
                    key_end - std::min<size_t>(key_end, 4));
    std::replace_if(
        key.begin(), key.end(), [](char c) { return c < ' '; }, '.');
    printf("  pending %s: %s %s, consumer %s, idle %" PRId64 " ms, deliveries %" PRId64 "\n", id,
           ts_reply_text(ts_reply_field(fields, "n")), key.c_str(),
           ts_reply_text(ts_reply_at(entry, 1)), ts_reply_integer(ts_reply_at(entry, 2)),
           ts_reply_integer(ts_reply_at(entry, 3)));
    ts_reply_free(range);
  }
  ts_reply_free(pending);
  for (bool workers : {true, false}) {
    for (PoolProcess* process : all(workers)) order(*process, "tell");
  }
  pass(2000);
}

void PoolScene::print_runs(const std::string& key) const {
  for (const JobRun& run : runs_) {
    if (run.key != key) continue;
    const PoolProcess& process = *processes_[run.process];
    printf("  %s on %s (%s%s): from %" PRId64 " to %" PRId64 ", %s%sreason %d\n", key.c_str(),
           run.worker.c_str(), process.name.c_str(), process.process == nullptr ? ", ended" : "",
           run.begin_us, run.end_us == INT64_MAX ? -1 : run.end_us,
           run.requeued ? "requeued, " : "", run.started ? "started, " : "", run.reason);
  }
}

void PoolScene::finish() {
  settle("what runs is what exists");
  const std::vector<PoolProcess*> nodes = all(true);
  order(*nodes[0], "shutdown");
  until("all nodes have closed", [&] {
    return std::all_of(processes_.begin(), processes_.end(), [](const auto& process) {
      return process->process == nullptr || process->closed;
    });
  });
  for (bool workers : {true, false}) {
    for (PoolProcess* process : all(workers)) {
      EXPECT_EQ(process->closed_status, PULSE_ERR_SHUTTING_DOWN) << process->name;
      leave(*process);
    }
  }
  check_overlaps();
  check_outcomes();
  check_keys();
  printf("  %" PRId64 " overlaps of runs on processes that were away\n", excused_);
  fflush(stdout);
}

}  // namespace faults
