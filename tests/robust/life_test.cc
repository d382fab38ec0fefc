// Engines that come and go, several in one process, and processes that fork.
#include <gtest/gtest.h>
#include <pulseengine/pulse.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "support.h"

namespace {

class Life : public testing::TestWithParam<pulse_driver> {
 protected:
  static void SetUpTestSuite() {
    server = ts_server_start(nullptr);
    ASSERT_NE(server, nullptr);
  }
  static void TearDownTestSuite() { ts_server_free(server); }
  void SetUp() override { ts_reply_free(ts_command(server, "FLUSHALL", nullptr)); }

  static pulse_engine* open(pulse_driver driver, const char* prefix = nullptr) {
    pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
    options.url = ts_server_url(server);
    options.driver = driver;
    options.key_prefix = prefix;
    pulse_engine* engine = nullptr;
    pulse_error error = PULSE_ERROR_INIT;
    EXPECT_EQ(pulse_engine_open(&options, &engine, &error), PULSE_OK) << error.message;
    return engine;
  }
  static pulse_stream* stream_of(pulse_engine* engine) {
    pulse_stream* stream = nullptr;
    EXPECT_EQ(pulse_stream_open(engine, "s", 1, nullptr, &stream, nullptr), PULSE_OK);
    return stream;
  }
  static pulse_status add(pulse_stream* stream, pulse_error* error) {
    return pulse_stream_add_wait(stream, "name", 4, "payload", 7, nullptr, nullptr, TS_DEADLINE_MS,
                                 error);
  }

