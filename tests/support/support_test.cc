// The harness itself: a test that relies on a fault must be able to rely on the fault.

#include "support.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>

namespace {

struct Deleter {
  void operator()(ts_server* server) const { ts_server_free(server); }
  void operator()(ts_reply* reply) const { ts_reply_free(reply); }
  void operator()(ts_proxy* proxy) const { ts_proxy_free(proxy); }
  void operator()(ts_fault* fault) const { ts_fault_free(fault); }
  void operator()(ts_process* process) const { ts_process_free(process); }
  void operator()(ts_connection* connection) const { ts_connection_free(connection); }
  void operator()(char* text) const { free(text); }
};
using Server = std::unique_ptr<ts_server, Deleter>;
using Reply = std::unique_ptr<ts_reply, Deleter>;
using Proxy = std::unique_ptr<ts_proxy, Deleter>;
using Fault = std::unique_ptr<ts_fault, Deleter>;
using Process = std::unique_ptr<ts_process, Deleter>;
using Connection = std::unique_ptr<ts_connection, Deleter>;
using Text = std::unique_ptr<char, Deleter>;

bool wait_for(const std::function<bool()>& condition) {
  return ts_wait_until(
             [](void* context) -> int {
               return (*static_cast<const std::function<bool()>*>(context))() ? 1 : 0;
             },
             const_cast<std::function<bool()>*>(&condition), TS_DEADLINE_MS) != 0;
}

Server start(const ts_server_options& options = {}) {
  Server server(ts_server_start(&options));
  EXPECT_NE(server, nullptr);
  return server;
}

Connection connect(const char* url) {
  Connection connection(ts_connection_open_url(url));
  EXPECT_NE(connection, nullptr);
  return connection;
}

Reply say(const Connection& connection, const char* word, const char* argument = nullptr) {
  return Reply(ts_connection_command(connection.get(), word, argument, nullptr));
}

ts_reply_type type_of(const Reply& reply) { return ts_reply_get_type(reply.get()); }

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

TEST(Wait, AnswersConditionAndDeadline) {
  int calls = 0;
  const auto third = [](void* context) -> int { return ++*static_cast<int*>(context) == 3; };
  EXPECT_EQ(ts_wait_until(third, &calls, TS_DEADLINE_MS), 1);
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(ts_wait_until([](void*) -> int { return 0; }, nullptr, 20), 0);
}

TEST(Wait, ScaleComesFromTheEnvironment) {
  const char* before = getenv("PULSE_TEST_SCALE");
  const std::string kept = before != nullptr ? before : "";
  setenv("PULSE_TEST_SCALE", "0.2", 1);
  EXPECT_EQ(ts_scaled(1000), 200);
  EXPECT_EQ(ts_scaled(1), 1);
  unsetenv("PULSE_TEST_SCALE");
  EXPECT_EQ(ts_scaled(1000), 1000);
  if (before != nullptr) setenv("PULSE_TEST_SCALE", kept.c_str(), 1);
}

TEST(Counts, SeeDescriptorsThreadsAndMemory) {
  const int descriptors = ts_descriptor_count();
  const int extra = open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(extra, 0);
  EXPECT_EQ(ts_descriptor_count(), descriptors + 1);
  close(extra);
  EXPECT_EQ(ts_descriptor_count(), descriptors);
  Fault fault(ts_fault_start());
  const int threads = ts_thread_count();
  fault.reset();
  EXPECT_TRUE(wait_for([&] { return ts_thread_count() == threads - 1; }));
  EXPECT_GT(ts_resident_bytes(), 100000);
}

TEST(Process, RunCollectsBothOutputsAndTheStatus) {
  const char* const argv[] = {"sh", "-c", "cat; echo wrong >&2; exit 3", nullptr};
  // More than a pipe holds, so that feeding and reading must go side by side.
  const std::string input(300000, 'x');
  char* output = nullptr;
  size_t size = 0;
  char* errors = nullptr;
  EXPECT_EQ(
      ts_run(argv, nullptr, input.data(), input.size(), &output, &size, &errors, TS_DEADLINE_MS),
      3);
  EXPECT_EQ(std::string(output, size), input);
  EXPECT_STREQ(errors, "wrong\n");
  free(output);
  free(errors);
}

TEST(Process, EnvironmentIsAddedAndTakenAway) {
  setenv("SUPPORT_TEST_GONE", "1", 1);
  const char* const argv[] = {"sh", "-c", "echo \"$SUPPORT_TEST_NEW-$SUPPORT_TEST_GONE\"", nullptr};
  const char* const environment[] = {"SUPPORT_TEST_NEW=there", "SUPPORT_TEST_GONE", nullptr};
  char* output = nullptr;
  EXPECT_EQ(ts_run(argv, environment, nullptr, 0, &output, nullptr, nullptr, TS_DEADLINE_MS), 0);
  EXPECT_STREQ(output, "there-\n");
  free(output);
  unsetenv("SUPPORT_TEST_GONE");
}

TEST(Process, LinesComeAsTheyAreWritten) {
  const char* const argv[] = {"sh", "-c", "echo one; read word; echo \"two $word\"; printf three",
                              nullptr};
  Process process(ts_process_start(argv, nullptr, TS_PIPE_IN | TS_PIPE_OUT));
  ASSERT_NE(process, nullptr);
  EXPECT_STREQ(Text(ts_process_read_line(process.get(), TS_DEADLINE_MS)).get(), "one");
  EXPECT_EQ(ts_process_wait(process.get(), 0), -1);
  EXPECT_EQ(ts_process_write(process.get(), "word\n", 5), 1);
  EXPECT_STREQ(Text(ts_process_read_line(process.get(), TS_DEADLINE_MS)).get(), "two word");
  EXPECT_STREQ(Text(ts_process_read_line(process.get(), TS_DEADLINE_MS)).get(), "three");
  EXPECT_EQ(ts_process_read_line(process.get(), TS_DEADLINE_MS), nullptr);
  EXPECT_EQ(ts_process_wait(process.get(), TS_DEADLINE_MS), 0);
}

TEST(Process, SignalsEndIt) {
  const char* const argv[] = {"sleep", "600", nullptr};
  Process process(ts_process_start(argv, nullptr, 0));
  ASSERT_NE(process, nullptr);
  EXPECT_EQ(ts_process_signal(process.get(), SIGKILL), 1);
  EXPECT_EQ(ts_process_wait(process.get(), TS_DEADLINE_MS), 128 + SIGKILL);
  EXPECT_EQ(ts_process_signal(process.get(), SIGKILL), 0);
}

TEST(Process, OutlivesTheThreadThatStartedIt) {
  Process process;
  std::thread([&] {
    const char* const argv[] = {"cat", nullptr};
    process.reset(ts_process_start(argv, nullptr, TS_PIPE_IN | TS_PIPE_OUT));
  }).join();
  ASSERT_NE(process, nullptr);
  EXPECT_EQ(ts_process_write(process.get(), "alive\n", 6), 1);
  EXPECT_STREQ(Text(ts_process_read_line(process.get(), TS_DEADLINE_MS)).get(), "alive");
}

TEST(Process, UnknownProgramIsAnError) {
  const char* const argv[] = {"no-such-program-here", nullptr};
  EXPECT_EQ(ts_process_start(argv, nullptr, 0), nullptr);
}

// Helper role of this program: starts a server, prints its pid and directory, and waits.
int server_role() {
  ts_server* server = ts_server_start(nullptr);
  if (server == nullptr) return 1;
  printf("%d\n%s\n", ts_server_pid(server), ts_server_directory(server));
  fflush(stdout);
  for (;;) pause();
}

TEST(Server, DiesWithTheTestAndItsDirectoryGoesWithTheNextOne) {
  const char* const argv[] = {ts_self_path(), "--server-role", nullptr};
  Process process(ts_process_start(argv, nullptr, TS_PIPE_OUT));
  ASSERT_NE(process, nullptr);
  const Text pid_text(ts_process_read_line(process.get(), TS_DEADLINE_MS));
  const Text directory(ts_process_read_line(process.get(), TS_DEADLINE_MS));
  ASSERT_NE(directory, nullptr);
  const pid_t pid = atoi(pid_text.get());
  ASSERT_EQ(kill(pid, 0), 0);
  EXPECT_TRUE(exists(directory.get()));
  ts_process_signal(process.get(), SIGKILL);
  ts_process_wait(process.get(), TS_DEADLINE_MS);
  // It may stay a zombie of whoever adopts it.
  const std::string command_line = "/proc/" + std::to_string(pid) + "/cmdline";
  EXPECT_TRUE(wait_for([&] {
    const int file = open(command_line.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) return true;
    char byte = 0;
    const ssize_t got = read(file, &byte, 1);
    close(file);
    return got <= 0;
  }));
  // Another process, since each sweeps once.
  Process next(ts_process_start(argv, nullptr, TS_PIPE_OUT));
  ASSERT_NE(next, nullptr);
  Text(ts_process_read_line(next.get(), TS_DEADLINE_MS));
  EXPECT_FALSE(exists(directory.get()));
}

TEST(Server, RunsInAPrivateDirectoryThatIsRemoved) {
  Server server = start();
  const std::string directory = ts_server_directory(server.get());
  struct stat info;
  ASSERT_EQ(stat(directory.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700U);
  EXPECT_EQ(ts_server_url(server.get()), "unix://" + std::string(ts_server_socket(server.get())));
  EXPECT_EQ(ts_server_tcp_url(server.get()), nullptr);
  EXPECT_EQ(ts_server_tls_url(server.get()), nullptr);
  EXPECT_GE(ts_server_version(server.get()), 50000);
  EXPECT_EQ(ts_server_has_command(server.get(), "XADD"), 1);
  EXPECT_EQ(ts_server_has_command(server.get(), "NOSUCH"), 0);
  const pid_t pid = ts_server_pid(server.get());
  server.reset();
  EXPECT_FALSE(exists(directory));
  EXPECT_NE(kill(pid, 0), 0);
}

TEST(Server, TakesCommandsOfAllForms) {
  Server server = start();
  const char data[] = {'a', '\0', '\r', '\n', 'b'};
  Reply set(ts_commandf(server.get(), "SET key:%d %b", 7, data, sizeof data));
  EXPECT_TRUE(ts_reply_equals(set.get(), "OK"));
  Reply got(ts_command(server.get(), "GET", "key:7", nullptr));
  ASSERT_EQ(ts_reply_size(got.get()), sizeof data);
  EXPECT_EQ(memcmp(ts_reply_text(got.get()), data, sizeof data), 0);
  const char* const words[] = {"SET", data, "v"};
  const size_t sizes[] = {3, sizeof data, 1};
  EXPECT_TRUE(ts_reply_equals(Reply(ts_command_argv(server.get(), 3, words, sizes)).get(), "OK"));
  EXPECT_EQ(ts_command_integer(server.get(), "DBSIZE", nullptr), 2);
  EXPECT_EQ(type_of(Reply(ts_command(server.get(), "GET", "none", nullptr))), TS_NIL);
  EXPECT_EQ(type_of(Reply(ts_command(server.get(), "NOSUCH", nullptr))), TS_ERROR);
  EXPECT_EQ(ts_command_integer(server.get(), "NOSUCH", nullptr), INT64_MIN);
  Reply(ts_commandf(server.get(), "XADD s 1-1 name value"));
  Reply info(ts_command(server.get(), "XINFO", "STREAM", "s", nullptr));
  EXPECT_EQ(ts_reply_integer(ts_reply_field(info.get(), "length")), 1);
  Reply range(ts_command(server.get(), "XRANGE", "s", "-", "+", nullptr));
  const ts_reply* entry = ts_reply_at(range.get(), 0);
  EXPECT_TRUE(ts_reply_equals(ts_reply_at(entry, 0), "1-1"));
  EXPECT_TRUE(ts_reply_equals(ts_reply_at(ts_reply_at(entry, 1), 1), "value"));
  EXPECT_EQ(ts_reply_at(entry, 9), nullptr);
}

TEST(Server, KeepsAcknowledgedDataOverAKill) {
  ts_server_options options = {};
  options.append_only = 1;
  options.tcp = 1;
  Server server = start(options);
  const int port = ts_server_port(server.get());
  ASSERT_EQ(type_of(Reply(ts_command(server.get(), "SET", "k", "v", nullptr))), TS_STATUS);
  const pid_t pid = ts_server_pid(server.get());
  EXPECT_EQ(ts_server_kill(server.get()), 1);
  EXPECT_EQ(ts_server_kill(server.get()), 0);
  EXPECT_EQ(ts_server_pid(server.get()), 0);
  EXPECT_EQ(type_of(Reply(ts_command(server.get(), "PING", nullptr))), TS_NONE);
  ASSERT_EQ(ts_server_restart(server.get()), 1);
  EXPECT_NE(ts_server_pid(server.get()), pid);
  EXPECT_EQ(ts_server_port(server.get()), port);
  EXPECT_TRUE(ts_reply_equals(Reply(ts_command(server.get(), "GET", "k", nullptr)).get(), "v"));
}

TEST(Server, WithoutAppendOnlyItForgets) {
  Server server = start();
  Reply(ts_command(server.get(), "SET", "k", "v", nullptr));
  ASSERT_EQ(ts_server_restart(server.get()), 1);
  EXPECT_EQ(ts_command_integer(server.get(), "DBSIZE", nullptr), 0);
}

TEST(Server, PausedItAcceptsAndDoesNotAnswer) {
  Server server = start();
  ASSERT_EQ(ts_server_pause(server.get()), 1);
  Connection connection(ts_connection_open(server.get()));
  ASSERT_NE(connection, nullptr);
  EXPECT_EQ(ts_connection_send(connection.get(), "PING\r\n", 6), 1);
  EXPECT_EQ(type_of(Reply(ts_connection_read(connection.get(), 100))), TS_NONE);
  ASSERT_EQ(ts_server_resume(server.get()), 1);
  EXPECT_TRUE(
      ts_reply_equals(Reply(ts_connection_read(connection.get(), TS_DEADLINE_MS)).get(), "PONG"));
}

TEST(Server, PasswordAndArgumentsAreUsed) {
  const char* const args[] = {"--maxclients", "7", nullptr};
  ts_server_options options = {};
  options.password = "s3cret/@";
  options.tcp = 1;
  options.args = args;
  Server server = start(options);
  Reply limit(ts_command(server.get(), "CONFIG", "GET", "maxclients", nullptr));
  EXPECT_TRUE(ts_reply_equals(ts_reply_field(limit.get(), "maxclients"), "7"));
  EXPECT_EQ(std::string(ts_server_tcp_url(server.get())),
            "redis://:s3cret%2F%40@127.0.0.1:" + std::to_string(ts_server_port(server.get())));
  Connection stranger = connect(ts_server_url(server.get()));
  EXPECT_TRUE(ts_reply_is_error(say(stranger, "DBSIZE").get()));
}

TEST(Server, CommandsSurviveAKilledConnection) {
  Server server = start();
  ASSERT_EQ(type_of(Reply(ts_command(server.get(), "PING", nullptr))), TS_STATUS);
  Connection killer(ts_connection_open(server.get()));
  Reply killed(ts_connection_command(killer.get(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME",
                                     "yes", nullptr));
  EXPECT_EQ(ts_reply_integer(killed.get()), 1);
  EXPECT_EQ(type_of(Reply(ts_command(server.get(), "PING", nullptr))), TS_STATUS);
}

TEST(Server, TlsListensWithItsOwnCertificate) {
  if (ts_tls_available() == 0) GTEST_SKIP() << "a server without TLS, or no openssl program";
  ts_server_options options = {};
  options.tls = 1;
  options.tls_names = "DNS:elsewhere.test";
  Server server = start(options);
  const ts_certificates* files = ts_server_certificates(server.get());
  ASSERT_NE(files, nullptr);
  Proxy proxy(ts_proxy_start_tls(server.get()));
  ASSERT_NE(proxy, nullptr);
  EXPECT_EQ(strncmp(ts_proxy_url(proxy.get()), "rediss://localhost:", 19), 0);
  const auto verify = [&](const char* authority, const char* name) {
    const std::string address = "127.0.0.1:" + std::to_string(ts_server_tls_port(server.get()));
    const char* const argv[] = {"openssl",          "s_client", "-connect",
                                address.c_str(),    "-CAfile",  authority,
                                "-verify_hostname", name,       "-verify_return_error",
                                "-brief",           nullptr};
    return ts_run(argv, nullptr, "QUIT\r\n", 6, nullptr, nullptr, nullptr, TS_DEADLINE_MS);
  };
  EXPECT_EQ(verify(files->ca, "elsewhere.test"), 0);
  EXPECT_NE(verify(files->ca, "localhost"), 0);
  EXPECT_NE(verify(files->other_ca, "elsewhere.test"), 0);
}

class ProxyTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    ts_server_options options = {};
    options.tcp = 1;
    server_ = start(options);
    proxy_.reset(GetParam() ? ts_proxy_start_tcp(server_.get()) : ts_proxy_start(server_.get()));
    ASSERT_NE(proxy_, nullptr);
  }

  Connection open() { return connect(ts_proxy_url(proxy_.get())); }

  Server server_;
  Proxy proxy_;
};

TEST_P(ProxyTest, PassesAndCounts) {
  Connection connection = open();
  EXPECT_EQ(type_of(say(connection, "PING")), TS_STATUS);
  const std::string large(1000000, 'y');
  EXPECT_TRUE(ts_reply_equals(say(connection, "ECHO", large.c_str()).get(), large.c_str()));
  EXPECT_EQ(ts_proxy_accepted(proxy_.get()), 1U);
  EXPECT_EQ(ts_proxy_connections(proxy_.get()), 1);
  EXPECT_GT(ts_proxy_bytes(proxy_.get(), TS_TO_SERVER), large.size());
  EXPECT_GT(ts_proxy_bytes(proxy_.get(), TS_TO_CLIENT), large.size());
  connection.reset();
  EXPECT_TRUE(wait_for([&] { return ts_proxy_connections(proxy_.get()) == 0; }));
  EXPECT_EQ(ts_proxy_cuts(proxy_.get()), 0U);
}

TEST_P(ProxyTest, PassesTheEndOfTheServer) {
  Connection connection = open();
  EXPECT_EQ(type_of(say(connection, "PING")), TS_STATUS);
  ts_server_kill(server_.get());
  EXPECT_EQ(type_of(say(connection, "PING")), TS_NONE);
}

TEST_P(ProxyTest, CutIsSeenByTheClientAndTheServer) {
  Connection connection = open();
  EXPECT_EQ(type_of(say(connection, "PING")), TS_STATUS);
  ts_proxy_cut_all(proxy_.get());
  EXPECT_EQ(ts_proxy_connections(proxy_.get()), 0);
  EXPECT_EQ(ts_proxy_cuts(proxy_.get()), 1U);
  EXPECT_EQ(type_of(say(connection, "PING")), TS_NONE);
  EXPECT_TRUE(wait_for([&] {  // only the harness' own connection is left
    Reply list(ts_command(server_.get(), "CLIENT", "LIST", nullptr));
    const std::string text = ts_reply_text(list.get());
    return text.find('\n') == text.size() - 1;
  }));
  EXPECT_EQ(type_of(say(open(), "PING")), TS_STATUS);
}

TEST_P(ProxyTest, CutComesAfterTheByte) {
  Connection connection = open();
  EXPECT_EQ(type_of(say(connection, "PING")), TS_STATUS);
  const uint64_t before = ts_proxy_bytes(proxy_.get(), TS_TO_CLIENT);
  ts_proxy_cut_after(proxy_.get(), TS_TO_CLIENT, 10);
  EXPECT_EQ(type_of(say(connection, "ECHO", "0123456789abcdef")), TS_NONE);
  EXPECT_EQ(ts_proxy_bytes(proxy_.get(), TS_TO_CLIENT), before + 10);
  EXPECT_EQ(ts_proxy_cuts(proxy_.get()), 1U);
  EXPECT_EQ(type_of(say(open(), "ECHO", "0123456789abcdef")), TS_TEXT);
}

TEST_P(ProxyTest, CutTowardsTheServerLeavesAHalfCommand) {
  Connection connection = open();
  ts_proxy_cut_after(proxy_.get(), TS_TO_SERVER, 20);
  EXPECT_EQ(type_of(say(connection, "INCR", "counter-with-a-long-name")), TS_NONE);
  EXPECT_EQ(ts_command_integer(server_.get(), "EXISTS", "counter-with-a-long-name", nullptr), 0);
  EXPECT_EQ(ts_proxy_bytes(proxy_.get(), TS_TO_SERVER), 20U);
}

TEST_P(ProxyTest, StallHoldsAndResumeLetsGo) {
  Connection connection = open();
  EXPECT_EQ(type_of(say(connection, "PING")), TS_STATUS);
  ts_proxy_stall(proxy_.get(), TS_TO_CLIENT);
  EXPECT_EQ(ts_connection_send(connection.get(), "INCR n\r\n", 8), 1);
  EXPECT_TRUE(wait_for([&] { return ts_command_integer(server_.get(), "EXISTS", "n", nullptr); }));
  EXPECT_EQ(type_of(Reply(ts_connection_read(connection.get(), 50))), TS_NONE);
  ts_proxy_resume(proxy_.get(), TS_TO_CLIENT);
  EXPECT_EQ(ts_reply_integer(Reply(ts_connection_read(connection.get(), TS_DEADLINE_MS)).get()), 1);
  ts_proxy_stall(proxy_.get(), TS_BOTH);
  Connection other = open();  // connects, and then there is silence
  EXPECT_EQ(ts_connection_send(other.get(), "INCR n\r\n", 8), 1);
  EXPECT_EQ(type_of(Reply(ts_connection_read(other.get(), 50))), TS_NONE);
  EXPECT_EQ(ts_command_integer(server_.get(), "GET", "n", nullptr), 1);
  ts_proxy_resume(proxy_.get(), TS_BOTH);
  EXPECT_EQ(ts_reply_integer(Reply(ts_connection_read(other.get(), TS_DEADLINE_MS)).get()), 2);
}

TEST_P(ProxyTest, StallHidesTheEndOfAClient) {
  Connection connection = open();
  EXPECT_EQ(type_of(say(connection, "PING")), TS_STATUS);
  ts_proxy_stall(proxy_.get(), TS_BOTH);
  connection.reset();
  EXPECT_EQ(ts_proxy_connections(proxy_.get()), 1);
  ts_proxy_resume(proxy_.get(), TS_BOTH);
  EXPECT_TRUE(wait_for([&] { return ts_proxy_connections(proxy_.get()) == 0; }));
}

TEST_P(ProxyTest, DropThrowsAway) {
  Connection connection = open();
  ts_proxy_drop(proxy_.get(), TS_TO_SERVER, 1);
  EXPECT_EQ(ts_connection_send(connection.get(), "INCR dropped\r\n", 14), 1);
  EXPECT_EQ(type_of(Reply(ts_connection_read(connection.get(), 50))), TS_NONE);
  ts_proxy_drop(proxy_.get(), TS_TO_SERVER, 0);
  EXPECT_EQ(type_of(say(connection, "PING")), TS_STATUS);
  EXPECT_EQ(ts_command_integer(server_.get(), "EXISTS", "dropped", nullptr), 0);
}

TEST_P(ProxyTest, RefusesNewConnectionsAndKeepsOldOnes) {
  Connection connection = open();
  EXPECT_EQ(type_of(say(connection, "PING")), TS_STATUS);
  ts_proxy_refuse(proxy_.get(), 1);
  EXPECT_EQ(ts_connection_open_url(ts_proxy_url(proxy_.get())), nullptr);
  EXPECT_EQ(type_of(say(connection, "PING")), TS_STATUS);
  ts_proxy_refuse(proxy_.get(), 0);
  EXPECT_EQ(type_of(say(open(), "PING")), TS_STATUS);
}

INSTANTIATE_TEST_SUITE_P(Sockets, ProxyTest, testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Tcp" : "Unix"; });

class FaultTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    fault_.reset(GetParam() ? ts_fault_start_tcp() : ts_fault_start());
    ASSERT_NE(fault_, nullptr);
    connection_ = connect(ts_fault_url(fault_.get()));
  }

