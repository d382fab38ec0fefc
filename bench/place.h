/* A server of its own, and the way to it. */
#ifndef PULSEENGINE_BENCH_PLACE_H
#define PULSEENGINE_BENCH_PLACE_H

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "support.h"

namespace bench {

using Words = std::vector<std::string>;

enum class Transport { unix_socket, tcp, tls };
const char* transport_name(Transport transport);

class Place {
 public:
  // append_only: the server writes a log, synced once a second.
  Place(Transport transport, bool append_only);

  Transport transport() const { return transport_; }
  const char* url() const;
  pid_t pid() const;
  ts_server* server() const { return server_.get(); }
  std::string server_name() const;  // "redis 7.0.15"
  double cpu() const;               // of the server, seconds so far

  // How redis-benchmark gets here.
  Words benchmark_options() const;

  void flush();
  int64_t integer(const Words& words);
  // How often each command ran so far, those inside scripts included, by its name in small letters.
  std::map<std::string, int64_t> calls();

  // How many connections sent the command `name` last.
  int clients_in(const std::string& name);
  int clients_called(const std::string& name);

  // The first command called `name` that reaches the server during `action`, word by word.
  Words capture(const std::string& name, const std::function<void()>& action);

 private:
  int clients_with(const std::string& wanted);

  Transport transport_;
  std::unique_ptr<ts_server, void (*)(ts_server*)> server_;
};

}  // namespace bench

#endif
