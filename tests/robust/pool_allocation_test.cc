// Memory ends while a pool is joined, used and left: each call fails or comes about, what was
// accepted is told what became of it, and afterwards the pool goes on.
#include <set>

#include "short_memory.h"

namespace {

enum Token : uint64_t { kNode = 1, kWorker, kTicker, kSchedule, kCalls, kFirstDispatch };

// A pool's host: it takes what it is asked for, and remembers it.
struct Host {
  explicit Host(World& w) : world(w) {
    world.take_first = [this](const pulse_event& event) { return take(event); };
  }
  ~Host() { world.take_first = nullptr; }

  bool take(const pulse_event& event) {
    const std::string name(event.name == nullptr ? "" : event.name, event.name_len);
    switch (event.kind) {
      case PULSE_EVENT_JOB_START:
        EXPECT_TRUE(running.insert(name).second) << name << " was started twice";
        EXPECT_EQ(pulse_job_started(event.job, PULSE_OK, nullptr, 0), PULSE_OK);
        return true;
      case PULSE_EVENT_JOB_STOP:
        EXPECT_EQ(running.erase(name), 1U) << name << " did not run";
        EXPECT_EQ(pulse_job_stopped(event.job, PULSE_OK, nullptr, 0), PULSE_OK);
        return true;
      case PULSE_EVENT_JOB_NOTIFY:
        notified++;
        EXPECT_EQ(pulse_job_notified(event.job, PULSE_OK, nullptr, 0), PULSE_OK);
        return true;
      case PULSE_EVENT_TICK:
        ticks++;
        return true;
      case PULSE_EVENT_PLAN: {
        pulse_status status = PULSE_ERR_NO_MEMORY;
        while (status == PULSE_ERR_NO_MEMORY) {
          status = pulse_plan_start(event.plan, "planned", 7, "p", 1, nullptr);
        }
        EXPECT_EQ(status, PULSE_OK);
        EXPECT_EQ(pulse_plan_answer(event.plan, PULSE_OK, nullptr, 0), PULSE_OK);
        return true;
      }
      case PULSE_EVENT_PLANNED:
        planned++;
        return true;
      case PULSE_EVENT_CLOSED:
        closed[event.token] = event.status;
        return true;
      case PULSE_EVENT_READY:
        ready.insert(event.token);
        return true;
      case PULSE_EVENT_JOB_DISPATCHED:
      case PULSE_EVENT_JOB_REQUESTED:
      case PULSE_EVENT_POOL_SHUT_DOWN: {
        const bool unknown = (event.flags & PULSE_ERROR_OUTCOME_UNKNOWN) != 0;
        EXPECT_TRUE(event.status == PULSE_OK || memory.failed > 0)
            << pulse_status_name(event.status);
        EXPECT_TRUE(event.status == PULSE_OK || event.status == PULSE_ERR_NO_MEMORY || unknown)
            << pulse_status_name(event.status);
        answers[event.token] = event.status;
        world.completed();
        return true;
      }
      default:
        return false;
    }
  }

  bool has_closed(Token token) const { return closed.count(token) > 0; }