  static ts_server* server;
};

ts_server* Life::server = nullptr;

// One life of an engine: with a call, a reader and a sink now and then, or with nothing at all;
// closed or just dropped.
void live(pulse_engine* engine, int64_t round) {
  pulse_error error = PULSE_ERROR_INIT;
  if (round % 5 != 0) {
    ASSERT_EQ(pulse_engine_ready_wait(engine, TS_DEADLINE_MS, &error), PULSE_OK) << error.message;
    pulse_stream* stream = nullptr;
    ASSERT_EQ(pulse_stream_open(engine, "s", 1, nullptr, &stream, &error), PULSE_OK);
    ASSERT_EQ(
        pulse_stream_add_wait(stream, "n", 1, "p", 1, nullptr, nullptr, TS_DEADLINE_MS, &error),
        PULSE_OK)
        << error.message;
    pulse_queue* queue = nullptr;
    ASSERT_EQ(pulse_queue_new(&queue, &error), PULSE_OK);
    pulse_target target = PULSE_TARGET_INIT;
    target.queue = queue;
    pulse_reader* reader = nullptr;
    pulse_sink* sink = nullptr;
    if (round % 5 == 2) {
      ASSERT_EQ(pulse_reader_open(stream, nullptr, &target, &reader, &error), PULSE_OK)
          << error.message;
      ASSERT_EQ(pulse_reader_ready_wait(reader, TS_DEADLINE_MS, &error), PULSE_OK) << error.message;
    }
    if (round % 5 == 3) {
      ASSERT_EQ(pulse_sink_open(stream, "g", 1, nullptr, &target, &sink, &error), PULSE_OK)
          << error.message;
      ASSERT_EQ(pulse_sink_ready_wait(sink, TS_DEADLINE_MS, &error), PULSE_OK) << error.message;
    }
    pulse_reader_unref(reader);
    pulse_sink_unref(sink);
    pulse_stream_unref(stream);
    pulse_queue_unref(queue);
  }
  if (round % 3 != 0) {
    ASSERT_EQ(pulse_engine_close_wait(engine, TS_DEADLINE_MS, &error), PULSE_OK) << error.message;
  }
  pulse_engine_unref(engine);
}

TEST_P(Life, CyclesOfOpenAndCloseLeaveNothing) {
  const int64_t cycles = ts_scaled(1000);
  const int64_t warm_up = std::min<int64_t>(cycles / 2, 100);
  struct State {
    int descriptors = 0, threads = 0;
  } at_start;
  int64_t resident = 0;
  const auto as_at_start = [](void* p) -> int {
    const auto* start = static_cast<State*>(p);
    return ts_thread_count() <= start->threads && ts_descriptor_count() <= start->descriptors;
  };
  for (int64_t i = 0; i < cycles && !HasFatalFailure(); i++) {
    if (i == warm_up) {
      // Engines that were dropped end in the background.
      ts_command_integer(server, "DBSIZE", nullptr);
      at_start = {ts_descriptor_count(), ts_thread_count()};
      resident = ts_resident_bytes();
    }
    live(open(GetParam()), i);
    // Not more of them at once than a program would have.
    if (i % 50 == 49 && i > warm_up) {
      ASSERT_TRUE(ts_wait_until(as_at_start, &at_start, TS_DEADLINE_MS));
    }
  }
  EXPECT_TRUE(ts_wait_until(as_at_start, &at_start, TS_DEADLINE_MS))
      << ts_thread_count() << " threads, " << at_start.threads << " before; "
      << ts_descriptor_count() << " descriptors, " << at_start.descriptors << " before";
  if (!ts_is_sanitized()) {
    EXPECT_LT(ts_resident_bytes() - resident, 8 << 20);
  }
}

TEST_P(Life, EnginesThatNeverReachAServerEndToo) {
  const int descriptors = ts_descriptor_count(), threads = ts_thread_count();
  for (int64_t i = 0; i < ts_scaled(200); i++) {
    pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
    options.url = i % 2 == 0 ? "unix:///nonexistent/socket" : "redis://127.0.0.1:1";
    options.driver = GetParam();
    pulse_engine* engine = nullptr;
    ASSERT_EQ(pulse_engine_open(&options, &engine, nullptr), PULSE_OK);
    pulse_stream* stream = stream_of(engine);
    ASSERT_EQ(pulse_stream_add(stream, "n", 1, "p", 1, nullptr, nullptr, nullptr, nullptr),
              PULSE_OK);
    pulse_stream_unref(stream);
    if (i % 3 != 0) {
      ASSERT_EQ(pulse_engine_close_wait(engine, TS_DEADLINE_MS, nullptr), PULSE_OK);
    }
    pulse_engine_unref(engine);
  }
  struct State {
    int descriptors, threads;
  } state{descriptors, threads};
  const auto as_before = [](void* p) -> int {
    const auto* before = static_cast<State*>(p);
    return ts_descriptor_count() <= before->descriptors && ts_thread_count() <= before->threads;
  };
  EXPECT_TRUE(ts_wait_until(as_before, &state, TS_DEADLINE_MS))
      << ts_descriptor_count() << " " << ts_thread_count();
}

// Tenants with prefixes of their own, in one process, see nothing of each other.
TEST_P(Life, TwoEnginesInOneProcess) {
  pulse_engine* engines[2] = {open(GetParam(), "a:"), open(GetParam(), "b:")};
  pulse_stream* streams[2] = {stream_of(engines[0]), stream_of(engines[1])};
  std::vector<std::thread> threads;
  std::atomic<int> mistakes{0};
  for (pulse_stream* stream : streams) {
    threads.emplace_back([&mistakes, stream] {
      for (int64_t i = 0; i < ts_scaled(300); i++) {
        pulse_error error = PULSE_ERROR_INIT;
        if (add(stream, &error) != PULSE_OK) mistakes++;
      }
    });
  }
  std::atomic<bool> done{false};
  std::thread driver([&] {
    while (GetParam() == PULSE_DRIVER_MANUAL && !done) {
      for (pulse_engine* engine : engines) pulse_engine_run_once(engine, 0, 0);
    }
  });
  for (auto& t : threads) t.join();
  done = true;
  driver.join();
  // Waiting calls run the loop on the thread that ran it last: from now on that is this one.
  if (GetParam() == PULSE_DRIVER_MANUAL) {
    for (pulse_engine* engine : engines) EXPECT_GE(pulse_engine_run_once(engine, 0, 0), 0);
  }
  EXPECT_EQ(mistakes, 0);
  EXPECT_EQ(ts_command_integer(server, "XLEN", "a:pulse:stream:s", nullptr), ts_scaled(300));
  EXPECT_EQ(ts_command_integer(server, "XLEN", "b:pulse:stream:s", nullptr), ts_scaled(300));
  // One of them ends, and the other does not notice.
  pulse_stream_unref(streams[0]);
  EXPECT_EQ(pulse_engine_close_wait(engines[0], TS_DEADLINE_MS, nullptr), PULSE_OK);
  pulse_engine_unref(engines[0]);
  pulse_error error = PULSE_ERROR_INIT;
  EXPECT_EQ(GetParam() == PULSE_DRIVER_THREAD
                ? add(streams[1], &error)
                : pulse_engine_ready_wait(engines[1], TS_DEADLINE_MS, &error),
            PULSE_OK)
      << error.message;
  pulse_stream_unref(streams[1]);
  EXPECT_EQ(pulse_engine_close_wait(engines[1], TS_DEADLINE_MS, nullptr), PULSE_OK);
  pulse_engine_unref(engines[1]);
}

// What a forked child does with the parent's objects; the exit status is the number of the first
// call that answered wrongly.
int in_child(pulse_engine* engine, pulse_stream* stream, pulse_reader* reader, pulse_sink* sink,
             pulse_queue* queue) {
  pulse_error error = PULSE_ERROR_INIT;
  pulse_target target = PULSE_TARGET_INIT;
  pulse_stream* more = nullptr;
  pulse_event_id id = {1, 1};
  pulse_ack_handle ack = {};
  pulse_stream_info info = {};
  info.size = sizeof info;
  pulse_event event = {};
  const pulse_status answers[] = {
      pulse_engine_ready_wait(engine, -1, &error),
      pulse_engine_ping(engine, &target, nullptr, &error),
      pulse_engine_ping_wait(engine, nullptr, -1, &error),
      pulse_stream_open(engine, "t", 1, nullptr, &more, &error),
      pulse_stream_add(stream, "n", 1, "p", 1, nullptr, &target, nullptr, &error),
      pulse_stream_add_wait(stream, "n", 1, "p", 1, nullptr, nullptr, -1, &error),
      pulse_stream_remove(stream, &id, 1, nullptr, nullptr, &error),
      pulse_stream_destroy_wait(stream, -1, &error),
      pulse_stream_info_wait(stream, &info, -1, &error),
      pulse_operation_cancel(engine, 1),
      pulse_engine_close(engine),
      pulse_engine_close_wait(engine, -1, &error),
      pulse_engine_wakeup(engine),
      static_cast<pulse_status>(pulse_engine_run_once(engine, 0, 0)),
      pulse_reader_ready_wait(reader, -1, &error),
      pulse_reader_close(reader),
      pulse_reader_close_wait(reader, -1, &error),
      pulse_sink_ready_wait(sink, -1, &error),
      pulse_sink_ack(sink, &ack, 1, nullptr, nullptr, &error),
      pulse_sink_ack_wait(sink, &ack, 1, nullptr, -1, &error),
      pulse_sink_close_wait(sink, -1, &error),
      static_cast<pulse_status>(pulse_queue_poll(queue, &event, sizeof event, 1, -1)),
      static_cast<pulse_status>(pulse_queue_dispatch(queue, 0, -1)),
      pulse_queue_set_wakeup(queue, nullptr, nullptr, nullptr),
      pulse_queue_close(queue),
  };
  int number = 0;
  for (pulse_status answer : answers) {
    number++;
    if (answer != PULSE_ERR_FORKED) {
      fprintf(stderr, "call %d answered %s in the child\n", number, pulse_status_name(answer));
      return number;
    }
  }
  pulse_reader_unref(reader);
  pulse_sink_unref(sink);
  pulse_stream_unref(stream);
  pulse_engine_unref(engine);
  pulse_queue_unref(queue);
  return 0;
}

TEST_P(Life, AForkedChildIsToldSoAndTheParentIsUnharmed) {
  pulse_engine* engine = open(GetParam());
  pulse_error error = PULSE_ERROR_INIT;
  ASSERT_EQ(pulse_engine_ready_wait(engine, TS_DEADLINE_MS, &error), PULSE_OK) << error.message;
  pulse_stream* stream = stream_of(engine);
  pulse_queue* queue = nullptr;
  ASSERT_EQ(pulse_queue_new(&queue, &error), PULSE_OK);
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = queue;
  pulse_reader* reader = nullptr;
  pulse_sink* sink = nullptr;
  ASSERT_EQ(pulse_reader_open(stream, nullptr, &target, &reader, &error), PULSE_OK)
      << error.message;
  ASSERT_EQ(pulse_sink_open(stream, "g", 1, nullptr, &target, &sink, &error), PULSE_OK)
      << error.message;
  ASSERT_EQ(pulse_reader_ready_wait(reader, TS_DEADLINE_MS, &error), PULSE_OK) << error.message;
  ASSERT_EQ(pulse_sink_ready_wait(sink, TS_DEADLINE_MS, &error), PULSE_OK) << error.message;
  for (int i = 0; i < 3; i++) {
    pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      alarm(60);  // rather than hanging for ever
      // _exit: gtest's own end is not the child's.  The second child ends as a program does.
      int result = in_child(engine, stream, reader, sink, queue);
      if (i == 1) quick_exit(result);
      _exit(result);
    }
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 0);
    // The parent goes on: its adds reach its reader.
    ASSERT_EQ(add(stream, &error), PULSE_OK) << error.message;
  }
  struct Wait {
    pulse_engine* engine;
    pulse_queue* queue;
    int messages = 0;
  } wait{engine, queue};
  const auto all_came = [](void* p) -> int {
    auto* w = static_cast<Wait*>(p);
    pulse_engine_run_once(w->engine, 0, 0);
    pulse_event events[16];
    int64_t n = pulse_queue_poll(w->queue, events, sizeof events[0], 16, 0);
    for (int64_t i = 0; i < n; i++) {
      if (events[i].kind == PULSE_EVENT_MESSAGE) w->messages++;
    }
    return w->messages == 6;  // each once to the reader and once to the sink
  };
  EXPECT_TRUE(ts_wait_until(all_came, &wait, TS_DEADLINE_MS)) << wait.messages;
  EXPECT_EQ(ts_command_integer(server, "XLEN", "pulse:stream:s", nullptr), 3);
  pulse_reader_unref(reader);
  pulse_sink_unref(sink);
  pulse_stream_unref(stream);
  EXPECT_EQ(pulse_engine_close_wait(engine, TS_DEADLINE_MS, &error), PULSE_OK) << error.message;
  pulse_engine_unref(engine);
  pulse_queue_unref(queue);
}

