// `local:` with the real helper and a real server: one server for everybody, however many
// start it and whatever was killed before.  $PULSE_LOCAL_HELPER names the helper.
#include "redis/local_server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "redis/local_paths.h"

namespace pulseengine {
namespace {

namespace fs = std::filesystem;

constexpr auto kDeadline = std::chrono::seconds(60);

bool until(const std::function<bool()>& condition) {
  auto end = std::chrono::steady_clock::now() + kDeadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// A connection; empty replies when it is broken.
class Peer {
 public:
  Peer() = default;
  explicit Peer(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return;
    memcpy(address.sun_path, path.data(), path.size());
    fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) close();
  }
  Peer(Peer&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Peer& operator=(Peer&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Peer() { close(); }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  bool open() const { return fd_ >= 0; }

  // The raw reply, complete for all that the tests ask.
  std::string command(const std::string& line) {
    std::string text = line + "\r\n", reply;
    if (fd_ < 0 || send(fd_, text.data(), text.size(), MSG_NOSIGNAL) < 0) return "";
    while (!complete(reply)) {
      char data[4096];
      ssize_t n = recv(fd_, data, sizeof data, 0);
      if (n <= 0) return "";
      reply.append(data, static_cast<size_t>(n));
    }
    return reply;
  }
  std::string info(const std::string& field) {
    std::string text = command("INFO");
    size_t at = text.find("\n" + field + ":");
    if (at == std::string::npos) return "";
    at += field.size() + 2;
    return text.substr(at, text.find('\r', at) - at);
  }
  // Replies to PING in the end, whether or not it is loading first.
  bool ready() {
    return until([this] {
             std::string reply = command("PING");
             return reply.empty() || reply == "+PONG\r\n";
           }) &&
           command("PING") == "+PONG\r\n";
  }

 private:
  static bool complete(const std::string& reply) {
    size_t line = reply.find("\r\n");
    if (line == std::string::npos) return false;
    if (reply[0] == '$') {
      long size = atol(reply.c_str() + 1);
      return size < 0 || reply.size() >= line + 4 + static_cast<size_t>(size);
    }
    if (reply[0] != '*') return true;
    // Arrays of strings: two lines each.
    long lines = 1 + 2 * atol(reply.c_str() + 1);
    for (size_t at = 0; (at = reply.find("\r\n", at)) != std::string::npos; at += 2) --lines;
    return lines <= 0;
  }
  int fd_ = -1;
};

// In place of a server program: one to which a client comes in the very moment when the
// supervisor wants to end it, twice.  Notes in its directory how it was ended.
int run_fake_server(const char* path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  std::vector<pollfd> fds{{socket(AF_UNIX, SOCK_STREAM, 0), POLLIN, 0}};
  if (bind(fds[0].fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return 1;
  if (listen(fds[0].fd, 64) != 0) return 1;
  int late_clients = 0;
  bool was_open = true;
  while (poll(fds.data(), fds.size(), -1) > 0) {
    for (size_t i = 1; i < fds.size(); ++i) {
      if (fds[i].revents == 0) continue;
      char data[512];
      ssize_t n = recv(fds[i].fd, data, sizeof data, 0);
      std::string command(data, n > 0 ? static_cast<size_t>(n) : 0), reply = "+PONG\r\n";
      bool open = fs::exists(path);
      if (was_open && !open) ++late_clients;
      was_open = open;
      int clients = !open && late_clients <= 2 ? 2 : 1;
      if (command == "INFO\r\n") {
        std::string text = "# Fake\r\nconnected_clients:" + std::to_string(clients) +
                           "\r\ntotal_connections_received:1\r\n";
        reply = "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
      } else if (command == "SHUTDOWN\r\n") {
        std::ofstream("end") << (open ? "open" : "closed") << " " << clients << " " << late_clients;
        return 0;
      }
      if (n <= 0) close(fds[i].fd);
      if (n <= 0) fds[i].fd = -1;  // passed over by poll
      if (n > 0) send(fds[i].fd, reply.data(), reply.size(), MSG_NOSIGNAL);
    }
    if (fds[0].revents != 0) fds.push_back({accept(fds[0].fd, nullptr, nullptr), POLLIN, 0});
  }
  return 1;
}

// A temporary, empty home; nothing of the real user's is touched.
class LocalServer : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(getenv("PULSE_LOCAL_HELPER"), nullptr);
    helper_ = getenv("PULSE_LOCAL_HELPER");
    char name[] = "/tmp/pulse-local-XXXXXX";
    root_ = mkdtemp(name);
    saved_path_ = getenv("PATH");
    run_ = root_ / "run";
    fs::create_directory(run_);
    chmod(run_.c_str(), 0700);
    setenv("XDG_RUNTIME_DIR", run_.c_str(), 1);
    setenv("XDG_STATE_HOME", (root_ / "state").c_str(), 1);
    unsetenv("PULSE_LOCAL_SERVER");
    set_idle_ms(60000);
    url_.scheme = Url::Scheme::local;
  }
  void TearDown() override {
    setenv("PULSE_LOCAL_HELPER", helper_.c_str(), 1);
    setenv("PATH", saved_path_.c_str(), 1);
    for (const Url& url : used_) stop(url);
    fs::remove_all(root_);
  }

  void set_idle_ms(int ms) { setenv("PULSE_LOCAL_IDLE_MS", std::to_string(ms).c_str(), 1); }

  Url url_of(const fs::path& directory) {
    Url url = url_;
    url.path = directory.c_str();
    return url;
  }

  std::string run_helper(const std::string& verb, const std::string& directory) {
    std::string command = helper_ + " " + verb;
    if (!directory.empty()) command += " --dir '" + directory + "'";
    FILE* pipe = popen(command.c_str(), "r");
    char data[2048];
    size_t n = fread(data, 1, sizeof data, pipe);
    EXPECT_EQ(pclose(pipe), 0) << command;
    return std::string(data, n);
  }
  void stop(const Url& url) {
    if (fs::exists(directory_of(url))) run_helper("stop", directory_of(url));
  }
  std::string directory_of(const Url& url) {
    return url.path.empty() ? (root_ / "state/pulseengine/local").string()
                            : std::string(url.path.c_str());
  }

  // Has the helper start the server and waits for what it says.
  Error spawn(const Url& url, std::string* socket) {
    int fd;
    pid_t helper;
    Error error = local_server_spawn(url, &fd, &helper);
    if (!error.ok()) return error;
    pollfd poll_fd{fd, POLLIN, 0};
    EXPECT_EQ(poll(&poll_fd, 1, 60000), 1);
    String path;
    error = local_server_result(fd, &path);
    *socket = path.c_str();
    close(fd);
    local_server_reap(helper);
    return error;
  }

  // As the library does it: connect, else have it started, and again.
  Peer connect(const Url& url) {
    used_.push_back(url);
    Peer peer;
    Error error;
    bool connected = until([&] {
      String path;
      error = local_socket_path(url, &path);
      if (!error.ok()) return true;
      peer = Peer(path.c_str());
      if (peer.open()) return true;
      std::string socket;
      error = spawn(url, &socket);
      if (!error.ok()) return true;
      peer = Peer(socket);
      return peer.open();
    });
    EXPECT_TRUE(connected);
    EXPECT_TRUE(error.ok()) << error.message();
    return peer;
  }
  Peer connect() { return connect(url_); }

  static pid_t server_pid(Peer* peer) { return atoi(peer->info("process_id").c_str()); }
  static pid_t parent_of(pid_t pid) {
    std::string stat = read_file("/proc/" + std::to_string(pid) + "/stat");
    size_t end = stat.rfind(") ");
    return end == std::string::npos ? -1 : atoi(stat.c_str() + end + 4);
  }
  // Zombies are gone: who reaps them is not the test's business.
  static bool gone(pid_t pid) {
    std::string stat = read_file("/proc/" + std::to_string(pid) + "/stat");
    size_t end = stat.rfind(") ");
    return end == std::string::npos || stat[end + 2] == 'Z';
  }
  static bool wait_gone(pid_t pid) {
    return until([pid] { return gone(pid); });
  }

  fs::path root_, run_;
  std::string helper_, saved_path_;
  Url url_;
  std::vector<Url> used_;
};

TEST_F(LocalServer, PrivateServer) {
  Peer peer = connect();
  ASSERT_TRUE(peer.ready());
  EXPECT_EQ(peer.command("CONFIG GET port"), "*2\r\n$4\r\nport\r\n$1\r\n0\r\n");
  EXPECT_EQ(peer.command("CONFIG GET appendonly"), "*2\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n");
  fs::path directory = root_ / "state/pulseengine/local";
  struct stat status;
  ASSERT_EQ(stat(directory.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  String path;
  ASSERT_TRUE(local_socket_path(url_, &path).ok());
  EXPECT_EQ(fs::path(path.c_str()).parent_path(), run_ / "pulseengine");
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_TRUE(S_ISSOCK(status.st_mode));
  EXPECT_EQ(status.st_mode & 0077, 0u);
  ASSERT_EQ(stat((run_ / "pulseengine").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  // In a session of its own.
  pid_t server = server_pid(&peer);
  EXPECT_NE(getsid(server), getsid(0));
  EXPECT_EQ(getsid(server), parent_of(server));
}

TEST_F(LocalServer, TwentyAtOnceStartOne) {
  used_.push_back(url_);
  int gate[2], results[2];
  ASSERT_EQ(pipe(gate), 0);
  ASSERT_EQ(pipe(results), 0);
  std::vector<pid_t> children;
  for (int i = 0; i < 20; ++i) {
    pid_t child = fork();
    if (child == 0) {
      close(gate[1]);
      char byte;
      if (read(gate[0], &byte, 1) != 0) _exit(1);  // until the gate is opened for all
      std::string socket;
      // Without looking first whether one runs: each of them has it started.
      if (!spawn(url_, &socket).ok()) _exit(2);
      Peer peer(socket);
      std::string id = peer.info("run_id") + "\n";
      _exit(write(results[1], id.data(), id.size()) == static_cast<ssize_t>(id.size()) ? 0 : 3);
    }
    children.push_back(child);
  }
  close(gate[0]);
  close(gate[1]);
  close(results[1]);
  for (pid_t child : children) {
    int status;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  std::string text;
  char data[4096];
  ssize_t n;
  while ((n = read(results[0], data, sizeof data)) > 0) text.append(data, static_cast<size_t>(n));
  close(results[0]);
  std::istringstream lines(text);
  std::multiset<std::string> ids;
  for (std::string line; std::getline(lines, line);) ids.insert(line);
  ASSERT_EQ(ids.size(), 20u);
  EXPECT_EQ(ids.begin()->size(), 40u);
  EXPECT_EQ(ids.count(*ids.begin()), 20u);
}

TEST_F(LocalServer, OutlivesItsStarter) {
  used_.push_back(url_);
  pid_t child = fork();
  if (child == 0) {
    setsid();
    Peer peer = connect();
    if (peer.command("SET who starter") != "+OK\r\n") _exit(1);
    kill(0, SIGKILL);
  }
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  String path;
  ASSERT_TRUE(local_socket_path(url_, &path).ok());
  Peer peer(path.c_str());
  EXPECT_EQ(peer.command("GET who"), "$7\r\nstarter\r\n");
}

TEST_F(LocalServer, HostKilledWhileItStarts) {
  used_.push_back(url_);
  for (int i = 0; i < 5; ++i) {
    pid_t child = fork();
    if (child == 0) {
      setsid();
      int fd;
      pid_t helper;
      if (!local_server_spawn(url_, &fd, &helper).ok()) _exit(1);
      kill(0, SIGKILL);  // the helper too, when it is not yet on its own
    }
    int status;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_TRUE(connect().ready());
    stop(url_);
  }
}

TEST_F(LocalServer, ServerKilled) {
  Peer peer = connect();
  ASSERT_TRUE(peer.ready());
  ASSERT_EQ(peer.command("SET k v"), "+OK\r\n");
  pid_t server = server_pid(&peer);
  kill(server, SIGKILL);
  Peer next = connect();
  // The old one's door may still stand for a moment.
  if (!next.ready()) next = connect();
  ASSERT_TRUE(next.ready());
  EXPECT_EQ(next.command("GET k"), "$1\r\nv\r\n");
  EXPECT_NE(server_pid(&next), server);
}

TEST_F(LocalServer, SupervisorKilled) {
  Peer peer = connect();
  ASSERT_TRUE(peer.ready());
  ASSERT_EQ(peer.command("SET k v"), "+OK\r\n");
  pid_t server = server_pid(&peer);
  kill(parent_of(server), SIGKILL);
  // It does not stay behind without anybody to end it.
  ASSERT_TRUE(wait_gone(server));
  Peer next = connect();
  ASSERT_TRUE(next.ready());
  EXPECT_EQ(next.command("GET k"), "$1\r\nv\r\n");
}

TEST_F(LocalServer, StaleSocketAndLink) {
  Peer peer = connect();
  ASSERT_TRUE(peer.ready());
  ASSERT_EQ(peer.command("SET k v"), "+OK\r\n");
  String path;
  ASSERT_TRUE(local_socket_path(url_, &path).ok());
  pid_t server = server_pid(&peer), supervisor = parent_of(server);
  kill(supervisor, SIGSTOP);
  kill(server, SIGKILL);
  kill(supervisor, SIGKILL);
  ASSERT_TRUE(wait_gone(supervisor));
  ASSERT_TRUE(wait_gone(server));
  ASSERT_TRUE(fs::exists(path.c_str())) << "the case under test";
  // Its last thread may still be on its way out.
  ASSERT_TRUE(until([&] { return !Peer(path.c_str()).open(); }));
  Peer next = connect();
  ASSERT_TRUE(next.ready());
  EXPECT_EQ(next.command("GET k"), "$1\r\nv\r\n");
}

TEST_F(LocalServer, SupervisorToldToEnd) {
  Peer peer = connect();
  ASSERT_TRUE(peer.ready());
  pid_t server = server_pid(&peer), supervisor = parent_of(server);
  kill(supervisor, SIGTERM);
  EXPECT_TRUE(wait_gone(supervisor));
  EXPECT_TRUE(gone(server));
}

TEST_F(LocalServer, LeavesWhenIdleButNotBefore) {
  set_idle_ms(100);
  Url busy = url_of(root_ / "busy"), idle = url_of(root_ / "idle");
  Peer client = connect(busy);
  ASSERT_TRUE(client.ready());
  pid_t busy_server = server_pid(&client);
  // The other one starts later and leaves.
  Peer other = connect(idle);
  ASSERT_TRUE(other.ready());
  ASSERT_EQ(other.command("SET k v"), "+OK\r\n");
  pid_t idle_server = server_pid(&other), supervisor = parent_of(idle_server);
  other.close();
  ASSERT_TRUE(wait_gone(supervisor));
  EXPECT_TRUE(gone(idle_server));
  EXPECT_FALSE(fs::exists(fs::symlink_status(root_ / "idle/socket")));
  EXPECT_EQ(server_pid(&client), busy_server);
  // And is started anew, with its data.
  Peer again = connect(idle);
  ASSERT_TRUE(again.ready());
  EXPECT_EQ(again.command("GET k"), "$1\r\nv\r\n");
  EXPECT_NE(server_pid(&again), idle_server);
  again.close();
  client.close();
  ASSERT_TRUE(wait_gone(busy_server));
  EXPECT_TRUE(until([this] { return fs::is_empty(run_ / "pulseengine"); }));
}

// The server leaves all the time, and never with a client it has spoken to.
TEST_F(LocalServer, LeavingAndComingAtTheSameTime) {
  set_idle_ms(1);
  std::set<std::string> servers;
  int done = 0, attempts = 0;
  while ((done < 40 || servers.size() < 3) && attempts < 2000) {
    ++attempts;
    Peer peer = connect();
    // It may have closed before it took the connection; then the next one is started.
    if (!peer.ready()) continue;
    std::string id = peer.info("run_id");
    ASSERT_FALSE(id.empty());
    servers.insert(id);
    ++done;
    ASSERT_EQ(peer.command("INCR n"), ":" + std::to_string(done) + "\r\n");
    // Every fourth time it is waited for.
    pid_t server = server_pid(&peer);
    peer.close();
    if (done % 4 == 0) {
      ASSERT_TRUE(wait_gone(server));
    }
  }
  EXPECT_GE(servers.size(), 3u);
}

// The door is closed before the server is told to end, and a client that came until then
// keeps it.
TEST_F(LocalServer, ClientInTheLastMoment) {
  set_idle_ms(20);
  fs::path directory = root_ / "data";
  setenv("PULSE_LOCAL_SERVER", fs::read_symlink("/proc/self/exe").c_str(), 1);
  std::string socket;
  Error error = spawn(url_of(directory), &socket);
  ASSERT_TRUE(error.ok()) << error.message();
  ASSERT_TRUE(until([&] { return fs::exists(directory / "end"); }));
  ASSERT_TRUE(until([&] { return !fs::is_empty(directory / "end"); }));
  EXPECT_EQ(read_file(directory / "end"), "closed 1 3");
  EXPECT_TRUE(until([this] { return fs::is_empty(run_ / "pulseengine"); }));
}

TEST_F(LocalServer, NoServerProgram) {
  setenv("PATH", root_.c_str(), 1);
  std::string socket;
  Error error = spawn(url_, &socket);
  EXPECT_EQ(error.code(), PULSE_ERR_NO_SERVER);
  EXPECT_NE(error.message().find("install the package redis-server or valkey-server"),
            std::string_view::npos)
      << error.message();
  setenv("PATH", "", 1);
  EXPECT_EQ(spawn(url_, &socket).code(), PULSE_ERR_NO_SERVER);
}

TEST_F(LocalServer, ChosenServerThatIsNoProgram) {
  setenv("PULSE_LOCAL_SERVER", (root_ / "absent").c_str(), 1);
  std::string socket;
  Error error = spawn(url_, &socket);
  EXPECT_EQ(error.code(), PULSE_ERR_NO_SERVER);
  EXPECT_NE(error.message().find("PULSE_LOCAL_SERVER names no program: " + root_.string()),
            std::string_view::npos)
      << error.message();
}

TEST_F(LocalServer, ServerThatEndsAtOnce) {
  fs::path program = root_ / "server";
  std::ofstream(program) << "#!/bin/sh\necho '1:M 01 Jan # the disk is full' >&2\nexit 1\n";
  chmod(program.c_str(), 0700);
  setenv("PULSE_LOCAL_SERVER", program.c_str(), 1);
  std::string socket;
  Error error = spawn(url_, &socket);
  EXPECT_EQ(error.code(), PULSE_ERR_CONNECT);
  EXPECT_EQ(error.flags(), PULSE_ERROR_RETRIABLE);
  EXPECT_NE(error.message().find("ended at once: the disk is full"), std::string_view::npos)
      << error.message();
  // It stands in nobody's way.
  unsetenv("PULSE_LOCAL_SERVER");
  EXPECT_TRUE(connect().ready());
}

TEST_F(LocalServer, NoHelper) {
  setenv("PULSE_LOCAL_HELPER", (root_ / "absent").c_str(), 1);
  std::string socket;
  Error error = spawn(url_, &socket);
  EXPECT_EQ(error.code(), PULSE_ERR_NO_SERVER);
  EXPECT_NE(error.message().find("absent"), std::string_view::npos) << error.message();
}

TEST_F(LocalServer, HelperThatSaysNothing) {
  setenv("PULSE_LOCAL_HELPER", "/bin/false", 1);
  std::string socket;
  EXPECT_EQ(spawn(url_, &socket).code(), PULSE_ERR_CONNECT);
}

TEST_F(LocalServer, ResultBeforeThereIsOne) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
  String socket;
  EXPECT_EQ(local_server_result(fds[0], &socket).code(), PULSE_ERR_AGAIN);
  close(fds[0]);
  close(fds[1]);
}

// Neither ignored and blocked signals nor descriptors of the host reach the server, and
// children that somebody else reaps do no harm.
TEST_F(LocalServer, NothingOfTheHostIsInherited) {
  used_.push_back(url_);
  fs::path file = root_ / "host-file";
  pid_t child = fork();
  if (child == 0) {
    signal(SIGCHLD, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, nullptr);
    if (open(file.c_str(), O_RDWR | O_CREAT, 0600) < 0) _exit(1);
    Peer peer = connect();
    _exit(peer.ready() ? 0 : 1);
  }
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  Peer peer = connect();
  pid_t server = server_pid(&peer);
  for (pid_t pid : {server, parent_of(server)}) {
    std::string process = "/proc/" + std::to_string(pid);
    for (const auto& entry : fs::directory_iterator(process + "/fd")) {
      EXPECT_NE(fs::read_symlink(entry), file);
    }
  }
  std::string text = read_file("/proc/" + std::to_string(server) + "/status");
  EXPECT_NE(text.find("SigBlk:\t0000000000000000"), std::string::npos) << text;
  kill(server, SIGTERM);
  EXPECT_TRUE(wait_gone(server));
}

// A host that runs without standard descriptors.
TEST_F(LocalServer, HostWithoutStandardDescriptors) {
  used_.push_back(url_);
  pid_t child = fork();
  if (child == 0) {
    for (int fd : {0, 1, 2}) close(fd);
    std::string socket;
    _exit(spawn(url_, &socket).ok() && Peer(socket).ready() ? 0 : 1);
  }
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(LocalServer, OneServerHoweverTheDirectoryIsSpelled) {
  fs::create_directory(root_ / "data");
  fs::create_directory_symlink(root_ / "data", root_ / "link");
  Peer first = connect(url_of(root_ / "data"));
  Peer second = connect(url_of(root_ / "link/../link/"));
  EXPECT_EQ(first.info("run_id"), second.info("run_id"));
  EXPECT_NE(first.info("run_id"), "");
}

TEST_F(LocalServer, DirectoryWithOddName) {
  fs::path odd = root_ / "a b'\"\\x\n\xc3\xa4#%" / std::string(200, 'd') / std::string(200, 'e');
  Peer peer = connect(url_of(odd));
  ASSERT_TRUE(peer.ready());
  EXPECT_EQ(peer.command("SET k v"), "+OK\r\n");
  used_.clear();  // its name is too odd for the shell
  pid_t server = server_pid(&peer);
  fs::remove_all(odd);
  // Nobody could find it any more.
  EXPECT_TRUE(until([&] { return gone(server); }));
}

// Another session of the same user: no or another runtime directory.
TEST_F(LocalServer, OtherRuntimeDirectorySameServer) {
  Peer first = connect();
  fs::create_directory(root_ / "run2");
  chmod((root_ / "run2").c_str(), 0700);
  setenv("XDG_RUNTIME_DIR", (root_ / "run2").c_str(), 1);
  Peer second = connect();
  EXPECT_EQ(first.info("run_id"), second.info("run_id"));
  // The helper finds it as well.
  std::string socket;
  ASSERT_TRUE(spawn(url_, &socket).ok());
  EXPECT_EQ(Peer(socket).info("run_id"), first.info("run_id"));
}

// A logout takes the runtime directory away.
TEST_F(LocalServer, SocketRemoved) {
  set_idle_ms(200);
  Peer first = connect();
  ASSERT_TRUE(first.ready());
  ASSERT_EQ(first.command("SET k v"), "+OK\r\n");
  fs::remove_all(run_ / "pulseengine");
  Peer second = connect();
  ASSERT_TRUE(second.ready());
  EXPECT_EQ(second.command("GET k"), "$1\r\nv\r\n");
  EXPECT_EQ(first.command("PING"), "") << "never two on the same data";
}

TEST_F(LocalServer, SocketPathsFit) {
  String path;
  ASSERT_TRUE(local_socket_path(url_of(root_ / std::string(250, 'x')), &path).ok());
  EXPECT_LE(path.size(), kMaxSocketPath);
  // A runtime directory that is too long, not absolute, missing, or another's is not used.
  fs::path longer = root_ / std::string(100, 'r');
  fs::create_directory(longer);
  chmod(longer.c_str(), 0700);
  std::string fallback = "/tmp/pulse-" + std::to_string(geteuid()) + "/";
  for (const std::string& runtime :
       {longer.string(), std::string("relative"), (root_ / "absent").string(), std::string()}) {
    setenv("XDG_RUNTIME_DIR", runtime.c_str(), 1);
    ASSERT_TRUE(local_socket_path(url_, &path).ok());
    EXPECT_EQ(path.compare(0, fallback.size(), fallback.c_str()), 0) << path;
    EXPECT_LE(path.size(), kMaxSocketPath);
  }
  if (geteuid() == 0) {
    fs::create_directory(root_ / "foreign");
    ASSERT_EQ(chown((root_ / "foreign").c_str(), 12345, 12345), 0);
    setenv("XDG_RUNTIME_DIR", (root_ / "foreign").c_str(), 1);
    ASSERT_TRUE(local_socket_path(url_, &path).ok());
    EXPECT_EQ(path.compare(0, fallback.size(), fallback.c_str()), 0) << path;
  }
}

TEST_F(LocalServer, HomeWithoutXdgStateHome) {
  unsetenv("XDG_STATE_HOME");
  std::string home = getenv("HOME") != nullptr ? getenv("HOME") : "/";
  setenv("HOME", root_.c_str(), 1);
  String path;
  EXPECT_TRUE(local_socket_path(url_, &path).ok());
  EXPECT_TRUE(fs::is_directory(root_ / ".local/state/pulseengine/local"));
  // A home that is none: what to do about it is told.
  std::ofstream(root_ / "file") << "x";
  setenv("HOME", (root_ / "file").c_str(), 1);
  Error error = local_socket_path(url_, &path);
  setenv("HOME", home.c_str(), 1);
  EXPECT_EQ(error.code(), PULSE_ERR_INVALID);
  EXPECT_NE(error.message().find("set XDG_STATE_HOME"), std::string_view::npos) << error.message();
}

TEST_F(LocalServer, RefusedDirectories) {
  auto refusal = [this](const fs::path& directory) {
    String path;
    Error error = local_socket_path(url_of(directory), &path);
    EXPECT_EQ(error.code(), PULSE_ERR_INVALID) << directory;
    return std::string(error.message());
  };
  std::ofstream(root_ / "file") << "x";
  EXPECT_NE(refusal(root_ / "file").find("not a directory"), std::string::npos);
  EXPECT_NE(refusal(root_ / "file/below").find("Not a directory"), std::string::npos);

  fs::create_directory(root_ / "open");
  chmod((root_ / "open").c_str(), 0755);
  std::ofstream(root_ / "open/other-things") << "x";
  EXPECT_NE(refusal(root_ / "open").find("open to other users"), std::string::npos);
  struct stat status;
  ASSERT_EQ(stat((root_ / "open").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0755u);

  // An empty one is made private.
  fs::remove(root_ / "open/other-things");
  String path;
  EXPECT_TRUE(local_socket_path(url_of(root_ / "open"), &path).ok());
  ASSERT_EQ(stat((root_ / "open").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);

  if (geteuid() == 0) {
    ASSERT_EQ(chown((root_ / "open").c_str(), 12345, 12345), 0);
    EXPECT_NE(refusal(root_ / "open").find("another user"), std::string::npos);
  }
}

TEST_F(LocalServer, SocketDirectoryAttacks) {
  LocalProblem problem;
  fs::path place = root_ / "pulse-0";
  fs::create_directory(root_ / "target");
  fs::create_directory_symlink(root_ / "target", place);
  EXPECT_FALSE(make_private_directory(place.c_str(), &problem));
  fs::remove(place);
  std::ofstream(place) << "x";
  EXPECT_FALSE(make_private_directory(place.c_str(), &problem));
  fs::remove(place);
  fs::create_directory(place);
  chmod(place.c_str(), 0777);
  EXPECT_TRUE(make_private_directory(place.c_str(), &problem));
  struct stat status;
  ASSERT_EQ(stat(place.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  if (geteuid() == 0) {
    ASSERT_EQ(chown(place.c_str(), 12345, 12345), 0);
    EXPECT_FALSE(make_private_directory(place.c_str(), &problem));
    EXPECT_NE(std::string(problem.text).find("another user"), std::string::npos);
  }
}

TEST_F(LocalServer, StatusAndStop) {
  std::string directory = (root_ / "state/pulseengine/local").string();
  // Nothing there: that is an answer, and nothing is created by asking.
  EXPECT_EQ(run_helper("status", ""), "{\"running\":false,\"directory\":\"" + directory + "\"}\n");
  EXPECT_EQ(run_helper("stop", ""), "{\"stopped\":false,\"directory\":\"" + directory + "\"}\n");
  EXPECT_FALSE(fs::exists(root_ / "state"));
  Peer peer = connect();
  ASSERT_TRUE(peer.ready());
  pid_t server = server_pid(&peer);
  std::string status = run_helper("status", "");
  EXPECT_EQ(status.find("{\"running\":true,\"directory\":\"" + directory + "\""), 0u) << status;
  EXPECT_NE(status.find("\"pid\":" + std::to_string(server) + ","), std::string::npos) << status;
  EXPECT_NE(status.find("\"clients\":1,"), std::string::npos) << status;
  EXPECT_EQ(run_helper("stop", directory),
            "{\"stopped\":true,\"directory\":\"" + directory + "\"}\n");
  EXPECT_TRUE(gone(server));
  EXPECT_EQ(run_helper("status", ""), "{\"running\":false,\"directory\":\"" + directory + "\"}\n");
}

}  // namespace
}  // namespace pulseengine

int main(int argc, char** argv) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (strcmp(argv[i], "--unixsocket") == 0) return pulseengine::run_fake_server(argv[i + 1]);
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