  World& world;
  std::set<std::string> running;
  std::set<uint64_t> ready;
  std::map<uint64_t, pulse_status> closed, answers;
  int notified = 0, ticks = 0, planned = 0;
};

// Calls open() until there is memory for it.
template <class Open>
bool opens(World& world, const char* what, Open open) {
  pulse_error error = PULSE_ERROR_INIT;
  for (;;) {
    const pulse_status status = open(&error);
    if (status == PULSE_ERR_CLOSED && memory.failed > 0) return false;  // its node is
    if (world.ok(status, error, what)) return true;
    if (status != PULSE_ERR_NO_MEMORY) return false;
    world.pump(1);
  }
}

bool join(World& world) {
  pulse_node_options options = PULSE_NODE_OPTIONS_INIT;
  options.worker_ttl_ms = 1000;
  options.ack_grace_ms = 500;
  options.job_sink_block_ms = 200;
  options.close_timeout_ms = 5000;
  return opens(world, "node_join", [&](pulse_error* error) {
    const pulse_target target = world.target(true, kNode);
    return pulse_node_join(world.engine, "p", 1, &options, &target, &world.node, error);
  });
}

bool add_worker(World& world) {
  return opens(world, "add_worker", [&](pulse_error* error) {
    const pulse_target target = world.target(true, kWorker);
    return pulse_node_add_worker(world.node, nullptr, &target, &world.worker, error);
  });
}

// A node, or what belongs to it, that has no memory to begin closes by itself, and says so.
bool becomes_ready(World& world, Host& host, Token token) {
  EXPECT_TRUE(world.pump_until([&] {
    return host.ready.count(token) > 0 || host.has_closed(token);
  })) << "ready: "
      << token;
  if (host.ready.count(token) > 0) return true;
  const bool no_memory = host.closed[token] == PULSE_ERR_NO_MEMORY;
  EXPECT_TRUE(no_memory || host.has_closed(kNode)) << pulse_status_name(host.closed[token]);
  EXPECT_GT(memory.failed, 0);
  return false;
}

void close_node(World& world, Host& host) {
  EXPECT_EQ(pulse_node_close(world.node), PULSE_OK);
  ASSERT_TRUE(world.pump_until([&] { return host.has_closed(kNode); })) << "the node";
  EXPECT_TRUE(host.running.empty());
}

bool exists(const std::string& key) {
  return ts_command_integer(Allocation::the_server(), "HEXISTS", "map:p:job-payloads:content",
                            key.c_str(), nullptr) == 1;
}

constexpr int kJobs = 4;

std::string key_of(int i) { return "job" + std::to_string(i); }

void dispatch_all(World& world) {
  pulse_error error = PULSE_ERROR_INIT;
  for (int i = 0; i < kJobs; i++) {
    const std::string key = key_of(i);
    const pulse_target target = world.target(true, kFirstDispatch + static_cast<uint64_t>(i));
    world.started(pulse_node_dispatch(world.node, key.data(), key.size(), "payload", 7, &target,
                                      nullptr, &error),
                  error, "dispatch");
  }
}

// A node with a worker; with_jobs: that has all jobs.
void begin(World& world, Host& host, bool with_jobs) {
  ASSERT_TRUE(world.open());
  ASSERT_TRUE(join(world) && add_worker(world));
  ASSERT_TRUE(becomes_ready(world, host, kNode) && becomes_ready(world, host, kWorker));
  if (!with_jobs) return;
  dispatch_all(world);
  ASSERT_TRUE(world.pump_until([&] { return world.all_complete(); })) << "dispatches";
  ASSERT_EQ(host.running.size(), static_cast<size_t>(kJobs));
}

// Whatever the dispatchers were told, each job that exists runs, and no other does.
testing::AssertionResult settles(World& world, Host& host) {
  return world.pump_until([&] {
    for (int i = 0; i < kJobs; i++) {
      const std::string key = key_of(i);
      if (exists(key) != (host.running.count(key) > 0)) return false;
    }
    ts_reply* reply =
        ts_command(Allocation::the_server(), "XPENDING", "pulse:stream:p:pool", "events", nullptr);
    const int64_t pending = ts_reply_integer(ts_reply_at(reply, 0));
    ts_reply_free(reply);
    return pending == 0;
  });
}

// What the node counts, for failures.
std::string counted(World& world) {
  pulse_node_metrics m = {};
  m.size = sizeof m;
  pulse_node_get_metrics(world.node, &m);
  return ", " + std::to_string(m.routed) + " routed, " + std::to_string(m.held) + " held, " +
         std::to_string(m.unanswered) + " unanswered, " + std::to_string(m.dropped) + " dropped";
}

TEST_P(Allocation, PoolsLoseNothing) {
  at_each_allocation(120, [](World& world, const std::function<void()>& arm) {
    Host host(world);
    ASSERT_TRUE(world.open());
    arm();
    if (!join(world) || !add_worker(world)) return;
    if (!becomes_ready(world, host, kNode) || !becomes_ready(world, host, kWorker)) {
      close_node(world, host);
      return;
    }
    dispatch_all(world);
    ASSERT_TRUE(world.pump_until([&] { return world.all_complete(); })) << "dispatches";
    pulse_error error = PULSE_ERROR_INIT;
    const pulse_target notify = world.target(true, kCalls), stop = world.target(true, kCalls);
    world.started(pulse_node_notify(world.node, "job0", 4, "news", 4, &notify, nullptr, &error),
                  error, "notify");
    world.started(pulse_node_stop_job(world.node, "job1", 4, &stop, nullptr, &error), error,
                  "stop_job");
    ASSERT_TRUE(world.pump_until([&] { return world.all_complete(); })) << "requests";
    ASSERT_TRUE(settles(world, host)) << host.running.size() << " jobs run" << counted(world);
    memory.disarm();
    for (int i = 0; i < kJobs; i++) {
      const auto answer = host.answers.find(kFirstDispatch + static_cast<uint64_t>(i));
      if (i == 1 || answer == host.answers.end() || answer->second != PULSE_OK) continue;
      EXPECT_EQ(host.running.count(key_of(i)), 1U) << key_of(i) << " was accepted";
    }
    // The pool goes on.
    const pulse_target target = world.target(true, kCalls);
    ASSERT_EQ(pulse_node_dispatch(world.node, "after", 5, "", 0, &target, nullptr, &error),
              PULSE_OK)
        << error.message;
    world.started(PULSE_OK, error, "dispatch");
    ASSERT_TRUE(world.pump_until([&] { return world.all_complete(); })) << "the last dispatch";
    EXPECT_EQ(host.running.count("after"), 1U);
    close_node(world, host);
  });
}

TEST_P(Allocation, PoolsAreLeft) {
  at_each_allocation(60, [](World& world, const std::function<void()>& arm) {
    Host host(world);
    ASSERT_NO_FATAL_FAILURE(begin(world, host, true));
    arm();
    close_node(world, host);
    memory.disarm();
    // Nobody has the jobs, and they are there.
    EXPECT_EQ(
        ts_command_integer(Allocation::the_server(), "HLEN", "map:p:job-payloads:content", nullptr),
        kJobs + 2);  // =rev, =kind
  });
}

TEST_P(Allocation, PoolsAreShutDown) {
  at_each_allocation(60, [](World& world, const std::function<void()>& arm) {
    Host host(world);
    ASSERT_NO_FATAL_FAILURE(begin(world, host, true));
    arm();
    pulse_error error = PULSE_ERROR_INIT;
    for (;;) {
      const pulse_target target = world.target(true, kCalls);
      const pulse_status status = pulse_node_shutdown(world.node, &target, nullptr, &error);
      world.started(status, error, "shutdown");
      if (status != PULSE_ERR_NO_MEMORY) break;
    }
    ASSERT_TRUE(world.pump_until([&] { return world.all_complete(); })) << "the shutdown";
    if (host.answers[kCalls] != PULSE_OK) {
      close_node(world, host);
      return;
    }
    ASSERT_TRUE(world.pump_until([&] { return host.has_closed(kNode); })) << "the node";
    EXPECT_TRUE(host.running.empty());
  });
}

TEST_P(Allocation, TickersAndSchedulesGoOn) {
  at_each_allocation(60, [](World& world, const std::function<void()>& arm) {
    Host host(world);
    ASSERT_NO_FATAL_FAILURE(begin(world, host, false));
    arm();
    constexpr int64_t kInterval = 20 * 1000000;
    const bool ticks = opens(world, "ticker_open", [&](pulse_error* error) {
      const pulse_target target = world.target(true, kTicker);
      return pulse_ticker_open(world.node, "t", 1, kInterval, nullptr, &target, &world.ticker,
                               error);
    });
    const bool plans = opens(world, "schedule_open", [&](pulse_error* error) {
      const pulse_target target = world.target(true, kSchedule);
      return pulse_schedule_open(world.node, "s", 1, kInterval, nullptr, &target, &world.schedule,
                                 error);
    });
    const bool ticker = ticks && becomes_ready(world, host, kTicker);
    const bool schedule = plans && becomes_ready(world, host, kSchedule);
    ASSERT_TRUE(world.pump_until([&] {
      return (!ticker || host.ticks >= 3) && (!schedule || host.running.count("planned") > 0);
    })) << host.ticks
        << " ticks, " << host.planned << " plans";
    memory.disarm();
    const int before = host.ticks, planned = host.planned;
    ASSERT_TRUE(world.pump_until([&] {
      return (!ticker || host.ticks > before) && (!schedule || host.planned > planned);
    })) << host.ticks
        << " ticks, " << host.planned << " plans";
    close_node(world, host);
  });
}

INSTANTIATE_TEST_SUITE_P(Both, Allocation, outages(), outage_name);

}  // namespace