  Fault fault_;
  Connection connection_;
};

TEST_P(FaultTest, AnswersAsAnIdleServer) {
  EXPECT_TRUE(ts_reply_equals(say(connection_, "ping").get(), "PONG"));
  EXPECT_NE(strstr(ts_reply_text(say(connection_, "INFO").get()), "redis_version:7.0.15"), nullptr);
  Reply commands(
      ts_connection_command(connection_.get(), "COMMAND", "INFO", "xadd", "xread", nullptr));
  EXPECT_EQ(ts_reply_size(commands.get()), 2U);
  EXPECT_TRUE(ts_reply_is_error(say(connection_, "NOSUCH").get()));
  Reply added(ts_connection_command(connection_.get(), "XADD", "s", "*", "a", "b", nullptr));
  EXPECT_EQ(type_of(added), TS_TEXT);
  Reply nothing(ts_connection_command(connection_.get(), "XREAD", "BLOCK", "20", "STREAMS", "s",
                                      "$", nullptr));
  EXPECT_EQ(type_of(nothing), TS_NIL);
  EXPECT_EQ(ts_fault_connections(fault_.get()), 1);
  EXPECT_EQ(ts_fault_accepted(fault_.get()), 1U);
}

TEST_P(FaultTest, CountsAndRemembersCommands) {
  EXPECT_EQ(ts_fault_count(fault_.get(), "ECHO"), 0U);
  EXPECT_EQ(ts_fault_last(fault_.get(), "ECHO", 0, nullptr), nullptr);
  say(connection_, "echo", "word");
  EXPECT_EQ(ts_fault_wait_count(fault_.get(), "Echo", 1, TS_DEADLINE_MS), 1);
  EXPECT_EQ(ts_fault_count(fault_.get(), "*"), 1U);
  size_t size = 0;
  EXPECT_STREQ(Text(ts_fault_last(fault_.get(), "ECHO", 1, &size)).get(), "word");
  EXPECT_EQ(size, 4U);
  EXPECT_EQ(ts_fault_wait_count(fault_.get(), "ECHO", 2, 20), 0);
}

