// The library as a whole, statuses, bytes and event ids.
#include "pulseengine/library.h"

#include <charconv>
#include <cstring>
#include <iterator>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/status.h"
#include "capi/guard.h"
#include "pulseengine/event.h"
#include "streaming/message.h"

using namespace pulseengine;

namespace {

constexpr const char* kFeatures[] = {
#ifdef PULSE_HAVE_TLS
    "tls",
#endif
    "local", "streaming", "maps", "pools", "thread-driver", "manual-driver",
};

Bytes* core(pulse_bytes* bytes) { return reinterpret_cast<Bytes*>(bytes); }
const Bytes* core(const pulse_bytes* bytes) { return reinterpret_cast<const Bytes*>(bytes); }
pulse_bytes* handle(Ref<Bytes> bytes) { return reinterpret_cast<pulse_bytes*>(bytes.release()); }

}  // namespace

extern "C" {

const char* pulse_version_string(void) noexcept { return PULSE_VERSION_STRING; }

uint32_t pulse_version_number(void) noexcept {
  return PULSE_VERSION_MAJOR * 1000000 + PULSE_VERSION_MINOR * 1000 + PULSE_VERSION_PATCH;
}

pulse_status pulse_version_check(uint32_t major, uint32_t minor, uint32_t patch) noexcept {
  constexpr uint32_t kMajor = PULSE_VERSION_MAJOR, kMinor = PULSE_VERSION_MINOR,
                     kPatch = PULSE_VERSION_PATCH;
  if (major != kMajor) return PULSE_ERR_UNSUPPORTED;
  if (kMajor == 0 && minor != kMinor) return PULSE_ERR_UNSUPPORTED;
  bool newer = minor > kMinor || (minor == kMinor && patch > kPatch);
  return newer ? PULSE_ERR_UNSUPPORTED : PULSE_OK;
}

int32_t pulse_feature_has(const char* name) noexcept {
  if (name == nullptr) return 0;
  for (const char* feature : kFeatures) {
    if (std::strcmp(feature, name) == 0) return 1;
  }
  return 0;
}

const char* pulse_feature_list(size_t index) noexcept {
  return index < std::size(kFeatures) ? kFeatures[index] : nullptr;
}

pulse_status pulse_library_set_allocator(pulse_allocate_fn allocate, pulse_reallocate_fn reallocate,
                                         pulse_free_fn release, void* context) noexcept {
  int given = (allocate != nullptr) + (reallocate != nullptr) + (release != nullptr);
  if (given != 0 && given != 3) return PULSE_ERR_INVALID;
  return set_allocator_hooks({allocate, reallocate, release, context}) ? PULSE_OK : PULSE_ERR_BUSY;
}

void pulse_error_init(pulse_error* error) noexcept {
  if (error == nullptr) return;
  std::memset(error, 0, sizeof *error);
  error->size = sizeof *error;
}

const char* pulse_status_name(pulse_status status) noexcept { return status_name(status); }
const char* pulse_status_message(pulse_status status) noexcept { return status_message(status); }

pulse_status pulse_status_list(size_t index, pulse_status* status) noexcept {
  if (status == nullptr) return PULSE_ERR_INVALID;
  return status_at(index, status) ? PULSE_OK : PULSE_ERR_NOT_FOUND;
}

pulse_bytes* pulse_bytes_new(const void* data, size_t size) noexcept {
  if (data == nullptr && size > 0) return nullptr;
  try {
    return handle(Bytes::copy({static_cast<const char*>(data), size}));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

pulse_bytes* pulse_bytes_new_static(const void* data, size_t size, void* user_data,
                                    pulse_destroy_fn destroy) noexcept {
  try {
    if (data != nullptr || size == 0) {
      return handle(Bytes::borrow({static_cast<const char*>(data), size}, user_data, destroy));
    }
  } catch (const std::bad_alloc&) {
    // falls through: destroy runs on failure too
  }
  if (destroy != nullptr) destroy(user_data);
  return nullptr;
}

const void* pulse_bytes_data(const pulse_bytes* bytes) noexcept {
  return bytes == nullptr ? nullptr : core(bytes)->view().data();
}

size_t pulse_bytes_size(const pulse_bytes* bytes) noexcept {
  return bytes == nullptr ? 0 : core(bytes)->view().size();
}

pulse_bytes* pulse_bytes_ref(pulse_bytes* bytes) noexcept {
  if (bytes != nullptr) core(bytes)->ref();
  return bytes;
}

void pulse_bytes_unref(pulse_bytes* bytes) noexcept {
  if (bytes != nullptr) core(bytes)->unref();
}

pulse_status pulse_event_id_parse(const char* text, int64_t text_len, pulse_event_id* id) noexcept {
  if (text == nullptr || id == nullptr || text_len < -1) return PULSE_ERR_INVALID;
  std::string_view view(text, text_len < 0 ? std::strlen(text) : static_cast<size_t>(text_len));
  pulse_event_id parsed{0, 0};
  const char* end = view.data() + view.size();
  auto result = std::from_chars(view.data(), end, parsed.ms);
  if (result.ec != std::errc()) return PULSE_ERR_INVALID;
  if (result.ptr != end) {
    if (*result.ptr != '-') return PULSE_ERR_INVALID;
    result = std::from_chars(result.ptr + 1, end, parsed.seq);
    if (result.ec != std::errc() || result.ptr != end) return PULSE_ERR_INVALID;
  }
  *id = parsed;
  return PULSE_OK;
}

size_t pulse_event_id_format(const pulse_event_id* id, char* text, size_t capacity) noexcept {
  if (id == nullptr || text == nullptr) return 0;
  char buffer[2 * 20 + 1];
  auto end = std::to_chars(buffer, buffer + 20, id->ms);  // the digits of 2^64
  *end.ptr = '-';
  end = std::to_chars(end.ptr + 1, buffer + sizeof buffer, id->seq);
  auto length = static_cast<size_t>(end.ptr - buffer);
  if (capacity <= length) return 0;
  std::memcpy(text, buffer, length);
  text[length] = '\0';
  return length;
}

int32_t pulse_event_id_compare(const pulse_event_id* a, const pulse_event_id* b) noexcept {
  constexpr pulse_event_id kNone = {0, 0};
  if (a == nullptr) a = &kNone;
  if (b == nullptr) b = &kNone;
  return id_less(*a, *b) ? -1 : id_less(*b, *a) ? 1 : 0;
}

pulse_bytes* pulse_event_keep(const pulse_event* event) noexcept {
  if (event != nullptr && event->value != nullptr) return pulse_bytes_ref(event->value);
  if (event == nullptr || event->payload == nullptr || event->owner == nullptr) return nullptr;
  std::string_view payload(event->payload, event->payload_len);
  auto* slab = static_cast<Slab*>(event->owner);
  try {
    // A reference when it is at least a quarter of what it would pin.
    bool refer = payload.size() >= slab->used() / 4;
    return handle(refer ? Bytes::part_of(Ref<Slab>::share(slab), payload) : Bytes::copy(payload));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void pulse_target_init(pulse_target* target) noexcept {
  if (target != nullptr) *target = PULSE_TARGET_INIT;
}

}  // extern "C"
