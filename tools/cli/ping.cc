// pulseengine ping

#include "failure.h"
#include "output.h"
#include "session.h"
#include "verbs.h"

namespace cli {
int ping(const GlobalOptions& global) {
  Session session(global);
  pulse_error error = PULSE_ERROR_INIT;
  uint64_t microseconds = 0;
  check(pulse_engine_ping_wait(session.engine(), &microseconds, session.timeout_ms(), &error),
        error, "ping");
  char server[128] = "";
  pulse_engine_get_server(session.engine(), server, sizeof server);
  Output out;
  out.line({{"microseconds", microseconds}, {"server", server}});
  out.flush();
  session.close();
  return kExitOk;
}

}  // namespace cli