TEST_P(FaultTest, RulesGoByLongestNameAndEndAfterTheirTimes) {
  ts_fault_answer_text(fault_.get(), "*", "-LOADING any\r\n", 0);
  ts_fault_answer_text(fault_.get(), "CLIENT", "-LOADING client\r\n", 0);
  ts_fault_answer_text(fault_.get(), "client setname", "+set\r\n", 1);
  EXPECT_TRUE(ts_reply_equals(say(connection_, "PING").get(), "LOADING any"));
  EXPECT_TRUE(ts_reply_equals(say(connection_, "CLIENT", "SETNAME").get(), "set"));
  EXPECT_TRUE(ts_reply_equals(say(connection_, "CLIENT", "SETNAME").get(), "LOADING client"));
  ts_fault_clear(fault_.get(), "*");
  EXPECT_TRUE(ts_reply_equals(say(connection_, "PING").get(), "PONG"));
}

TEST_P(FaultTest, DelayKeepsTheOrder) {
  ts_fault_delay(fault_.get(), "ECHO", 30);
  const std::string two = "*2\r\n$4\r\nECHO\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\n";
  ASSERT_EQ(ts_connection_send(connection_.get(), two.data(), two.size()), 1);
  EXPECT_TRUE(
      ts_reply_equals(Reply(ts_connection_read(connection_.get(), TS_DEADLINE_MS)).get(), "a"));
  EXPECT_TRUE(
      ts_reply_equals(Reply(ts_connection_read(connection_.get(), TS_DEADLINE_MS)).get(), "PONG"));
}

