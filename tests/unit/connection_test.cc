// One connection against servers that do as they should, and against one that does not.
#include "redis/connection.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "connection_host.h"

namespace pulseengine {
namespace {

constexpr Script kScript{"test", "return 'script'", "1111111111111111111111111111111111111111"};
const Error kClosed(PULSE_ERR_CLOSED, "the test is over");

struct FaultDeleter {
  void operator()(ts_fault* f) const { ts_fault_free(f); }
};
struct ServerDeleter {
  void operator()(ts_server* s) const { ts_server_free(s); }
};

std::string last_word(ts_fault* fault, const char* name, size_t word) {
  char* text = ts_fault_last(fault, name, word, nullptr);
  std::string result = text == nullptr ? "" : text;
  free(text);
  return result;
}

class ConnectionTest : public testing::Test {
 protected:
  void SetUp() override {
    fault.reset(ts_fault_start());
    ASSERT_TRUE(fault);
    host = std::make_unique<TestHost>(ts_fault_url(fault.get()));
  }
  void TearDown() override {
    connection.reset();
    host.reset();
  }

  // A real one takes the place of the one that makes faults.
  void start_server() {
    server.reset(ts_server_start(nullptr));
    ASSERT_TRUE(server);
    host = std::make_unique<TestHost>(ts_server_url(server.get()));
  }
  void make(Connection::Role role = Connection::Role::command) {
    connection = std::make_unique<Connection>(*host, role, host.get());
  }
  void open() {
    if (!connection) make();
    connection->open();
  }
  void open_and_wait() {
    open();
    ASSERT_TRUE(host->run_until([&] { return connection->ready(); }));
  }
  bool ended(size_t count) {
    return host->run_until([&] { return outcomes.all.size() >= count; });
  }
  void many_threads_and_losses(bool callers_write);
  // Returns when the server has answered the command, and the loop has not turned for so long.
  void answered_while_busy(const char* name, int64_t milliseconds) {
    const int64_t end = monotonic_ms() + milliseconds;
    ASSERT_EQ(ts_fault_wait_count(fault.get(), name, 1, TS_DEADLINE_MS), 1);
    ts_fault_clear(fault.get(), name);  // its thread answers before it looks at its orders again
    while (monotonic_ms() <= end) std::this_thread::yield();
  }
  Ref<TestCommand> submit(const std::string& name, std::vector<std::string> words) {
    Ref<TestCommand> c = command(outcomes, name, std::move(words));
    EXPECT_TRUE(connection->submit(c).ok());
    return c;
  }

