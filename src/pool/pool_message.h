// The payloads of a pool's events.
#ifndef PULSE_POOL_POOL_MESSAGE_H
#define PULSE_POOL_POOL_MESSAGE_H

#include <string_view>

#include "base/alloc.h"

namespace pulseengine {

struct JobMessage {
  std::string_view key, node, payload;
  int64_t created_ns = 0;
  bool requeued = false;
};

void append_job(String* out, const JobMessage& job);
void append_job_key(String* out, std::string_view key);
void append_notification(String* out, std::string_view key, std::string_view payload);
void append_envelope(String* out, std::string_view sender, std::string_view payload);
void append_ack(String* out, std::string_view event, std::string_view error);

// False for what is none.  The views point into `text`.
bool parse_job(std::string_view text, JobMessage* out);
bool parse_job_key(std::string_view text, std::string_view* key);
bool parse_notification(std::string_view text, std::string_view* key, std::string_view* payload);
bool parse_envelope(std::string_view text, std::string_view* sender, std::string_view* payload);
bool parse_ack(std::string_view text, std::string_view* event, std::string_view* error);

}  // namespace pulseengine

#endif