// As nginx does: the library is used in the master, and each worker opens an engine of its own.
TEST_P(Life, AForkedChildMayOpenItsOwn) {
  if (GetParam() == PULSE_DRIVER_THREAD && ts_is_sanitized()) {
    GTEST_SKIP() << "sanitizers do not allow threads in a child of a process with threads";
  }
  pulse_engine* engine = open(GetParam());
  ASSERT_EQ(pulse_engine_ready_wait(engine, TS_DEADLINE_MS, nullptr), PULSE_OK);
  pid_t pid = fork();
  if (pid == 0) {
    alarm(60);
    pulse_engine* own = open(GetParam());
    pulse_stream* stream = stream_of(own);
    pulse_error error = PULSE_ERROR_INIT;
    bool good = add(stream, &error) == PULSE_OK;
    pulse_stream_unref(stream);
    good = good && pulse_engine_close_wait(own, TS_DEADLINE_MS, &error) == PULSE_OK;
    pulse_engine_unref(own);
    pulse_engine_unref(engine);
    _exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(ts_command_integer(server, "XLEN", "pulse:stream:s", nullptr), 1);
  EXPECT_EQ(pulse_engine_ping_wait(engine, nullptr, TS_DEADLINE_MS, nullptr), PULSE_OK);
  EXPECT_EQ(pulse_engine_close_wait(engine, TS_DEADLINE_MS, nullptr), PULSE_OK);
  pulse_engine_unref(engine);
}

INSTANTIATE_TEST_SUITE_P(Both, Life, testing::Values(PULSE_DRIVER_THREAD, PULSE_DRIVER_MANUAL),
                         [](const auto& param) {
                           return std::string(param.param == PULSE_DRIVER_THREAD ? "Thread"
                                                                                 : "Manual");
                         });

}  // namespace