  std::unique_ptr<ts_fault, FaultDeleter> fault;
  std::unique_ptr<ts_server, ServerDeleter> server;
  Outcomes outcomes;
  std::unique_ptr<TestHost> host;
  std::unique_ptr<Connection> connection;
};

TEST_F(ConnectionTest, GreetsInOrderAndLearnsTheServer) {
  host->config.url.user = "joe";
  host->config.url.password = "secret";
  host->config.url.db = 3;
  open_and_wait();
  EXPECT_EQ(last_word(fault.get(), "AUTH", 1), "joe");
  EXPECT_EQ(last_word(fault.get(), "AUTH", 2), "secret");
  EXPECT_EQ(last_word(fault.get(), "SELECT", 1), "3");
  EXPECT_EQ(last_word(fault.get(), "CLIENT SETNAME", 2), "test");
  EXPECT_EQ(ts_fault_count(fault.get(), "CLIENT ID"), 1U);
  EXPECT_EQ(ts_fault_count(fault.get(), "INFO"), 1U);
  EXPECT_NE(connection->client_id(), 0);
  EXPECT_EQ(host->server.text(), "redis 7.0.15");
  EXPECT_EQ(host->readies, 1);
  EXPECT_EQ(host->counters().open.load(), 1);
}

TEST_F(ConnectionTest, AReadConnectionDoesNotProbe) {
  make(Connection::Role::read);
  open_and_wait();
  EXPECT_EQ(ts_fault_count(fault.get(), "INFO"), 0U);
  EXPECT_EQ(ts_fault_count(fault.get(), "AUTH"), 0U);
  EXPECT_NE(connection->client_id(), 0);
}

TEST_F(ConnectionTest, CommandsAreAnsweredInOrder) {
  make();
  for (int i = 0; i < 100; i++) submit(std::to_string(i), {"ECHO", std::to_string(i * 7)});
  connection->open();
  ASSERT_TRUE(ended(100));
  for (int i = 0; i < 100; i++) {
    EXPECT_EQ(outcomes.all[static_cast<size_t>(i)].name, std::to_string(i));
    EXPECT_EQ(outcomes.all[static_cast<size_t>(i)].answer, std::to_string(i * 7));
  }
}

TEST_F(ConnectionTest, CommandsOfOneTurnLeaveInOneWrite) {
  open_and_wait();
  uint64_t before = host->counters().writes.load();
  for (int i = 0; i < 100; i++) submit("c", {"PING"});
  ASSERT_TRUE(ended(100));
  EXPECT_EQ(host->counters().writes.load() - before, 1U);
  EXPECT_EQ(connection->buffered(), 0U);
}

TEST_F(ConnectionTest, AnswersInPiecesOfOneByte) {
  ts_fault_split(fault.get(), 1);
  open_and_wait();
  std::string text(300, 'x');
  submit("echo", {"ECHO", text});
  submit("ping", {"PING"});
  ASSERT_TRUE(ended(2));
  EXPECT_EQ(outcomes.all[0].answer, text);
  EXPECT_EQ(outcomes.all[1].answer, "PONG");
}

TEST_F(ConnectionTest, ARefusedPasswordIsReportedAndTriedAgain) {
  host->config.url.password = "wrong";
  ts_fault_answer_text(fault.get(), "AUTH", "-WRONGPASS invalid username-password pair\r\n", 3);
  make();
  submit("waiting", {"ECHO", "still there"});
  connection->open();
  ASSERT_TRUE(ended(1));
  ASSERT_EQ(host->losses.size(), 3U);
  for (const Error& error : host->losses) {
    EXPECT_EQ(error.code(), PULSE_ERR_AUTH);
    EXPECT_EQ(error.message().find("wrong"), std::string_view::npos);
  }
  EXPECT_EQ(outcomes.all[0].answer, "still there");
  EXPECT_TRUE(connection->last_error().ok());
}

TEST_F(ConnectionTest, AMissingPasswordIsReported) {
  ts_fault_answer_text(fault.get(), "*", "-NOAUTH Authentication required.\r\n", 0);
  open();
  ASSERT_TRUE(host->run_until([&] { return !host->losses.empty(); }));
  EXPECT_EQ(host->losses[0].code(), PULSE_ERR_AUTH);
  EXPECT_EQ(host->readies, 0);
}

TEST_F(ConnectionTest, ALoadingServerIsWaitedFor) {
  ts_fault_answer_text(fault.get(), "*", "-LOADING Redis is loading the dataset in memory\r\n", 7);
  make();
  submit("waiting", {"ECHO", "hello"});
  connection->open();
  ASSERT_TRUE(ended(1));
  ASSERT_FALSE(host->losses.empty());
  for (const Error& error : host->losses) EXPECT_EQ(error.code(), PULSE_ERR_LOADING);
  EXPECT_EQ(outcomes.all[0].answer, "hello");
}

TEST_F(ConnectionTest, AServerWithoutClientCommandsServesAllTheSame) {
  ts_fault_answer_text(fault.get(), "CLIENT", "-ERR unknown command 'CLIENT'\r\n", 0);
  ts_fault_answer_text(fault.get(), "INFO", "-NOPERM this user has no permissions\r\n", 0);
  open_and_wait();
  EXPECT_EQ(connection->client_id(), 0);
  submit("ping", {"PING"});
  ASSERT_TRUE(ended(1));
  EXPECT_EQ(outcomes.all[0].answer, "PONG");
}

TEST_F(ConnectionTest, ADatabaseThatDoesNotExistIsReported) {
  host->config.url.db = 99;
  ts_fault_answer_text(fault.get(), "SELECT", "-ERR DB index is out of range\r\n", 0);
  open();
  ASSERT_TRUE(host->run_until([&] { return !host->losses.empty(); }));
  EXPECT_EQ(host->losses[0].code(), PULSE_ERR_SERVER);
}

// The server says so without being asked, and hangs up.
TEST_F(ConnectionTest, AServerThatIsFullIsNamedAsThat) {
  const char* args[] = {"--maxclients", "2", nullptr};
  ts_server_options options{};
  options.args = args;
  std::unique_ptr<ts_server, ServerDeleter> server(ts_server_start(&options));
  ASSERT_TRUE(server);
  ts_connection* first = ts_connection_open(server.get());
  ts_connection* second = ts_connection_open(server.get());
  ts_reply_free(ts_connection_command(first, "PING", nullptr));
  ts_reply_free(ts_connection_command(second, "PING", nullptr));
  host = std::make_unique<TestHost>(ts_server_url(server.get()));
  make();
  submit("waiting", {"PING"});
  connection->open();
  bool reported = host->run_until([&] {
    return std::any_of(host->losses.begin(), host->losses.end(),
                       [](const Error& e) { return e.code() == PULSE_ERR_MAX_CLIENTS; });
  });
  EXPECT_TRUE(reported) << (host->losses.empty() ? "no loss" : host->losses[0].message());
  for (const Error& e : host->losses) EXPECT_EQ(e.code(), PULSE_ERR_MAX_CLIENTS) << e.message();
  EXPECT_TRUE(outcomes.all.empty());
  ts_connection_free(first);
  ts_connection_free(second);
  ASSERT_TRUE(ended(1));
  EXPECT_EQ(outcomes.all[0].answer, "PONG");
  connection.reset();
}

// Cut after every byte of an answer: what may have happened is not done twice, what is harmless
// is done again.
TEST_F(ConnectionTest, AConnectionCutAtEveryByteOfAnAnswer) {
  const std::string answer = "$10\r\n0123456789\r\n";
  ts_fault_answer(fault.get(), "GET", answer.data(), answer.size(), 0);
  open_and_wait();
  for (size_t bytes = 0; bytes < answer.size(); bytes++) {
    for (bool repeatable : {false, true}) {
      outcomes.all.clear();
      uint64_t before = ts_fault_count(fault.get(), "GET");
      ts_fault_cut(fault.get(), "GET", bytes, 1);
      Ref<TestCommand> get = command(outcomes, "get", {"GET", "x"});
      if (repeatable) get->repeat();
      ASSERT_TRUE(connection->submit(get).ok());
      ASSERT_TRUE(ended(1)) << bytes;
      ASSERT_TRUE(host->run_until([&] { return connection->ready(); }));
      host->turns(3);
      ASSERT_EQ(outcomes.all.size(), 1U);
      if (repeatable) {
        EXPECT_EQ(outcomes.all[0].answer, "0123456789") << bytes;
        EXPECT_EQ(ts_fault_count(fault.get(), "GET") - before, 2U);
      } else {
        const Error& error = outcomes.all[0].error;
        EXPECT_EQ(error.code(), PULSE_ERR_DISCONNECTED) << bytes;
        EXPECT_EQ(error.flags() & (PULSE_ERROR_OUTCOME_UNKNOWN | PULSE_ERROR_NEVER_SENT),
                  uint32_t{PULSE_ERROR_OUTCOME_UNKNOWN});
        EXPECT_EQ(ts_fault_count(fault.get(), "GET") - before, 1U);
      }
    }
  }
}

TEST_F(ConnectionTest, WhatWasAnsweredBeforeTheCutCounts) {
  open_and_wait();
  ts_fault_cut(fault.get(), "GET", 0, 1);
  submit("before", {"ECHO", "one"});
  submit("cut", {"GET", "x"});
  submit("after", {"ECHO", "two"});
  auto again = command(outcomes, "again", {"ECHO", "three"});
  again->repeat();
  ASSERT_TRUE(connection->submit(again).ok());
  ASSERT_TRUE(ended(4));
  EXPECT_EQ(outcomes.find("before")->answer, "one");
  EXPECT_EQ(outcomes.find("cut")->error.flags() & PULSE_ERROR_OUTCOME_UNKNOWN,
            uint32_t{PULSE_ERROR_OUTCOME_UNKNOWN});
  EXPECT_EQ(outcomes.find("after")->error.flags() & PULSE_ERROR_OUTCOME_UNKNOWN,
            uint32_t{PULSE_ERROR_OUTCOME_UNKNOWN});
  EXPECT_EQ(outcomes.find("again")->answer, "three");
  EXPECT_EQ(outcomes.all.size(), 4U);
}

TEST_F(ConnectionTest, APeerThatNeverAnswersIsGivenUp) {
  host->config.command_timeout_ms = 150;
  open_and_wait();
  ts_fault_silence(fault.get(), "GET", 1);
  submit("get", {"GET", "x"});
  ASSERT_TRUE(ended(1));
  EXPECT_EQ(outcomes.all[0].error.code(), PULSE_ERR_DISCONNECTED);
  EXPECT_NE(outcomes.all[0].error.flags() & PULSE_ERROR_OUTCOME_UNKNOWN, 0U);
  ASSERT_EQ(host->losses.size(), 1U);
  submit("next", {"PING"});
  ASSERT_TRUE(ended(2));
  EXPECT_EQ(outcomes.all[1].answer, "PONG");
}

TEST_F(ConnectionTest, APeerThatNeverGreetsIsGivenUpAfterTheConnectTimeout) {
  host->config.connect_timeout_ms = 100;
  ts_fault_silence(fault.get(), "CLIENT", 2);
  open();
  ASSERT_TRUE(host->run_until([&] { return connection->ready(); }));
  ASSERT_GE(host->losses.size(), 1U);
  EXPECT_EQ(host->losses[0].code(), PULSE_ERR_CONNECT);
}

// A loop that was busy for long looks at its timers before it reads.
TEST_F(ConnectionTest, AnAnswerThatWaitedToBeReadCounts) {
  host->config.command_timeout_ms = 50;
  open_and_wait();
  ts_fault_answer_text(fault.get(), "GET", "+here\r\n", 0);
  submit("get", {"GET", "x"});
  connection->flush();
  answered_while_busy("GET", host->config.command_timeout_ms);
  ASSERT_TRUE(ended(1));
  EXPECT_EQ(outcomes.all[0].answer, "here");
  EXPECT_TRUE(host->losses.empty());
}

TEST_F(ConnectionTest, AGreetingThatWaitedToBeReadCounts) {
  host->config.connect_timeout_ms = 50;
  open();
  host->turns(1);
  answered_while_busy("PING", host->config.connect_timeout_ms);
  ASSERT_TRUE(host->run_until([&] { return connection->ready(); }));
  EXPECT_TRUE(host->losses.empty());
}

// A command that blocks at the server brings a deadline beyond its blocking time.
TEST_F(ConnectionTest, ACommandThatMayBlockIsGivenItsTime) {
  host->config.command_timeout_ms = 50;
  open_and_wait();
  ts_fault_delay(fault.get(), "XREAD", 300);
  ts_fault_answer_text(fault.get(), "XREAD", "*-1\r\n", 0);
  auto read = command(outcomes, "read", {"XREAD"});
  read->until(monotonic_ms() + TS_DEADLINE_MS);
  ASSERT_TRUE(connection->submit(read).ok());
  ASSERT_TRUE(ended(1));
  EXPECT_TRUE(outcomes.all[0].error.ok()) << outcomes.all[0].error.message();
  EXPECT_TRUE(host->losses.empty());
}

TEST_F(ConnectionTest, AReplyThatNobodyAskedForEndsTheConnection) {
  open_and_wait();
  ts_fault_send(fault.get(), ":1\r\n", 4);
  ASSERT_TRUE(host->run_until([&] { return host->readies == 2; }));
  ASSERT_EQ(host->losses.size(), 1U);
  EXPECT_EQ(host->losses[0].code(), PULSE_ERR_PROTOCOL);
}

TEST_F(ConnectionTest, RubbishEndsTheConnection) {
  open_and_wait();
  ts_fault_answer_text(fault.get(), "GET", "HTTP/1.1 200 OK\r\n\r\n", 1);
  submit("get", {"GET", "x"});
  ASSERT_TRUE(ended(1));
  EXPECT_EQ(outcomes.all[0].error.code(), PULSE_ERR_PROTOCOL);
  EXPECT_NE(outcomes.all[0].error.flags() & PULSE_ERROR_OUTCOME_UNKNOWN, 0U);
  EXPECT_TRUE(host->run_until([&] { return host->readies == 2; }));
}

TEST_F(ConnectionTest, RepliesBeyondTheLimitEndTheConnection) {
  host->config.max_reply_bytes = 1 << 20;
  open_and_wait();
  std::string chunk(1000, 'x');
  ts_fault_answer_repeated(fault.get(), "GET", "$1000000000\r\n", chunk.data(), chunk.size(),
                           1000000, "\r\n", 1);
  int64_t before = ts_resident_bytes();
  submit("get", {"GET", "x"});
  ASSERT_TRUE(ended(1));
  EXPECT_EQ(outcomes.all[0].error.code(), PULSE_ERR_PROTOCOL);
  EXPECT_LT(ts_resident_bytes() - before, 64 << 20);
  ts_fault_answer_repeated(fault.get(), "GET", "", "*1\r\n", 4, 1000000, ":1\r\n", 1);
  submit("deep", {"GET", "x"});
  ASSERT_TRUE(ended(2));
  EXPECT_EQ(outcomes.all[1].error.code(), PULSE_ERR_PROTOCOL);
}

// Counts what it is given.
struct PartsCommand final : Command {
  void format(CommandWriter& w) override { w.command("GET", "x"); }
  bool takes_parts() const override { return true; }
  void part(Reply& reply) override {
    parts++;
    take(reply);
  }
  void replied(Reply& reply) override {
    whole = true;
    take(reply);
  }
  void failed(const Error& e) override { error = e; }
  void take(Reply& reply) {
    EXPECT_FALSE(whole && reply.empty());
    for (; !reply.empty(); reply.next()) nodes++;
  }
  size_t parts = 0, nodes = 0;
  bool whole = false;
  Error error;
};

TEST_F(ConnectionTest, AReplyInPartsMayExceedTheLimit) {
  host->config.max_reply_bytes = 1 << 20;
  open_and_wait();
  const std::string chunk = "$100\r\n" + std::string(100, 'x') + "\r\n";
  ts_fault_answer_repeated(fault.get(), "GET", "*40000\r\n", chunk.data(), chunk.size(), 40000, "",
                           1);
  auto parts = make_ref<PartsCommand>();
  ASSERT_TRUE(connection->submit(parts).ok());
  submit("after", {"PING"});
  ASSERT_TRUE(ended(1));
  EXPECT_TRUE(parts->error.ok()) << parts->error.message();
  EXPECT_TRUE(parts->whole);
  EXPECT_EQ(parts->nodes, 40001U);
  EXPECT_GT(parts->parts, 10U);
  EXPECT_EQ(outcomes.all[0].answer, "PONG");
  // What is cut in the midst has failed.
  ts_fault_answer_repeated(fault.get(), "GET", "*40000\r\n", chunk.data(), chunk.size(), 40000, "",
                           1);
  ts_fault_cut(fault.get(), "GET", 1000000, 1);
  parts = make_ref<PartsCommand>();
  ASSERT_TRUE(connection->submit(parts).ok());
  ASSERT_TRUE(host->run_until([&] { return parts->whole || !parts->error.ok(); }));
  EXPECT_EQ(parts->error.code(), PULSE_ERR_DISCONNECTED);
  EXPECT_FALSE(parts->whole);
}

TEST_F(ConnectionTest, ErrorRepliesAreTheCommandsAlone) {
  open_and_wait();
  ts_fault_answer_text(fault.get(), "GET", "-WRONGTYPE Operation against a key\r\n", 1);
  submit("get", {"GET", "x"});
  submit("ping", {"PING"});
  ASSERT_TRUE(ended(2));
  EXPECT_EQ(outcomes.all[0].error.code(), PULSE_ERR_WRONG_TYPE);
  EXPECT_EQ(outcomes.all[1].answer, "PONG");
  EXPECT_EQ(host->counters().errors_replied.load(), 1U);
  EXPECT_TRUE(host->losses.empty());
}

TEST_F(ConnectionTest, AScriptIsLoadedOnceAheadOfItsFirstCall) {
  ts_fault_answer_text(fault.get(), "EVALSHA", "+done\r\n", 0);
  open_and_wait();
  for (int i = 0; i < 3; i++) {
    auto call = command(outcomes, "call", {"a"});
    call->run_script(kScript);
    ASSERT_TRUE(connection->submit(call).ok());
  }
  ASSERT_TRUE(ended(3));
  EXPECT_EQ(ts_fault_count(fault.get(), "SCRIPT LOAD"), 1U);
  EXPECT_EQ(ts_fault_count(fault.get(), "EVALSHA"), 3U);
  EXPECT_EQ(last_word(fault.get(), "SCRIPT LOAD", 2), kScript.text);
  // Another connection of the same object may meet a server that has forgotten it.
  ts_fault_cut_all(fault.get());
  ASSERT_TRUE(host->run_until([&] { return host->readies == 2; }));
  auto call = command(outcomes, "call", {"a"});
  call->run_script(kScript);
  ASSERT_TRUE(connection->submit(call).ok());
  ASSERT_TRUE(ended(4));
  EXPECT_EQ(ts_fault_count(fault.get(), "SCRIPT LOAD"), 2U);
}

TEST_F(ConnectionTest, AnUnknownScriptIsSentAsText) {
  ts_fault_answer_text(fault.get(), "EVAL", "+by text\r\n", 0);
  open_and_wait();
  auto call = command(outcomes, "call", {"argument"});
  call->run_script(kScript);
  ASSERT_TRUE(connection->submit(call).ok());
  ASSERT_TRUE(ended(1));
  EXPECT_EQ(outcomes.all[0].answer, "by text");
  EXPECT_EQ(ts_fault_count(fault.get(), "EVALSHA"), 1U);
  EXPECT_EQ(ts_fault_count(fault.get(), "EVAL"), 1U);
  EXPECT_EQ(last_word(fault.get(), "EVAL", 1), kScript.text);
  EXPECT_EQ(last_word(fault.get(), "EVAL", 3), "argument");
}

TEST_F(ConnectionTest, NoScriptInAnswerToTheTextIsAnError) {
  ts_fault_answer_text(fault.get(), "EVAL", "-NOSCRIPT No matching script\r\n", 0);
  open_and_wait();
  auto call = command(outcomes, "call", {});
  call->run_script(kScript);
  ASSERT_TRUE(connection->submit(call).ok());
  ASSERT_TRUE(ended(1));
  EXPECT_EQ(outcomes.all[0].error.code(), PULSE_ERR_SERVER);
  EXPECT_EQ(ts_fault_count(fault.get(), "EVAL"), 1U);
}

TEST_F(ConnectionTest, WhatWaitsWhenItsDeadlinePassesWasNeverSent) {
  ts_fault_silence(fault.get(), "CLIENT", 0);
  open();
  submit("patient", {"PING"});
  auto hurried = command(outcomes, "hurried", {"ECHO", "x"});
  hurried->until(monotonic_ms() + 50);
  ASSERT_TRUE(connection->submit(hurried).ok());
  submit("behind", {"ECHO", "y"});
  ASSERT_TRUE(ended(1));
  EXPECT_EQ(outcomes.all[0].name, "hurried");
  EXPECT_EQ(outcomes.all[0].error.code(), PULSE_ERR_TIMEOUT);
  EXPECT_NE(outcomes.all[0].error.flags() & PULSE_ERROR_NEVER_SENT, 0U);
  ts_fault_clear(fault.get(), "CLIENT");
  ts_fault_cut_all(fault.get());
  ASSERT_TRUE(ended(3));
  EXPECT_EQ(outcomes.all[1].answer, "PONG");
  EXPECT_EQ(outcomes.all[2].answer, "y");
  EXPECT_EQ(ts_fault_count(fault.get(), "ECHO"), 1U);
}

TEST_F(ConnectionTest, WhatNobodyWantsAnyMoreIsNotSent) {
  make();
  auto unwanted = submit("unwanted", {"ECHO", "x"});
  submit("wanted", {"ECHO", "y"});
  unwanted->given_up = true;
  connection->open();
  ASSERT_TRUE(host->run_until([&] { return outcomes.find("wanted") != nullptr; }));
  EXPECT_EQ(ts_fault_count(fault.get(), "ECHO"), 1U);
  EXPECT_EQ(outcomes.count("unwanted"), 1U);
}

TEST_F(ConnectionTest, WithFailFastNothingWaitsForTheNextConnection) {
  host->config.fail_fast = true;
  open_and_wait();
  ts_fault_silence(fault.get(), "GET", 1);
  auto get = command(outcomes, "get", {"GET", "x"});
  get->repeat();
  ASSERT_TRUE(connection->submit(get).ok());
  ASSERT_TRUE(host->run_until([&] { return ts_fault_count(fault.get(), "GET") == 1; }));
  ts_fault_cut_all(fault.get());
  ASSERT_TRUE(ended(1));
  EXPECT_EQ(outcomes.all[0].error.code(), PULSE_ERR_DISCONNECTED);
}

TEST_F(ConnectionTest, CloseEndsEveryCommandAndTellsWhetherItWasSent) {
  open_and_wait();
  ts_fault_silence(fault.get(), "GET", 0);
  submit("sent", {"GET", "x"});
  ASSERT_TRUE(host->run_until([&] { return ts_fault_count(fault.get(), "GET") == 1; }));
  submit("queued", {"GET", "y"});
  connection->close(kClosed);
  ASSERT_EQ(outcomes.all.size(), 2U);
  EXPECT_EQ(outcomes.all[0].error.code(), PULSE_ERR_CLOSED);
  EXPECT_NE(outcomes.find("sent")->error.flags() & PULSE_ERROR_OUTCOME_UNKNOWN, 0U);
  EXPECT_NE(outcomes.find("queued")->error.flags() & PULSE_ERROR_NEVER_SENT, 0U);
  EXPECT_EQ(connection->submit(command(outcomes, "late", {"PING"})).code(), PULSE_ERR_CLOSED);
  connection->close(kClosed);
  EXPECT_EQ(outcomes.all.size(), 2U);
  EXPECT_EQ(host->counters().open.load(), 0);
  EXPECT_EQ(connection->state(), Connection::State::closed);
}

// In whatever state it is.
TEST_F(ConnectionTest, CloseIsPossibleAtEveryStep) {
  ts_fault_delay(fault.get(), "CLIENT", 1);
  for (int turns = 0; turns < 30; turns++) {
    make();
    submit("c", {"PING"});
    connection->open();
    host->turns(turns);
    connection->close(kClosed);
    host->turns(2);
    connection.reset();
  }
  EXPECT_EQ(outcomes.all.size(), 30U);
  EXPECT_EQ(host->counters().open.load(), 0);
}

TEST_F(ConnectionTest, CloseInsideItsOwnCallbacks) {
  host->on_ready = [](Connection& c) { c.close(kClosed); };
  open();
  ASSERT_TRUE(host->run_until([&] { return host->readies == 1; }));
  host->turns(5);
  connection.reset();
  host->on_ready = nullptr;
  host->on_lost = [](Connection& c) { c.close(kClosed); };
  ts_fault_cut(fault.get(), "CLIENT", 0, 0);
  open();
  ASSERT_TRUE(host->run_until([&] { return host->losses.size() == 1; }));
  host->turns(5);
  EXPECT_EQ(connection->state(), Connection::State::closed);
}

// A wait before an attempt is at least half of the back-off, which doubles up to its maximum.
TEST_F(ConnectionTest, AttemptsBackOff) {
  ASSERT_TRUE(parse_url("unix:///nonexistent/socket", &host->config.url).ok());
  host->config.reconnect_min_ms = 8;
  host->config.reconnect_max_ms = 40;
  open();
  ASSERT_TRUE(host->run_until([&] { return host->losses.size() >= 12; }));
  const int64_t least[] = {4, 8, 16, 20, 20, 20, 20, 20, 20, 20, 20};
  std::vector<int64_t> waits;
  for (size_t i = 0; i < 11; i++) {
    waits.push_back(host->loss_times_ms[i + 1] - host->loss_times_ms[i]);
    EXPECT_GE(waits.back(), least[i] - 1) << "attempt " << i;
    EXPECT_EQ(host->losses[i].code(), PULSE_ERR_CONNECT);
    EXPECT_EQ(host->losses[i].system_errno(), ENOENT);
  }
}

TEST_F(ConnectionTest, TheStateFollowsTheTable) {
  std::vector<Connection::State> states;
  host->on_lost = [&](Connection& c) { states.push_back(c.state()); };
  host->on_ready = [&](Connection& c) { states.push_back(c.state()); };
  make();
  EXPECT_EQ(connection->state(), Connection::State::idle);
  open_and_wait();
  connection->open();  // no effect
  ts_fault_cut_all(fault.get());
  ASSERT_TRUE(host->run_until([&] { return states.size() == 3; }));
  using S = Connection::State;
  EXPECT_EQ(states, (std::vector<S>{S::ready, S::waiting, S::ready}));
  connection->close(kClosed);
  EXPECT_EQ(connection->state(), S::closed);
}

// A server that stops reading: part of what was submitted leaves, the rest waits.  After
// it was killed and is back, exactly those that never left are executed, in their order.
TEST_F(ConnectionTest, WhatNeverLeftIsSentInOrderAfterALoss) {
  start_server();
  open_and_wait();
  ASSERT_TRUE(ts_server_pause(server.get()));
  const std::string padding(10000, 'p');
  constexpr int kCommands = 400;  // some 4 MB: more than sockets hold
  for (int i = 0; i < kCommands; i++) {
    submit(std::to_string(i), {"RPUSH", "list", std::to_string(i) + " " + padding});
    if (i % 10 == 0) host->turns(1);
  }
  uint64_t left_behind = 0;
  ASSERT_TRUE(host->run_until([&] {
    host->turns(2);
    uint64_t sent = host->counters().bytes_sent.load();
    bool settled = sent == left_behind;
    left_behind = sent;
    return settled;
  }));
  ASSERT_TRUE(ts_server_kill(server.get()));
  ASSERT_TRUE(host->run_until([&] { return !host->losses.empty(); }));
  ASSERT_TRUE(ts_server_restart(server.get()));
  ASSERT_TRUE(ended(kCommands));
  std::vector<std::string> expected;
  bool unsent_began = false;
  for (int i = 0; i < kCommands; i++) {
    const Outcome* outcome = outcomes.find(std::to_string(i));
    ASSERT_NE(outcome, nullptr);
    ASSERT_EQ(outcomes.count(std::to_string(i)), 1U);
    if (outcome->error.ok()) {
      unsent_began = true;
      expected.push_back(std::to_string(i));
      EXPECT_EQ(outcome->answer, std::to_string(expected.size())) << i;
    } else {
      EXPECT_FALSE(unsent_began) << i << " failed though it was submitted behind unsent ones";
      EXPECT_NE(outcome->error.flags() & PULSE_ERROR_OUTCOME_UNKNOWN, 0U) << i;
    }
  }
  EXPECT_FALSE(expected.empty());
  EXPECT_LT(expected.size(), static_cast<size_t>(kCommands));
  ts_reply* list = ts_command(server.get(), "LRANGE", "list", "0", "-1", nullptr);
  ASSERT_EQ(ts_reply_size(list), expected.size());
  for (size_t i = 0; i < expected.size(); i++) {
    std::string text = ts_reply_text(ts_reply_at(list, i));
    EXPECT_EQ(text.substr(0, text.find(' ')), expected[i]);
  }
  ts_reply_free(list);
  connection.reset();
}

// Submitted from several threads while the connection is killed again and again: each command ends
// exactly once, the order of each thread holds, and what was answered was executed.
void ConnectionTest::many_threads_and_losses(bool callers_write) {
  start_server();
  open_and_wait();
  host->callers_write = callers_write;
  constexpr int kThreads = 4;
  const auto kEach = static_cast<int>(ts_scaled(3000));
  std::atomic<int> running{kThreads};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; t++) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; i++) {
        std::string name = std::to_string(t) + ":" + std::to_string(i);
        Error error = connection->submit(command(outcomes, name, {"RPUSH", "all", name}));
        EXPECT_TRUE(error.ok());
        if (i % 64 == 0) std::this_thread::yield();
        // Now and then nothing is under way.
        for (int n = 0; n < 500 && callers_write && i % 8 == 0; n++) {
          if (connection->writes_at_once()) break;
          std::this_thread::yield();
        }
      }
      running--;
    });
  }
  std::thread killer([&] {
    while (running.load() > 0) {
      ts_reply_free(ts_command(server.get(), "CLIENT", "KILL", "TYPE", "normal", nullptr));
      ts_pause_ms(5);
    }
  });
  bool done =
      host->run_until([&] { return outcomes.all.size() == static_cast<size_t>(kThreads * kEach); });
  for (auto& t : threads) t.join();
  killer.join();
  ASSERT_TRUE(done) << outcomes.all.size() << " of " << kThreads * kEach;
  host->turns(5);
  ASSERT_EQ(outcomes.all.size(), static_cast<size_t>(kThreads * kEach));
  std::vector<int> next(kThreads, 0);
  std::vector<bool> answered(static_cast<size_t>(kThreads * kEach)), failed(answered.size());
  auto index = [&](const std::string& name) {
    size_t colon = name.find(':');
    return static_cast<size_t>(std::stoi(name.substr(0, colon)) * kEach +
                               std::stoi(name.substr(colon + 1)));
  };
  for (const Outcome& o : outcomes.all) {
    ASSERT_FALSE(answered[index(o.name)] || failed[index(o.name)]) << o.name << " ended twice";
    (o.error.ok() ? answered : failed)[index(o.name)] = true;
    if (!o.error.ok()) {
      EXPECT_NE(o.error.flags() & PULSE_ERROR_OUTCOME_UNKNOWN, 0U) << o.error.message();
    }
  }
  ts_reply* list = ts_command(server.get(), "LRANGE", "all", "0", "-1", nullptr);
  std::vector<int> last(kThreads, -1);
  std::vector<int> executed(answered.size());
  for (size_t i = 0; i < ts_reply_size(list); i++) {
    std::string name = ts_reply_text(ts_reply_at(list, i));
    int thread = std::stoi(name);
    int number = std::stoi(name.substr(name.find(':') + 1));
    EXPECT_GT(number, last[static_cast<size_t>(thread)]) << "out of order: " << name;
    last[static_cast<size_t>(thread)] = number;
    executed[index(name)]++;
  }
  ts_reply_free(list);
  for (size_t i = 0; i < executed.size(); i++) {
    ASSERT_LE(executed[i], 1) << i;
    if (answered[i]) {
      ASSERT_EQ(executed[i], 1) << i;
    }
  }
  EXPECT_GT(host->losses.size(), 0U);
  connection.reset();
}

