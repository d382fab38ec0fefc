// Time, conditions, scale, and what the process holds.

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "internal.h"

namespace {

int count_entries(const char* path) {
  DIR* directory = opendir(path);
  if (directory == nullptr) return -1;
  int count = 0;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] != '.') ++count;
  }
  closedir(directory);
  return count;
}

}  // namespace

namespace ts {

void complain(const char* format, ...) {
  char text[2048];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  fprintf(stderr, "support: %s\n", text);
}

}  // namespace ts

extern "C" {

int64_t ts_now_ms(void) {
  using namespace std::chrono;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

int ts_wait_until(int (*condition)(void*), void* context, int64_t deadline_ms) {
  const int64_t end = ts_now_ms() + deadline_ms;
  int64_t pause = 1;
  while (condition(context) == 0) {
    if (ts_now_ms() >= end) return condition(context) != 0;
    ts_pause_ms(pause);
    pause = std::min<int64_t>(pause + 1, 20);
  }
  return 1;
}

void ts_pause_ms(int64_t milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

int64_t ts_scaled(int64_t count) {
  const char* text = getenv("PULSE_TEST_SCALE");
  const double scale = text != nullptr ? strtod(text, nullptr) : 1.0;
  if (scale <= 0) return std::max<int64_t>(count, 1);
  return std::max<int64_t>(static_cast<int64_t>(static_cast<double>(count) * scale), 1);
}

int ts_is_sanitized(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return 1;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  return 1;
#else
  return 0;
#endif
#else
  return 0;
#endif
}

int ts_descriptor_count(void) { return count_entries("/proc/self/fd") - 1; }

int ts_thread_count(void) { return count_entries("/proc/self/task"); }

int64_t ts_resident_bytes(void) {
  FILE* file = fopen("/proc/self/statm", "re");
  if (file == nullptr) return -1;
  long long total = 0;
  long long resident = 0;
  const int fields = fscanf(file, "%lld %lld", &total, &resident);
  fclose(file);
  return fields == 2 ? resident * sysconf(_SC_PAGESIZE) : -1;
}

}  // extern "C"
