// A real Redis or Valkey server.

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>

#include "resp.h"

struct ts_server {
  // Fixed after the start.
  std::string program;
  std::string directory;
  std::string socket;
  int port = 0;
  int tls_port = 0;
  std::vector<std::string> fixed_args;  // all but the ports
  std::string password;
  std::string url;
  std::string tcp_url;
  std::string tls_url;
  std::string certificate_paths[6];
  ts_certificates certificates = {};

  mutable std::mutex mutex;                   // guards what follows
  pid_t pid = 0;                              // 0 = it does not run
  std::unique_ptr<ts_connection> connection;  // made when needed
};

namespace {

using ts::Words;

// Bind conflicts: another process took the port between our look and the server's.
constexpr int kStartAttempts = 20;

std::string server_program() {
  const char* chosen = getenv("PULSE_TEST_SERVER");
  if (chosen != nullptr && chosen[0] != '\0') return ts::find_program(chosen);
  for (const char* name : {"redis-server", "valkey-server"}) {
    const std::string path = ts::find_program(name);
    if (!path.empty()) return path;
  }
  return {};
}

int free_port() {
  int port = 0;
  const int descriptor = ts::listen_tcp(&port);
  if (descriptor < 0) return 0;
  close(descriptor);
  return port;
}

std::string log_tail(const ts_server& server) {
  FILE* file = fopen((server.directory + "/server.log").c_str(), "re");
  if (file == nullptr) return {};
  std::string text;
  char buffer[4096];
  for (size_t got = 0; (got = fread(buffer, 1, sizeof buffer, file)) > 0;) text.append(buffer, got);
  fclose(file);
  return text.size() > 1500 ? text.substr(text.size() - 1500) : text;
}

std::unique_ptr<ts_connection> connect_to(const ts_server& server) {
  auto connection = std::make_unique<ts_connection>();
  connection->descriptor = ts::connect_unix(server.socket);
  if (connection->descriptor < 0) return nullptr;
  if (!server.password.empty() &&
      ts::execute(connection.get(), {"AUTH", server.password})->type != TS_STATUS) {
    return nullptr;
  }
  return connection;
}

bool launch(ts_server* server) {
  unlink((server->directory + "/server.log").c_str());
  // After a SIGKILL the socket is still there, and a connect to it would be refused only by luck.
  unlink(server->socket.c_str());
  ts::SpawnRequest request;
  request.argv = {server->program, "--port", std::to_string(server->port)};
  if (server->tls_port > 0) {
    request.argv.insert(request.argv.end(), {"--tls-port", std::to_string(server->tls_port)});
  }
  request.argv.insert(request.argv.end(), server->fixed_args.begin(), server->fixed_args.end());
  request.directory = server->directory;
  const int log = open((server->directory + "/server.log").c_str(),
                       O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  request.out = log;
  request.err = log;
  const pid_t pid = log >= 0 ? ts::spawn(request) : -1;
  if (log >= 0) close(log);
  server->pid = pid > 0 ? pid : 0;
  return pid > 0;
}

enum class Answer { kReady, kEnded, kLate };

// Until it answers PING and has loaded its data.
Answer wait_ready(ts_server* server) {
  struct State {
    ts_server* server;
    bool ended;
  } state{server, false};
  const auto ready = [](void* context) -> int {
    State* now = static_cast<State*>(context);
    int status = 0;
    if (ts::wait_child(now->server->pid, 0, &status)) {
      now->ended = true;
      return 1;
    }
    auto connection = connect_to(*now->server);
    if (connection == nullptr) return 0;
    const auto reply = ts::execute(connection.get(), {"PING"});
    if (reply->type == TS_NONE || reply->text.compare(0, 7, "LOADING") == 0) return 0;
    now->server->connection = std::move(connection);
    return 1;
  };
  if (ts_wait_until(ready, &state, TS_DEADLINE_MS) == 0) return Answer::kLate;
  return state.ended ? Answer::kEnded : Answer::kReady;
}

// With the lock held.
bool end(ts_server* server, int signal_number) {
  server->connection.reset();
  if (server->pid == 0) return false;
  kill(server->pid, signal_number);
  if (signal_number == SIGTERM) kill(server->pid, SIGCONT);
  int status = 0;
  if (!ts::wait_child(server->pid, TS_DEADLINE_MS, &status)) {
    ts::complain("server %d does not end on signal %d", server->pid, signal_number);
    kill(server->pid, SIGKILL);
    ts::wait_child(server->pid, TS_DEADLINE_MS, &status);
  }
  server->pid = 0;
  return true;
}

// With the lock held.
bool start(ts_server* server, bool new_ports) {
  const bool tcp = server->port > 0;
  const bool tls = server->tls_port > 0;
  for (int attempt = 0; attempt < kStartAttempts; ++attempt) {
    if (new_ports && tcp) server->port = free_port();
    if (new_ports && tls) server->tls_port = free_port();
    if (!launch(server)) return false;
    const Answer answer = wait_ready(server);
    if (answer == Answer::kReady) return true;
    if (answer == Answer::kLate) {
      end(server, SIGKILL);
    } else {
      server->pid = 0;  // wait_ready has reaped it
    }
    const std::string log = log_tail(*server);
    if (answer == Answer::kLate || log.find("Address already in use") == std::string::npos) {
      ts::complain("%s did not start:\n%s", server->program.c_str(), log.c_str());
      return false;
    }
    // The port is taken: another one, or the same once more when it must stay.
    ts_pause_ms(new_ports ? 0 : 50);
  }
  ts::complain("%s: no free port", server->program.c_str());
  return false;
}

bool prepare_tls(ts_server* server, const ts_server_options& options) {
  const std::string names =
      options.tls_names != nullptr ? options.tls_names : "DNS:localhost,IP:127.0.0.1";
  if (!ts::make_certificates(server->directory, names)) return false;
  const char* const files[6] = {"ca.pem",     "server.pem", "server.key",
                                "client.pem", "client.key", "other_ca.pem"};
  for (int i = 0; i < 6; ++i) server->certificate_paths[i] = server->directory + "/" + files[i];
  const std::string* paths = server->certificate_paths;
  server->certificates = {paths[0].c_str(), paths[1].c_str(), paths[2].c_str(),
                          paths[3].c_str(), paths[4].c_str(), paths[5].c_str()};
  auto& args = server->fixed_args;
  args.insert(args.end(),
              {"--tls-ca-cert-file", paths[0], "--tls-cert-file", paths[1], "--tls-key-file",
               paths[2], "--tls-auth-clients", options.tls_client_certificate != 0 ? "yes" : "no"});
  server->tls_port = 1;  // wanted: start() finds a free one
  return true;
}

void make_urls(ts_server* server, bool client_certificate) {
  const std::string user =
      server->password.empty() ? "" : ":" + ts::encode_url(server->password, false) + "@";
  server->url = "unix://" + ts::encode_url(server->socket, true);
  if (server->port > 0) {
    server->tcp_url = "redis://" + user + "127.0.0.1:" + std::to_string(server->port);
  }
  if (server->tls_port > 0) {
    const std::string* paths = server->certificate_paths;
    server->tls_url = "rediss://" + user + "localhost:" + std::to_string(server->tls_port) +
                      "?ca=" + ts::encode_url(paths[0], true);
    if (client_certificate) {
      server->tls_url += "&cert=" + ts::encode_url(paths[3], true);
      server->tls_url += "&key=" + ts::encode_url(paths[4], true);
    }
  }
}

std::unique_ptr<ts_reply> run(ts_server* server, const Words& words) {
  std::lock_guard<std::mutex> lock(server->mutex);
  if (server->connection == nullptr) server->connection = connect_to(*server);
  if (server->connection == nullptr) return std::make_unique<ts_reply>();
  auto reply = ts::execute(server->connection.get(), words);
  // The server may have been killed, or have closed the connection, since the last command.
  if (reply->type == TS_NONE) server->connection.reset();
  return reply;
}

// The connection may be stale (CLIENT KILL, CONFIG SET timeout): then once more on a new one.  The
// first attempt cannot have been executed when the connection had ended before it was sent.
std::unique_ptr<ts_reply> command(ts_server* server, const Words& words) {
  {
    std::lock_guard<std::mutex> lock(server->mutex);
    if (server->connection != nullptr) {
      char byte = 0;
      const ssize_t got = recv(server->connection->descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
      if (got == 0 || (got < 0 && errno != EAGAIN)) server->connection.reset();
    }
  }
  return run(server, words);
}

int64_t as_integer(const ts_reply& reply, const Words& words) {
  if (reply.type == TS_INTEGER) return reply.integer;
  if (reply.type == TS_ARRAY) return static_cast<int64_t>(reply.items.size());
  if (reply.type == TS_TEXT) {
    char* rest = nullptr;
    const int64_t number = strtoll(reply.text.c_str(), &rest, 10);
    if (rest != reply.text.c_str() && *rest == '\0') return number;
  }
  if (reply.type == TS_ERROR || reply.type == TS_NONE) {
    ts::complain("%s: %s", words.empty() ? "" : words[0].c_str(),
                 reply.type == TS_ERROR ? reply.text.c_str() : "no reply");
  }
  return INT64_MIN;
}

}  // namespace

extern "C" {

ts_server* ts_server_start(const ts_server_options* chosen) {
  const ts_server_options options = chosen != nullptr ? *chosen : ts_server_options{};
  auto server = std::make_unique<ts_server>();
  server->program = server_program();
  if (server->program.empty()) {
    ts::complain("no redis-server or valkey-server: install one, or set PULSE_TEST_SERVER");
    return nullptr;
  }
  server->directory = ts::make_directory();
  if (server->directory.empty()) return nullptr;
  server->socket = server->directory + "/redis.sock";
  server->port = options.tcp != 0 ? 1 : 0;  // 1 = wanted: start() finds a free one
  server->fixed_args = {"--bind",
                        "127.0.0.1",
                        "--unixsocket",
                        server->socket,
                        "--unixsocketperm",
                        "700",
                        "--dir",
                        server->directory,
                        "--save",
                        "",
                        "--daemonize",
                        "no",
                        "--appendonly",
                        options.append_only != 0 ? "yes" : "no",
                        "--appendfsync",
                        "always"};
  if (options.password != nullptr) {
    server->password = options.password;
    server->fixed_args.insert(server->fixed_args.end(), {"--requirepass", server->password});
  }
  for (const char* const* arg = options.args; arg != nullptr && *arg != nullptr; ++arg) {
    server->fixed_args.emplace_back(*arg);
  }
  bool started = options.tls == 0 || prepare_tls(server.get(), options);
  if (started) {
    std::lock_guard<std::mutex> lock(server->mutex);
    started = start(server.get(), true);
  }
  if (!started) {
    ts::remove_directory(server->directory);
    return nullptr;
  }
  make_urls(server.get(), options.tls_client_certificate != 0);
  return server.release();
}

void ts_server_free(ts_server* server) {
  if (server == nullptr) return;
  ts_server_kill(server);
  ts::remove_directory(server->directory);
  delete server;
}

int ts_server_stop(ts_server* server) {
  std::lock_guard<std::mutex> lock(server->mutex);
  return end(server, SIGTERM);
}

int ts_server_kill(ts_server* server) {
  std::lock_guard<std::mutex> lock(server->mutex);
  return end(server, SIGKILL);
}

int ts_server_restart(ts_server* server) {
  std::lock_guard<std::mutex> lock(server->mutex);
  end(server, SIGTERM);
  return start(server, false);
}

int ts_server_pause(ts_server* server) {
  std::lock_guard<std::mutex> lock(server->mutex);
  if (server->pid == 0 || kill(server->pid, SIGSTOP) != 0) return 0;
  // The signal works only when all threads have stopped.
  int status = 0;
  pid_t got = 0;
  do {
    got = waitpid(server->pid, &status, WUNTRACED);
  } while (got < 0 && errno == EINTR);
  return got == server->pid && WIFSTOPPED(status);
}

int ts_server_resume(ts_server* server) {
  std::lock_guard<std::mutex> lock(server->mutex);
  return server->pid != 0 && kill(server->pid, SIGCONT) == 0;
}

pid_t ts_server_pid(const ts_server* server) {
  std::lock_guard<std::mutex> lock(server->mutex);
  return server->pid;
}

const char* ts_server_directory(const ts_server* server) { return server->directory.c_str(); }
const char* ts_server_socket(const ts_server* server) { return server->socket.c_str(); }
int ts_server_port(const ts_server* server) { return server->port; }
int ts_server_tls_port(const ts_server* server) { return server->tls_port; }

const ts_certificates* ts_server_certificates(const ts_server* server) {
  return server->tls_port > 0 ? &server->certificates : nullptr;
}

const char* ts_server_url(const ts_server* server) { return server->url.c_str(); }

const char* ts_server_tcp_url(const ts_server* server) {
  return server->port > 0 ? server->tcp_url.c_str() : nullptr;
}

const char* ts_server_tls_url(const ts_server* server) {
  return server->tls_port > 0 ? server->tls_url.c_str() : nullptr;
}

int ts_server_version(ts_server* server) {
  const auto reply = command(server, {"INFO", "server"});
  const size_t at = reply->text.find("redis_version:");
  int major = 0;
  int minor = 0;
  int patch = 0;
  if (at == std::string::npos ||
      sscanf(reply->text.c_str() + at, "redis_version:%d.%d.%d", &major, &minor, &patch) != 3) {
    return 0;
  }
  return major * 10000 + minor * 100 + patch;
}

int ts_server_has_command(ts_server* server, const char* name) {
  const auto reply = command(server, {"COMMAND", "INFO", name});
  return reply->items.size() == 1 && reply->items[0]->type == TS_ARRAY;
}

int ts_tls_available(void) {
  static const int available = [] {
    const std::string program = server_program();
    if (program.empty() || ts::find_program("openssl").empty()) return 0;
    // Without certificates none gets as far as listening.  Those that cannot do TLS do not know the
    // option, or know it and look for the code in vain (Redis 8, Valkey 9).
    const char* const argv[] = {program.c_str(),       "--port", "0",
                                "--tls-port",          "1",      "--unixsocket",
                                "/nonexistent/socket", nullptr};
    char* output = nullptr;
    char* errors = nullptr;
    ts_run(argv, nullptr, nullptr, 0, &output, nullptr, &errors, TS_DEADLINE_MS);
    const std::string text =
        std::string(output != nullptr ? output : "") + (errors != nullptr ? errors : "");
    free(output);
    free(errors);
    const bool refused = text.find("Bad directive") != std::string::npos ||
                         text.find("Failed finding TLS support") != std::string::npos;
    return refused ? 0 : 1;
  }();
  return available;
}

ts_connection* ts_connection_open(ts_server* server) { return connect_to(*server).release(); }

ts_reply* ts_command(ts_server* server, ...) {
  va_list arguments;
  va_start(arguments, server);
  const Words words = ts::words_from(arguments);
  va_end(arguments);
  return command(server, words).release();
}

ts_reply* ts_commandf(ts_server* server, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const Words words = ts::words_from_format(format, arguments);
  va_end(arguments);
  return command(server, words).release();
}

ts_reply* ts_command_argv(ts_server* server, size_t count, const char* const* words,
                          const size_t* sizes) {
  return command(server, ts::words_from(count, words, sizes)).release();
}

int64_t ts_command_integer(ts_server* server, ...) {
  va_list arguments;
  va_start(arguments, server);
  const Words words = ts::words_from(arguments);
  va_end(arguments);
  return as_integer(*command(server, words), words);
}

}  // extern "C"
