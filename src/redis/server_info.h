// What kind of server it is, and which commands it has.
#ifndef PULSE_REDIS_SERVER_INFO_H
#define PULSE_REDIS_SERVER_INFO_H

#include <string_view>

#include "base/alloc.h"

namespace pulseengine {

struct ServerInfo {
  bool known = false;
  bool valkey = false;
  int major = 5, minor = 0, patch = 0;  // of Redis, or the Redis version that Valkey answers for
  int own_major = 0, own_minor = 0, own_patch = 0;  // Valkey's own

  bool at_least(int wanted_major, int wanted_minor) const {
    return major != wanted_major ? major > wanted_major : minor >= wanted_minor;
  }
  bool has_xautoclaim() const { return known && at_least(6, 2); }
  bool has_nomkstream() const { return known && at_least(6, 2); }
  bool has_createconsumer() const { return known && at_least(6, 2); }
  bool has_entries_added() const { return known && at_least(7, 0); }
  // A group's entries-read includes what was trimmed before the group came to it.
  bool counts_trimmed_as_read() const { return known && at_least(7, 2); }

  // From the text of INFO server.
  static ServerInfo parse(std::string_view info);
  // "redis 7.0.15", "valkey 8.1.1"
  String text() const;
};

}  // namespace pulseengine

#endif