TEST_P(FaultTest, SilenceNeverAnswers) {
  ts_fault_silence(fault_.get(), "PING", 1);
  ASSERT_EQ(ts_connection_send(connection_.get(), "*1\r\n$4\r\nPING\r\n", 14), 1);
  EXPECT_EQ(ts_fault_wait_count(fault_.get(), "PING", 1, TS_DEADLINE_MS), 1);
  EXPECT_EQ(type_of(Reply(ts_connection_read(connection_.get(), 50))), TS_NONE);
  EXPECT_EQ(type_of(say(connect(ts_fault_url(fault_.get())), "PING")), TS_STATUS);
}

TEST_P(FaultTest, CutsInTheMiddleOfAnAnswer) {
  const std::string answer = "$10\r\n0123456789\r\n";
  for (size_t bytes = 0; bytes <= answer.size(); ++bytes) {
    ts_fault_answer(fault_.get(), "GET", answer.data(), answer.size(), 1);
    ts_fault_cut(fault_.get(), "GET", bytes, 1);
    Connection connection = connect(ts_fault_url(fault_.get()));
    EXPECT_EQ(type_of(say(connection, "GET", "k")), bytes == answer.size() ? TS_TEXT : TS_NONE);
    EXPECT_EQ(type_of(say(connection, "PING")), TS_NONE);
  }
}