TEST_F(ConnectionTest, ManyThreadsAndManyLosses) { many_threads_and_losses(false); }
TEST_F(ConnectionTest, ManyThreadsThatWriteThemselvesAndManyLosses) {
  many_threads_and_losses(true);
}

// --- callers that write an idle socket themselves ----------------------------

class DirectTest : public ConnectionTest {
 protected:
  // Ready, with nothing under way, and used before.
  void open_and_idle() {
    open_and_wait();
    submit("first", {"PING"});
    ASSERT_TRUE(ended(1));
    host->callers_write = true;
    ASSERT_TRUE(host->run_until([&] { return connection->writes_at_once(); }));
    outcomes.all.clear();
  }
};

TEST_F(DirectTest, ACommandIsSentWithoutATurnOfTheLoop) {
  open_and_idle();
  const uint64_t writes = host->counters().writes.load(), sent = host->counters().commands_sent;
  submit("get", {"GET", "x"});
  EXPECT_EQ(ts_fault_wait_count(fault.get(), "GET", 1, TS_DEADLINE_MS), 1);
  EXPECT_EQ(host->counters().writes.load(), writes + 1);
  EXPECT_EQ(connection->buffered(), 0U);
  EXPECT_FALSE(connection->writes_at_once());  // it is not idle any more
  submit("ping", {"PING"});                    // waits for the loop, and its turn
  EXPECT_EQ(host->counters().writes.load(), writes + 1);
  ASSERT_TRUE(ended(2));
  EXPECT_EQ(outcomes.all[0].name, "get");
  EXPECT_EQ(outcomes.all[1].answer, "PONG");
  EXPECT_EQ(host->counters().commands_sent.load(), sent + 2);
  EXPECT_TRUE(host->run_until([&] { return connection->writes_at_once(); }));
}

