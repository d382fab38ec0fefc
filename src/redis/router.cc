#include "redis/router.h"

#include <algorithm>

namespace pulseengine {
namespace {

class SingleRouter final : public Router {
 public:
  SingleRouter(ConnectionHost& host, ConnectionListener* listener, int connections) : host_(host) {
    for (int i = 0; i < connections; i++) {
      connections_.push_back(make_owned<Connection>(host, Connection::Role::command, listener));
    }
  }

  void open() override {
    for (auto& c : connections_) c->open();
  }
  void close(const Error& error) override {
    for (auto& c : connections_) c->close(error);
  }
  size_t buffered() const override {
    size_t bytes = 0;
    for (auto& c : connections_) bytes += c->buffered();
    return bytes;
  }
  Connection& for_key(std::string_view key) override {
    if (connections_.size() == 1) return *connections_[0];
    return *connections_[std::hash<std::string_view>()(key) % connections_.size()];
  }
  Owned<Connection> new_read_connection(std::string_view, ConnectionListener* listener) override {
    return make_owned<Connection>(host_, Connection::Role::read, listener);
  }
  Owned<Connection> new_subscribe_connection(std::string_view,
                                             ConnectionListener* listener) override {
    return make_owned<Connection>(host_, Connection::Role::subscribe, listener);
  }
  bool all_ready() const override {
    return std::all_of(connections_.begin(), connections_.end(),
                       [](const Owned<Connection>& c) { return c->ready(); });
  }

 private:
  ConnectionHost& host_;
  Vector<Owned<Connection>> connections_;
};

}  // namespace

Owned<Router> make_single_router(ConnectionHost& host, ConnectionListener* listener,
                                 int connections) {
  return make_owned<SingleRouter>(host, listener, connections);
}

}  // namespace pulseengine
