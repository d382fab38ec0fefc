// How the parts of a sink send their commands and tell the host.  Included by sink*.cc only.
#ifndef PULSE_STREAMING_SINK_SEND_H
#define PULSE_STREAMING_SINK_SEND_H

#include "streaming/sink.h"

namespace pulseengine {

template <class Format, class Done>
void Sink::send(SinkStream& s, const Script* script, bool repeatable, Format format, Done done) {
  auto guarded = [this, done = std::move(done)](const Error& error, Reply* reply) mutable {
    try {
      done(error, reply);
    } catch (const std::bad_alloc&) {
      retry_soon();
    }
  };
  // An engine that is closed fails the command at once.
  (void)s.stream->connection().submit(make_call(this, script, repeatable, command_timeout_ms(),
                                                std::move(format), std::move(guarded)));
}

template <class Fill>
void Sink::notice(pulse_event_kind kind, const SinkStream* s, Fill fill) noexcept {
  if (!target_ || withdrawn()) return;
  try {
    std::string_view name;
    if (s != nullptr) name = s->stream->name();
    auto n = make_ref<Notice>(target_, kind, name);
    n->owner = Ref<Deliverer>::share(this);
    fill(*n);
    engine_->deliver(std::move(n));
  } catch (const std::bad_alloc&) {
    engine_->log(PULSE_LOG_ERROR, "no memory to tell of a sink's state");
  }
}

}  // namespace pulseengine

#endif
