// RESP to Reply: hiredis' reader with functions that write a flat list of nodes.
#ifndef PULSE_REDIS_REPLY_PARSER_H
#define PULSE_REDIS_REPLY_PARSER_H

#include "redis/reply.h"

struct redisReader;

namespace pulseengine {

// Feed bytes as they come, take replies as they are whole.  Nothing is allocated
// from a length that the peer declares; beyond the limit it is a protocol error.
class ReplyParser {
 public:
  explicit ReplyParser(int64_t max_reply_bytes) : max_reply_bytes_(max_reply_bytes) {}
  ~ReplyParser();
  ReplyParser(const ReplyParser&) = delete;
  ReplyParser& operator=(const ReplyParser&) = delete;

  void reset();                                // for a new connection
  Error feed(const char* bytes, size_t size);  // throws bad_alloc
  // True with a whole reply; false when more bytes are needed or *error is set.  The
  // reply is valid until the next call.
  bool next(Error* error, const ReplyNode** nodes, size_t* count);
  // What there is of a reply that is not whole yet, for those that do not want to keep all of it:
  // the rest follows as if it were another reply.  Valid until the next call; max_reply_bytes is
  // then the limit of what comes between two calls.
  void take_part(const ReplyNode** nodes, size_t* count);
  const Ref<Slab>& slab() const { return slab_; }

 private:
  struct Functions;
  ReplyNode* add(ReplyType type);

  const int64_t max_reply_bytes_;
  redisReader* reader_ = nullptr;
  Vector<ReplyNode> nodes_;
  Ref<Slab> slab_;
  bool out_of_memory_ = false;
  bool too_deep_ = false;
  bool taken_ = false;  // the reply in nodes_ was handed out
};

}  // namespace pulseengine

#endif
