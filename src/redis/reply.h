// Replies of the server, without reply trees: the parser writes one flat list
// of nodes in the order of the bytes, and handlers walk it with a cursor.
#ifndef PULSE_REDIS_REPLY_H
#define PULSE_REDIS_REPLY_H

#include <string_view>

#include "base/alloc.h"
#include "base/error.h"
#include "base/slab.h"

namespace pulseengine {

enum class ReplyType : uint8_t { string, status, error, integer, nil, array };

struct ReplyNode {
  ReplyType type = ReplyType::nil;
  std::string_view text;  // string, status, error; lives as long as the reply's slab
  int64_t integer = 0;    // integer; number of elements of an array

  bool is_array() const { return type == ReplyType::array; }
  bool is_text() const { return type == ReplyType::string || type == ReplyType::status; }
  bool is_nil() const { return type == ReplyType::nil; }
  bool is_error() const { return type == ReplyType::error; }
  bool is_integer() const { return type == ReplyType::integer; }
  size_t elements() const { return is_array() ? static_cast<size_t>(integer) : 0; }
};

// One whole reply.  A handler that wants its texts to live on takes a reference
// to the slab.
class Reply {
 public:
  Reply(const ReplyNode* nodes, size_t count, const Ref<Slab>& slab)
      : next_(nodes), end_(nodes + count), slab_(slab) {}

  bool empty() const { return next_ == end_; }
  const ReplyNode& peek() const { return next_ < end_ ? *next_ : kNil; }
  // The next node; of an array its header, its elements follow.
  const ReplyNode& next() { return next_ < end_ ? *next_++ : kNil; }
  // Steps over the next node with all that it holds.
  void skip();
  const Ref<Slab>& slab() const { return slab_; }

 private:
  static const ReplyNode kNil;
  const ReplyNode* next_;
  const ReplyNode* end_;
  const Ref<Slab>& slab_;
};

// The status for an error reply, by its first word.
Error server_error(std::string_view text);

// For replies whose shape is not the expected one.
Error unexpected_reply(std::string_view command, const ReplyNode& node);

}  // namespace pulseengine

#endif
