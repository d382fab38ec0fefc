#include "scale.h"

#include <malloc.h>
#include <pulseengine/library.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "failure.h"

namespace bench {
namespace {

std::atomic<int64_t> bytes{0};

void add(void* memory) {
  bytes.fetch_add(static_cast<int64_t>(malloc_usable_size(memory)), std::memory_order_relaxed);
}
void subtract(void* memory) {
  bytes.fetch_sub(static_cast<int64_t>(malloc_usable_size(memory)), std::memory_order_relaxed);
}

void* allocate(void*, size_t size) {
  void* memory = malloc(size);
  add(memory);
  return memory;
}

void* reallocate(void*, void* memory, size_t size) {
  subtract(memory);
  void* moved = realloc(memory, size);
  add(moved != nullptr ? moved : memory);
  return moved;
}

void release(void*, void* memory) {
  subtract(memory);
  free(memory);
}

struct Entry {
  const char* name;
  const char* what;
  Series (*run)(Context& context);
};

constexpr Entry kSeries[] = {
    {"payload", "adds of 16 bytes to 1 MiB", scale_payload},
    {"streams", "adds over 1 to 100,000 streams of one engine", scale_streams},
    {"readers", "readers of 1 to 10,000 streams on one engine", scale_readers},
    {"sinks", "sinks on 1 to 10,000 streams on one engine", scale_sinks},
    {"map-size", "maps of 1,000 to 1,000,000 keys", scale_map},
};

}  // namespace

void count_memory() {
  require(pulse_library_set_allocator(allocate, reallocate, release, nullptr) == PULSE_OK,
          "pulse_library_set_allocator");
}

double counted_bytes() { return static_cast<double>(bytes.load(std::memory_order_relaxed)); }

std::vector<std::pair<std::string, std::string>> series_names() {
  std::vector<std::pair<std::string, std::string>> names;
  for (const Entry& entry : kSeries) names.emplace_back(entry.name, entry.what);
  return names;
}

std::vector<Series> run_scale(Context& context, const std::vector<std::string>& words,
                              void (*done)(const Series& series)) {
  count_memory();
  std::vector<Series> all;
  for (const Entry& entry : kSeries) {
    if (!words.empty() && std::find(words.begin(), words.end(), entry.name) == words.end()) {
      continue;
    }
    context.progress.begin(std::string("scale: ") + entry.name);
    all.push_back(entry.run(context));
    context.progress.end();
    done(all.back());
    context.place.flush();
  }
  return all;
}

}  // namespace bench