TEST_P(FaultTest, SplitAnswersArriveWhole) {
  ts_fault_split(fault_.get(), 1);
  EXPECT_TRUE(ts_reply_equals(say(connection_, "ECHO", "in pieces").get(), "in pieces"));
}

TEST_P(FaultTest, RepeatedAnswersAreMadeWhileTheyAreSent) {
  // 3 MB in pieces that do not divide the buffer.
  ts_fault_answer_repeated(fault_.get(), "GET", "$3000000\r\n", "abc", 3, 1000000, "\r\n", 1);
  Reply reply = say(connection_, "GET", "k");
  ASSERT_EQ(ts_reply_size(reply.get()), 3000000U);
  const std::string text(ts_reply_text(reply.get()), 3000000);
  bool right = true;
  for (size_t i = 0; i < text.size(); ++i) right = right && text[i] == "abc"[i % 3];
  EXPECT_TRUE(right);
  EXPECT_EQ(type_of(say(connection_, "PING")), TS_STATUS);
  // Without an end: it stops when the client has gone.
  ts_fault_answer_repeated(fault_.get(), "GET", "$1000000000000\r\n", "abc", 3, UINT64_MAX, "", 0);
  Connection other = connect(ts_fault_url(fault_.get()));
  ASSERT_EQ(ts_connection_send(other.get(), "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", 20), 1);
  EXPECT_EQ(ts_fault_wait_count(fault_.get(), "GET", 2, TS_DEADLINE_MS), 1);
  other.reset();
  EXPECT_TRUE(wait_for([&] { return ts_fault_connections(fault_.get()) == 1; }));
}

TEST_P(FaultTest, SendsWhatNobodyAskedFor) {
  ASSERT_EQ(type_of(say(connection_, "PING")), TS_STATUS);
  ts_fault_send(fault_.get(), "+surprise\r\n", 11);
  EXPECT_TRUE(ts_reply_equals(Reply(ts_connection_read(connection_.get(), TS_DEADLINE_MS)).get(),
                              "surprise"));
  ts_fault_cut_all(fault_.get());
  EXPECT_EQ(ts_fault_connections(fault_.get()), 0);
  EXPECT_EQ(type_of(Reply(ts_connection_read(connection_.get(), TS_DEADLINE_MS))), TS_NONE);
}

INSTANTIATE_TEST_SUITE_P(Sockets, FaultTest, testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Tcp" : "Unix"; });

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "--server-role") == 0) return server_role();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
