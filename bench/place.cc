#include "place.h"

#include <cstdlib>
#include <cstring>

#include "cpu.h"
#include "failure.h"

namespace bench {
namespace {

struct ReplyFree {
  void operator()(ts_reply* reply) const { ts_reply_free(reply); }
};
using Reply = std::unique_ptr<ts_reply, ReplyFree>;

Reply send(ts_server* server, const Words& words) {
  std::vector<const char*> texts;
  std::vector<size_t> sizes;
  for (const std::string& word : words) {
    texts.push_back(word.data());
    sizes.push_back(word.size());
  }
  Reply reply(ts_command_argv(server, words.size(), texts.data(), sizes.data()));
  require(ts_reply_get_type(reply.get()) != TS_NONE, words[0] + ": the server does not answer");
  require(ts_reply_is_error(reply.get()) == 0, words[0] + ": " + ts_reply_text(reply.get()));
  return reply;
}

ts_server* start(Transport transport, bool append_only) {
  ts_server_options options{};
  options.tcp = transport == Transport::tcp ? 1 : 0;
  options.tls = transport == Transport::tls ? 1 : 0;
  if (transport == Transport::tls && ts_tls_available() == 0) {
    throw Unavailable("TLS: this server has none, or there is no openssl program");
  }
  const char* const log[] = {"--appendonly", "yes", "--appendfsync", "everysec", nullptr};
  if (append_only) options.args = log;
  ts_server* server = ts_server_start(&options);
  require(server != nullptr, "no server could be started");
  return server;
}

char unescape(const std::string& line, size_t* at) {
  const char c = line[*at];
  if (c != '\\') return c;
  switch (line[++*at]) {
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'x': {
      const std::string digits = line.substr(*at + 1, 2);
      *at += 2;
      return static_cast<char>(strtol(digits.c_str(), nullptr, 16));
    }
    default:
      return line[*at];
  }
}

// What MONITOR prints: time [database address] "word" "word" ...
Words parse_monitored(const std::string& line) {
  Words words;
  for (size_t at = line.find(']'); at < line.size(); ++at) {
    if (line[at] != '"') continue;
    std::string word;
    for (++at; at < line.size() && line[at] != '"'; ++at) word += unescape(line, &at);
    words.push_back(word);
  }
  return words;
}

}  // namespace

const char* transport_name(Transport transport) {
  switch (transport) {
    case Transport::unix_socket:
      return "unix";
    case Transport::tcp:
      return "tcp";
    case Transport::tls:
      break;
  }
  return "tls";
}

Place::Place(Transport transport, bool append_only)
    : transport_(transport), server_(start(transport, append_only), ts_server_free) {}

const char* Place::url() const {
  if (transport_ == Transport::tcp) return ts_server_tcp_url(server_.get());
  if (transport_ == Transport::tls) return ts_server_tls_url(server_.get());
  return ts_server_url(server_.get());
}

pid_t Place::pid() const { return ts_server_pid(server_.get()); }

double Place::cpu() const { return process_cpu_seconds(pid()); }

std::string Place::server_name() const {
  const Reply reply = send(server_.get(), {"INFO", "server"});
  const std::string text = ts_reply_text(reply.get());
  for (const auto& [field, name] :
       {std::pair("valkey_version:", "Valkey "), std::pair("redis_version:", "Redis ")}) {
    const size_t at = text.find(field);
    if (at == std::string::npos) continue;
    const size_t from = at + strlen(field);
    return name + text.substr(from, text.find('\r', from) - from);
  }
  return "an unknown server";
}

Words Place::benchmark_options() const {
  if (transport_ == Transport::unix_socket) return {"-s", ts_server_socket(server_.get())};
  if (transport_ == Transport::tcp) {
    return {"-h", "127.0.0.1", "-p", std::to_string(ts_server_port(server_.get()))};
  }
  const ts_certificates* certificates = ts_server_certificates(server_.get());
  return {
      "-h",       "localhost",     "-p", std::to_string(ts_server_tls_port(server_.get())), "--tls",
      "--cacert", certificates->ca};
}

void Place::flush() { send(server_.get(), {"FLUSHALL"}); }

int64_t Place::integer(const Words& words) {
  return ts_reply_integer(send(server_.get(), words).get());
}

std::map<std::string, int64_t> Place::calls() {
  const Reply reply = send(server_.get(), {"INFO", "commandstats"});
  const std::string text = ts_reply_text(reply.get());
  std::map<std::string, int64_t> calls;
  const std::string start = "cmdstat_", number = ":calls=";
  for (size_t at = 0; (at = text.find(start, at)) != std::string::npos;) {
    at += start.size();
    const size_t end = text.find(number, at);
    calls[text.substr(at, end - at)] = atoll(text.c_str() + end + number.size());
  }
  return calls;
}

int Place::clients_in(const std::string& name) { return clients_with(" cmd=" + name + " "); }

int Place::clients_called(const std::string& name) { return clients_with(" name=" + name + " "); }

int Place::clients_with(const std::string& wanted) {
  const Reply reply = send(server_.get(), {"CLIENT", "LIST"});
  const std::string text = ts_reply_text(reply.get());
  int count = 0;
  for (size_t at = 0; (at = text.find(wanted, at)) != std::string::npos; ++at) ++count;
  return count;
}

Words Place::capture(const std::string& name, const std::function<void()>& action) {
  const std::unique_ptr<ts_connection, void (*)(ts_connection*)> monitor(
      ts_connection_open(server_.get()), ts_connection_free);
  require(monitor != nullptr, "no connection for MONITOR");
  const Reply started(ts_connection_command(monitor.get(), "MONITOR", nullptr));
  action();
  for (;;) {
    const Reply line(ts_connection_read(monitor.get(), 5000));
    require(ts_reply_get_type(line.get()) != TS_NONE, "MONITOR tells of no " + name);
    const std::string text = ts_reply_text(line.get());
    if (text.find(" lua]") != std::string::npos) continue;
    Words words = parse_monitored(text);
    if (!words.empty() && words[0] == name) return words;
  }
}

}  // namespace bench
