#include "streaming/stream.h"

#include <algorithm>

#include "base/outbox_buffer.h"
#include "redis/writer.h"

namespace pulseengine {
namespace {

// One add in so many carries MAXLEN, so that a stream exceeds its length by a tenth at most.
constexpr int64_t kMaxTrimEvery = 100;

template <class Format>
String formatted(Format format) {
  OutboxBuffer buffer;
  CommandWriter writer(buffer);
  format(writer);
  return String(buffer.tail(0));
}

}  // namespace

Error check_name(std::string_view what, std::string_view name) {
  if (name.empty() || name.size() > 512) {
    return Error::make(PULSE_ERR_INVALID, 0, "{} must be 1 to 512 bytes long, not {}", what,
                       name.size());
  }
  if (name.find_first_of(std::string_view(" \0*?[]", 6)) != std::string_view::npos) {
    return Error::make(PULSE_ERR_INVALID, 0, "{} must not contain space, NUL, '*', '?', '[' or ']'",
                       what);
  }
  return {};
}

Stream::Stream(Ref<Engine> engine, std::string_view name, const StreamOptions& options)
    : engine_(std::move(engine)),
      name_(name),
      options_(options),
      key_(engine_->key("pulse:stream:", name)),
      connection_(engine_->connection_for(key_)),
      trim_every_(
          static_cast<uint64_t>(std::clamp<int64_t>(options.max_len / 10, 1, kMaxTrimEvery))),
      add_prefix_(formatted([&](CommandWriter& w) {
        w.arg("XADD");
        w.arg(std::string_view(key_));
      })),
      plain_add_prefix_(formatted([&](CommandWriter& w) {
        w.begin(7);
        w.raw(add_prefix_);
        w.raw("$1\r\n*\r\n$1\r\nn\r\n");
      })) {}

}  // namespace pulseengine
