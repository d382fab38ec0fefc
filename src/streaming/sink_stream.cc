#include "streaming/sink_stream.h"

namespace pulseengine {

void SinkCall::settle(size_t index, const Error& error) {
  results_[index].status = error.code();
  results_[index].flags = error.flags();
  if (error.ok()) {
    done_++;
  } else if (first_error_.ok()) {
    first_error_ = error;
  }
  if (--left_ > 0 || operation_->completed()) return;
  operation_->count = done_;
  operation_->results = std::move(results_);
  operation_->complete(first_error_);
}

namespace {

String lease_name(const Engine& engine, std::string_view sink, std::string_view stream,
                  std::string_view what) {
  String name = engine.key("sink:", sink, ":");
  name.append(stream);
  name.append(what);
  return name;
}

}  // namespace

SinkStream::SinkStream(Ref<Stream> of, uint32_t number, std::string_view sink)
    : stream(std::move(of)),
      index(number),
      consumers_map(stream->engine().key("map:stream:", stream->name(), ":sinks:content")),
      consumers_channel(stream->engine().key("map:stream:", stream->name(), ":sinks:updates")),
      lease_key(lease_name(stream->engine(), sink, stream->name(), ":sweep")),
      marker_key(lease_name(stream->engine(), sink, stream->name(), ":restart")) {}

}  // namespace pulseengine
