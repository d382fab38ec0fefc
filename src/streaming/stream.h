// A stream that events are added to: its key, its options, its commands.
#ifndef PULSE_STREAMING_STREAM_H
#define PULSE_STREAMING_STREAM_H

#include "engine/engine.h"

namespace pulseengine {

struct StreamOptions {
  int64_t max_len = 1000;      // negative: unbounded
  int64_t ttl_ms = 0;          // 0: none
  int64_t sliding_ttl_ms = 0;  // 0: none
};

// "^[^ \0*?\[\]]{1,512}$"
Error check_name(std::string_view what, std::string_view name);

// Any thread.
class Stream : public RefCounted {
 public:
  Stream(Ref<Engine> engine, std::string_view name, const StreamOptions& options);

  Engine& engine() const { return *engine_; }
  const String& name() const { return name_; }
  const String& key() const { return key_; }  // with the engine's key prefix
  const StreamOptions& options() const { return options_; }
  int64_t any_ttl_ms() const {
    return options_.ttl_ms > 0 ? options_.ttl_ms : options_.sliding_ttl_ms;
  }
  bool sliding() const { return options_.sliding_ttl_ms > 0; }
  Connection& connection() const { return connection_; }

  // Whether the next add carries MAXLEN: one in so many does.  Under the connection's lock.
  bool trim_now() {
    if (adds_to_trim_ == 0) adds_to_trim_ = trim_every_;
    return adds_to_trim_-- == trim_every_;
  }

  // What never changes in an XADD of this stream, as RESP: "$4 XADD $.. key".
  const String& add_prefix() const { return add_prefix_; }
  // The same up to the name, for an event that has nothing but a name and a payload.
  const String& plain_add_prefix() const { return plain_add_prefix_; }

 private:
  const Ref<Engine> engine_;
  const String name_;
  const StreamOptions options_;
  const String key_;
  Connection& connection_;
  const uint64_t trim_every_;
  const String add_prefix_;
  const String plain_add_prefix_;
  uint64_t adds_to_trim_ = 0;
};

}  // namespace pulseengine

#endif
