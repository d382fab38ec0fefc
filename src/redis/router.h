// The seam that decides which connection serves a key.  A single server today;
// Sentinel and Cluster are further implementations.
#ifndef PULSE_REDIS_ROUTER_H
#define PULSE_REDIS_ROUTER_H

#include "redis/connection.h"

namespace pulseengine {

class Router : public Allocated {
 public:
  virtual ~Router() = default;
  virtual void open() = 0;
  virtual void close(const Error& error) = 0;
  virtual size_t buffered() const = 0;  // bytes that wait to be sent; any thread
  // Any thread.  The same key gives the same connection as long as the router lives.
  virtual Connection& for_key(std::string_view key) = 0;
  // A connection that serves the key and may be blocked by reads.  The caller owns it.
  virtual Owned<Connection> new_read_connection(std::string_view key,
                                                ConnectionListener* listener) = 0;
  // The same for SUBSCRIBE to the channel.
  virtual Owned<Connection> new_subscribe_connection(std::string_view channel,
                                                     ConnectionListener* listener) = 0;
  virtual bool all_ready() const = 0;
};

// One server, `connections` command connections.
Owned<Router> make_single_router(ConnectionHost& host, ConnectionListener* listener,
                                 int connections);

}  // namespace pulseengine

#endif