TEST_F(DirectTest, ABatchIsSentAsOne) {
  open_and_idle();
  const uint64_t writes = host->counters().writes.load();
  Vector<Ref<Command>> batch;
  for (int i = 0; i < 50; i++) batch.push_back(command(outcomes, std::to_string(i), {"PING"}));
  ASSERT_TRUE(connection->submit_all(batch).ok());
  EXPECT_EQ(host->counters().writes.load(), writes + 1);
  ASSERT_TRUE(ended(50));
  for (int i = 0; i < 50; i++) {
    EXPECT_EQ(outcomes.all[static_cast<size_t>(i)].name, std::to_string(i));
  }
}

// Callers that do not wait for each answer are served better by one write for many.
TEST_F(DirectTest, AfterManyAtATimeTheLoopGathersThem) {
  open_and_idle();
  for (int i = 0; i < 10; i++) submit("ping", {"PING"});
  ASSERT_TRUE(ended(10));
  host->turns(5);
  EXPECT_FALSE(connection->writes_at_once());
  submit("one", {"PING"});
  ASSERT_TRUE(ended(11));
  EXPECT_TRUE(host->run_until([&] { return connection->writes_at_once(); }));
}

TEST_F(DirectTest, WhatIsLargeIsLeftToTheLoop) {
  open_and_idle();
  const uint64_t writes = host->counters().writes.load();
  submit("echo", {"ECHO", std::string(100000, 'x')});
  EXPECT_EQ(host->counters().writes.load(), writes);
  ASSERT_TRUE(ended(1));
  EXPECT_EQ(outcomes.all[0].answer.size(), 100000U);
}

