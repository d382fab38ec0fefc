/* A blocking hiredis connection to a place. */
#ifndef PULSEENGINE_BENCH_HIREDIS_CONNECTION_H
#define PULSEENGINE_BENCH_HIREDIS_CONNECTION_H

#include <hiredis/hiredis.h>

#include <memory>
#include <string>
#include <vector>

#include "place.h"

namespace bench {

struct HiredisReplyFree {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using HiredisReply = std::unique_ptr<redisReply, HiredisReplyFree>;

// The words of a command as hiredis wants them.
class Arguments {
 public:
  explicit Arguments(Words words) : words_(std::move(words)) {
    for (const std::string& word : words_) {
      texts_.push_back(word.data());
      sizes_.push_back(word.size());
    }
  }
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;
  int count() const { return static_cast<int>(texts_.size()); }
  const char** texts() const { return texts_.data(); }
  const size_t* sizes() const { return sizes_.data(); }

 private:
  Words words_;
  mutable std::vector<const char*> texts_;  // hiredis takes them without const
  std::vector<size_t> sizes_;
};

// Unavailable for TLS: the hiredis of Debian 12 has none.
class HiredisConnection {
 public:
  explicit HiredisConnection(const Place& place);
  // Failure when there is no reply, or an error.
  HiredisReply command(const Arguments& arguments);
  HiredisReply command(std::vector<const char*>& texts, const std::vector<size_t>& sizes);
  void append(const Arguments& arguments);
  HiredisReply reply();

 private:
  HiredisReply checked(void* reply);
  std::unique_ptr<redisContext, void (*)(redisContext*)> context_;
};

}  // namespace bench

#endif
