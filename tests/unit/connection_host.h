// What a Connection needs around it, for tests: a loop driven by the test's thread, counters, and a
// log of what happened.
#ifndef PULSEENGINE_TESTS_UNIT_CONNECTION_HOST_H
#define PULSEENGINE_TESTS_UNIT_CONNECTION_HOST_H

#include <algorithm>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "redis/connection.h"
#include "support.h"

namespace pulseengine {

class TestHost final : public ConnectionHost, public ConnectionListener, LoopClient {
 public:
  explicit TestHost(const char* url) {
    if (!loop_.open(this).ok() || !parse_url(url, &config.url).ok()) abort();
    config.client_name = "test";
    config.connect_timeout_ms = TS_DEADLINE_MS;
    config.command_timeout_ms = TS_DEADLINE_MS;
    config.reconnect_min_ms = 1;
    config.reconnect_max_ms = 20;
  }
  ~TestHost() { loop_.close(); }

  // Runs the loop until the condition holds; false at the deadline.
  bool run_until(const std::function<bool()>& condition) {
    Timer tick;
    tick.open(
        loop_, [](void*) {}, nullptr);
    int64_t end = monotonic_ms() + TS_DEADLINE_MS;
    while (!condition()) {
      if (monotonic_ms() > end) return false;
      tick.start(20);
      loop_.run_wait();
    }
    return true;
  }
  // Some turns, without waiting.
  void turns(int count) {
    while (count-- > 0) loop_.run_nowait();
  }

  ServerConfig config;
  bool callers_write = false;
  int readies = 0;
  std::vector<Error> losses;
  std::vector<int64_t> loss_times_ms;
  ServerInfo server;
  std::function<void(Connection&)> on_ready;
  std::function<void(Connection&)> on_lost;

  Loop& loop() override { return loop_; }
  const ServerConfig& server_config() const override { return config; }
  ConnectionCounters& counters() override { return counters_; }
  TlsContext* tls_context() override { return nullptr; }
  bool callers_may_write() const override { return callers_write; }
  AdaptiveMutex& submit_mutex() override { return submit_mutex_; }
  void want_turn() noexcept override { loop_.wake(); }
  void log(pulse_log_level, std::string_view) noexcept override {}
  void server_seen(const ServerInfo& info) override { server = info; }
  void connection_opened(Connection& connection) override { connections_.push_back(&connection); }
  void connection_gone(Connection& connection) noexcept override {
    connections_.erase(std::remove(connections_.begin(), connections_.end(), &connection),
                       connections_.end());
  }
  void connection_ready(Connection& connection) override {
    readies++;
    if (on_ready) on_ready(connection);
  }
  void connection_lost(Connection& connection, const Error& error) override {
    losses.push_back(error);
    loss_times_ms.push_back(monotonic_ms());
    if (on_lost) on_lost(connection);
  }

 private:
  void turn() noexcept override {
    for (size_t i = 0; i < connections_.size(); i++) connections_[i]->flush();
  }

  Loop loop_;
  ConnectionCounters counters_;
  AdaptiveMutex submit_mutex_;
  std::vector<Connection*> connections_;
};

// How a command ended, in a form that tests can compare: its answer, or its error.
struct Outcome {
  std::string name;
  std::string answer;  // first node, as text; "" for nil
  Error error;
  bool sent = false;
};

// All outcomes of a test, in order.
struct Outcomes {
  std::vector<Outcome> all;
  const Outcome* find(const std::string& name) const {
    for (const Outcome& o : all) {
      if (o.name == name) return &o;
    }
    return nullptr;
  }
  size_t count(const std::string& name) const {
    return static_cast<size_t>(
        std::count_if(all.begin(), all.end(), [&](const Outcome& o) { return o.name == name; }));
  }
};

class TestCommand final : public Command {
 public:
  TestCommand(Outcomes& outcomes, std::string name, std::vector<std::string> words)
      : outcomes_(outcomes), name_(std::move(name)), words_(std::move(words)) {}
  TestCommand& repeat() {
    repeatable_ = true;
    return *this;
  }
  TestCommand& run_script(const Script& script) {
    script_ = &script;
    return *this;
  }
  TestCommand& until(int64_t deadline) {
    deadline_ms = deadline;
    return *this;
  }

  void format(CommandWriter& w) override {
    formatted++;
    if (script_ != nullptr) {
      w.begin_script(*script_, eval, 0, words_.size());
    } else {
      w.begin(words_.size());
    }
    for (const std::string& word : words_) w.arg(std::string_view(word));
  }
  void replied(Reply& reply) override {
    const ReplyNode& node = reply.next();
    end({name_,
         node.is_integer() ? std::to_string(node.integer) : std::string(node.text),
         {},
         sent_});
  }
  void failed(const Error& error) override { end({name_, "", error, sent_}); }
  bool repeatable() const override { return repeatable_; }
  bool abandoned() const override { return given_up; }
  const Script* script() const override { return script_; }
  void sent() override { sent_ = true; }

  bool given_up = false;
  int formatted = 0;

 private:
  void end(Outcome outcome) { outcomes_.all.push_back(std::move(outcome)); }

  Outcomes& outcomes_;
  const std::string name_;
  const std::vector<std::string> words_;
  bool repeatable_ = false;
  bool sent_ = false;
  const Script* script_ = nullptr;
};

inline Ref<TestCommand> command(Outcomes& outcomes, std::string name,
                                std::vector<std::string> words) {
  return make_ref<TestCommand>(outcomes, std::move(name), std::move(words));
}

}  // namespace pulseengine

#endif