// While the loop writes, nobody else does.
TEST_F(DirectTest, WhatTheLoopSendsEndsTheOffer) {
  open_and_idle();
  ts_fault_silence(fault.get(), "ECHO", 1);
  submit("echo", {"ECHO", std::string(100000, 'x')});
  host->turns(1);
  EXPECT_FALSE(connection->writes_at_once());
  const uint64_t writes = host->counters().writes.load();
  submit("ping", {"PING"});
  EXPECT_EQ(host->counters().writes.load(), writes);
  connection->close(kClosed);
}

TEST_F(DirectTest, APeerThatDoesNotAnswerIsGivenUp) {
  host->config.command_timeout_ms = 150;
  open_and_idle();
  ts_fault_silence(fault.get(), "GET", 1);
  submit("get", {"GET", "x"});
  EXPECT_EQ(ts_fault_wait_count(fault.get(), "GET", 1, TS_DEADLINE_MS), 1);
  ASSERT_TRUE(ended(1));
  EXPECT_EQ(outcomes.all[0].error.code(), PULSE_ERR_DISCONNECTED);
  EXPECT_NE(outcomes.all[0].error.flags() & PULSE_ERROR_OUTCOME_UNKNOWN, 0U);
}

// The timer that gives up a silent peer stops where nothing happens; then callers do not write.
TEST_F(DirectTest, NobodyWritesWhereNobodyWatches) {
  host->config.command_timeout_ms = 50;
  open_and_idle();
  ASSERT_TRUE(host->run_until([&] { return !connection->writes_at_once(); }));
  const uint64_t writes = host->counters().writes.load();
  submit("ping", {"PING"});
  EXPECT_EQ(host->counters().writes.load(), writes);
  ASSERT_TRUE(ended(1));
  EXPECT_EQ(outcomes.all[0].answer, "PONG");
  EXPECT_TRUE(host->run_until([&] { return connection->writes_at_once(); }));
}

