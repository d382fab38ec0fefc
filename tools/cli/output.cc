#include "output.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "failure.h"
#include "signals.h"
#include "text.h"

namespace cli {
namespace {

// Name to value; a name that comes more than once has a list of its values.
Json headers_json(const pulse_event& event) {
  Json headers = Json::object();
  for (size_t i = 0; i < event.header_count; ++i) {
    const pulse_header& header = event.headers[i];
    const std::string name = to_utf8({header.name, header.name_len});
    const std::string value = to_utf8({header.value, header.value_len});
    if (!headers.contains(name)) {
      headers[name] = value;
      continue;
    }
    Json& known = headers[name];
    if (!known.is_array()) known = Json::array({known});
    known.push_back(value);
  }
  return headers;
}

}  // namespace

std::string text_of(const char* data, size_t size) {
  return data ? std::string(data, size) : std::string();
}

void Output::line(const Json& json) {
  buffer_ += json.dump(-1, ' ', false, Json::error_handler_t::replace);
  buffer_ += '\n';
  ends_.push_back(buffer_.size());
}

size_t Output::flush() {
  size_t written = 0;
  while (written < buffer_.size() && !ended_) {
    const ssize_t n = ::write(STDOUT_FILENO, buffer_.data() + written, buffer_.size() - written);
    if (n >= 0) {
      written += static_cast<size_t>(n);
    } else if (errno == EINTR) {
      ended_ = Signals::stop_requested();
    } else if (errno == EPIPE) {
      ended_ = true;
    } else {
      throw Failure(kExitFailed,
                    std::string("cannot write to standard output: ") + strerror(errno));
    }
  }
  size_t lines = 0;
  while (lines < ends_.size() && ends_[lines] <= written) ++lines;
  buffer_.clear();
  ends_.clear();
  return lines;
}

void put_text(Json* json, const std::string& key, std::string_view bytes) {
  if (is_utf8(bytes)) {
    (*json)[key] = bytes;
  } else {
    (*json)[key] = to_utf8(bytes);
    (*json)[key + "_base64"] = to_base64(bytes);
  }
}

void put_bytes(Json* json, const std::string& key, std::string_view bytes) {
  if (is_utf8(bytes)) {
    (*json)[key] = bytes;
  } else {
    (*json)[key + "_base64"] = to_base64(bytes);
  }
}

Json id_or_null(const pulse_event_id& id) {
  if (id.ms == 0 && id.seq == 0) return nullptr;
  char text[PULSE_EVENT_ID_TEXT_BYTES];
  return std::string(text, pulse_event_id_format(&id, text, sizeof text));
}

Json event_json(const pulse_event& event) {
  Json json;
  json["id"] = id_or_null(event.id);
  put_text(&json, "stream", {event.stream, event.stream_len});
  put_text(&json, "name", {event.name, event.name_len});
  if (event.topic) {
    put_text(&json, "topic", {event.topic, event.topic_len});
  } else {
    json["topic"] = nullptr;
  }
  put_bytes(
      &json, "payload",
      event.payload ? std::string_view(event.payload, event.payload_len) : std::string_view());
  json["headers"] = headers_json(event);
  if (event.deliveries > 0) json["deliveries"] = event.deliveries;
  return json;
}

Json notice_json(const pulse_event& event) {
  Json json;
  const auto named = [&](const char* name) {
    json["notice"] = name;
    if (event.stream) put_text(&json, "stream", {event.stream, event.stream_len});
  };
  switch (event.kind) {
    case PULSE_EVENT_READY:
      json["notice"] = "ready";
      return json;
    case PULSE_EVENT_GAP:
      named("gap");
      json["after"] = id_or_null(event.id);
      json["before"] = id_or_null(event.id_end);
      json["count"] = event.count > 0 ? Json(event.count) : Json(nullptr);
      break;
    case PULSE_EVENT_RECREATED:
      named("recreated");
      json["after"] = id_or_null(event.id);
      break;
    case PULSE_EVENT_DISCONNECTED:
      named("disconnected");
      break;
    case PULSE_EVENT_RECONNECTED:
      named("reconnected");
      break;
    case PULSE_EVENT_MALFORMED:
      named("malformed");
      json["id"] = id_or_null(event.id);
      break;
    case PULSE_EVENT_LOST:
      named("lost");
      json["id"] = id_or_null(event.id);
      break;
    case PULSE_EVENT_OWNERSHIP_LOST:
      named("ownership_lost");
      break;
    case PULSE_EVENT_READ_ERROR:
      named("read_error");
      json["error"] = pulse_status_name(event.status);
      break;
    default:
      return nullptr;
  }
  if (event.message_len > 0) json["message"] = to_utf8({event.message, event.message_len});
  return json;
}

}  // namespace cli
