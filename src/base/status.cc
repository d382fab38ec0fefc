// Names and sentences of the statuses.
#include "pulseengine/status.h"

#include <iterator>

#include "base/status.h"

namespace pulseengine {
namespace {

struct Entry {
  pulse_status status;
  const char* name;
  const char* message;
};

#define ENTRY(symbol, message) \
  { symbol, #symbol, message }
constexpr Entry kEntries[] = {
    ENTRY(PULSE_OK, "success"),
    ENTRY(PULSE_ERR_INVALID, "an argument or option is not allowed"),
    ENTRY(PULSE_ERR_STRUCT_SIZE, "a struct's size is too small"),
    ENTRY(PULSE_ERR_UNKNOWN_OPTION, "an option that this library does not know is set"),
    ENTRY(PULSE_ERR_NO_MEMORY, "memory is short"),
    ENTRY(PULSE_ERR_TOO_LARGE, "beyond a size limit"),
    ENTRY(PULSE_ERR_UNSUPPORTED, "not supported by this build or server"),
    ENTRY(PULSE_ERR_NOT_FOUND, "no such thing"),
    ENTRY(PULSE_ERR_AGAIN, "a limit is reached, try again later"),
    ENTRY(PULSE_ERR_BUSY, "another thread is at it"),
    ENTRY(PULSE_ERR_REENTRANT, "blocking call inside an inline callback"),
    ENTRY(PULSE_ERR_FORKED, "called in a forked child"),
    ENTRY(PULSE_ERR_CLOSED, "closed"),
    ENTRY(PULSE_ERR_CANCELLED, "cancelled"),
    ENTRY(PULSE_ERR_TIMEOUT, "the deadline passed"),
    ENTRY(PULSE_ERR_INTERNAL, "a defect of the library"),
    ENTRY(PULSE_ERR_RESOLVE, "host name not resolved"),
    ENTRY(PULSE_ERR_CONNECT, "cannot connect"),
    ENTRY(PULSE_ERR_DISCONNECTED, "the connection was lost"),
    ENTRY(PULSE_ERR_TLS, "TLS failed"),
    ENTRY(PULSE_ERR_AUTH, "authentication failed"),
    ENTRY(PULSE_ERR_PROTOCOL, "the peer broke the protocol"),
    ENTRY(PULSE_ERR_NO_SERVER, "no server program found"),
    ENTRY(PULSE_ERR_SERVER, "the server answered with an error"),
    ENTRY(PULSE_ERR_LOADING, "the server is loading its data"),
    ENTRY(PULSE_ERR_SERVER_BUSY, "the server is busy with a script"),
    ENTRY(PULSE_ERR_READONLY, "the server is a read-only replica"),
    ENTRY(PULSE_ERR_MASTERDOWN, "the server's master is down"),
    ENTRY(PULSE_ERR_SERVER_OOM, "the server is out of memory"),
    ENTRY(PULSE_ERR_PERMISSION, "the server's ACL forbids it"),
    ENTRY(PULSE_ERR_MAX_CLIENTS, "the server has too many clients"),
    ENTRY(PULSE_ERR_WRONG_TYPE, "the key holds another type"),
    ENTRY(PULSE_ERR_NOT_OWNER, "the event is not this consumer's any more"),
    ENTRY(PULSE_ERR_REFUSED, "the handler refused the job"),
    ENTRY(PULSE_ERR_EXISTS, "the job exists already"),
    ENTRY(PULSE_ERR_QUEUE_FULL, "too many dispatches wait for their answer"),
    ENTRY(PULSE_ERR_NO_POOL, "no node of the pool routes jobs"),
    ENTRY(PULSE_ERR_SHUTTING_DOWN, "the pool is being shut down"),
};
#undef ENTRY

const Entry* find(pulse_status status) {
  for (const Entry& e : kEntries) {
    if (e.status == status) return &e;
  }
  return nullptr;
}

}  // namespace

const char* status_name(pulse_status status) {
  const Entry* e = find(status);
  return e != nullptr ? e->name : "PULSE_ERR_UNKNOWN";
}

const char* status_message(pulse_status status) {
  const Entry* e = find(status);
  return e != nullptr ? e->message : "unknown status";
}

bool status_at(size_t index, pulse_status* status) {
  if (index >= std::size(kEntries)) return false;
  *status = kEntries[index].status;
  return true;
}

}  // namespace pulseengine