TEST_F(DirectTest, WhatAClosedSocketDidNotTakeIsSentToTheNextServer) {
  start_server();
  open_and_idle();
  ASSERT_TRUE(ts_server_kill(server.get()));
  submit("push", {"RPUSH", "list", "x"});  // the loop has not noticed yet
  ASSERT_TRUE(ts_server_restart(server.get()));
  ASSERT_TRUE(ended(1));
  EXPECT_TRUE(outcomes.all[0].error.ok()) << outcomes.all[0].error.message();
  EXPECT_EQ(outcomes.all[0].answer, "1");
  EXPECT_EQ(host->losses.size(), 1U);
  connection.reset();
}

TEST_F(DirectTest, CloseTellsThatItWasSent) {
  open_and_idle();
  submit("get", {"GET", "x"});
  submit("ping", {"PING"});
  connection->close(kClosed);
  ASSERT_EQ(outcomes.all.size(), 2U);
  EXPECT_EQ(outcomes.all[0].name, "get");
  EXPECT_NE(outcomes.all[0].error.flags() & PULSE_ERROR_OUTCOME_UNKNOWN, 0U);
  EXPECT_NE(outcomes.all[1].error.flags() & PULSE_ERROR_NEVER_SENT, 0U);
}

// Scripts that wait while the server is away and comes back without them keep their place.
TEST_F(ConnectionTest, ScriptsThatWaitedKeepTheirPlaceOnAServerThatForgotThem) {
  start_server();
  static constexpr Script push{"push", "return redis.call('RPUSH', 'list', ARGV[1])",
                               "20a21e0e0a84f0c3fb6bbe9e7a0fc4a1b0e1f2c3"};
  ts_reply* loaded = ts_command(server.get(), "SCRIPT", "LOAD", push.text.data(), nullptr);
  static const std::string sha = ts_reply_text(loaded);
  ts_reply_free(loaded);
  static const Script script{"push", push.text, sha};
  open_and_wait();
  auto call = [&](const std::string& name) {
    auto c = command(outcomes, name, {name});
    c->run_script(script);
    ASSERT_TRUE(connection->submit(c).ok());
  };
  call("0");
  ASSERT_TRUE(ended(1));  // the script is known on this connection
  ASSERT_TRUE(ts_server_kill(server.get()));
  // Submitted before the loss is noticed, and behind it.
  call("1");
  call("2");
  ASSERT_TRUE(host->run_until([&] { return !host->losses.empty(); }));
  ASSERT_TRUE(ts_server_restart(server.get()));
  host->on_ready = [&](Connection&) {
    call("3");
    call("4");
  };
  ASSERT_TRUE(ended(5));
  ts_reply* list = ts_command(server.get(), "LRANGE", "list", "0", "-1", nullptr);
  std::string order;
  for (size_t i = 0; i < ts_reply_size(list); i++) order += ts_reply_text(ts_reply_at(list, i));
  ts_reply_free(list);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end())) << order;
  EXPECT_GE(order.size(), 2U);
  connection.reset();
}

}  // namespace
}  // namespace pulseengine
