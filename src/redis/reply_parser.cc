#include "redis/reply_parser.h"

#include <hiredis/hiredis.h>

namespace pulseengine {
namespace {

// hiredis keeps what the functions return as "the object"; ours only have to
// be told apart from failure.
char object;

// Texts of one byte, such as the names of fields: they need no copy.
struct SingleBytes {
  char bytes[256];
  constexpr SingleBytes() : bytes() {
    for (int i = 0; i < 256; i++) bytes[i] = static_cast<char>(i);
  }
};
constexpr SingleBytes kSingle;

// Far beyond what any reply has.  Newer hiredis versions have no bound of their own, and keep more
// for each level than the peer sends.
constexpr int kMaxDepth = 32;

#if HIREDIS_MAJOR >= 1
using ElementCount = size_t;
#else
using ElementCount = int;
#endif

}  // namespace

// Called by hiredis from C: nothing may be thrown through it.
struct ReplyParser::Functions {
  static ReplyParser* parser(const redisReadTask* task) {
    return static_cast<ReplyParser*>(task->privdata);
  }
  template <class F>
  static void* guarded(const redisReadTask* task, F f) noexcept {
    try {
      f(*parser(task));
      return &object;
    } catch (const std::bad_alloc&) {
      parser(task)->out_of_memory_ = true;
      return nullptr;
    }
  }

  static void* string(const redisReadTask* task, char* text, size_t size) {
    return guarded(task, [&](ReplyParser& p) {
      ReplyType type = task->type == REDIS_REPLY_ERROR    ? ReplyType::error
                       : task->type == REDIS_REPLY_STATUS ? ReplyType::status
                                                          : ReplyType::string;
      const std::string_view copy =
          size == 1 ? std::string_view(&kSingle.bytes[static_cast<unsigned char>(*text)], 1)
                    : p.slab_->add({text, size});
      p.add(type)->text = copy;
    });
  }
  static void* array(const redisReadTask* task, ElementCount elements) {
    if (parser(task)->reader_->ridx >= kMaxDepth) {  // how many it is in
      parser(task)->too_deep_ = true;
      return nullptr;
    }
    return guarded(task, [&](ReplyParser& p) {
      p.add(ReplyType::array)->integer = static_cast<int64_t>(elements);
    });
  }
  static void* integer(const redisReadTask* task, long long value) {
    return guarded(task, [&](ReplyParser& p) { p.add(ReplyType::integer)->integer = value; });
  }
  static void* nil(const redisReadTask* task) {
    return guarded(task, [](ReplyParser& p) { p.add(ReplyType::nil); });
  }
#if HIREDIS_MAJOR >= 1
  // RESP3 is not asked for; a peer that speaks it all the same is understood.
  static void* real(const redisReadTask* task, double, char* text, size_t size) {
    return guarded(task, [&](ReplyParser& p) {
      std::string_view copy = p.slab_->add({text, size});
      p.add(ReplyType::string)->text = copy;
    });
  }
  static void* boolean(const redisReadTask* task, int value) {
    return guarded(task, [&](ReplyParser& p) { p.add(ReplyType::integer)->integer = value; });
  }
#endif
  static void free(void*) {}

  static redisReplyObjectFunctions table() {
    redisReplyObjectFunctions f{};
    f.createString = string;
    f.createArray = array;
    f.createInteger = integer;
    f.createNil = nil;
#if HIREDIS_MAJOR >= 1
    f.createDouble = real;
    f.createBool = boolean;
#endif
    f.freeObject = free;
    return f;
  }
};

ReplyParser::~ReplyParser() {
  if (reader_ != nullptr) redisReaderFree(reader_);
}

void ReplyParser::reset() {
  static redisReplyObjectFunctions functions = Functions::table();
  if (reader_ != nullptr) redisReaderFree(reader_);
  reader_ = redisReaderCreateWithFunctions(&functions);
  if (reader_ == nullptr) throw std::bad_alloc();
  reader_->privdata = this;
#if HIREDIS_MAJOR >= 1
  reader_->maxelements = 0;  // ours is the limit in bytes
#endif
  nodes_.clear();
  slab_ = make_ref<Slab>();
  out_of_memory_ = false;
  too_deep_ = false;
  taken_ = false;
}

ReplyNode* ReplyParser::add(ReplyType type) {
  ReplyNode& node = nodes_.emplace_back();
  node.type = type;
  return &node;
}

Error ReplyParser::feed(const char* bytes, size_t size) {
  if (redisReaderFeed(reader_, bytes, size) != REDIS_OK) {
    if (reader_->err == REDIS_ERR_OOM) throw std::bad_alloc();
    return Error::make(PULSE_ERR_PROTOCOL, PULSE_ERROR_RETRIABLE, "not a reply: {}",
                       reader_->errstr);
  }
  return {};
}

bool ReplyParser::next(Error* error, const ReplyNode** nodes, size_t* count) {
  if (taken_) {
    taken_ = false;
    nodes_.clear();
    // A handler that kept the slab owns its content; then the next reply gets a new one.
    if (slab_->sole()) {
      slab_->clear();
    } else {
      slab_ = make_ref<Slab>();
    }
    constexpr size_t kKeepNodes = size_t{64} * 1024;
    if (nodes_.capacity() > kKeepNodes) Vector<ReplyNode>().swap(nodes_);
  }
  void* whole = nullptr;
  if (redisReaderGetReply(reader_, &whole) != REDIS_OK) {
    if (too_deep_) {
      *error = Error(PULSE_ERR_PROTOCOL, "not a reply: nested too deeply", PULSE_ERROR_RETRIABLE);
      return false;
    }
    if (out_of_memory_ || reader_->err == REDIS_ERR_OOM) throw std::bad_alloc();
    *error =
        Error::make(PULSE_ERR_PROTOCOL, PULSE_ERROR_RETRIABLE, "not a reply: {}", reader_->errstr);
    return false;
  }
  if (whole == nullptr) {
    auto size = static_cast<int64_t>(reader_->len - reader_->pos + slab_->used() +
                                     nodes_.size() * sizeof(ReplyNode));
    if (size > max_reply_bytes_) {
      *error = Error::make(PULSE_ERR_PROTOCOL, PULSE_ERROR_RETRIABLE,
                           "a reply is larger than max_reply_bytes ({})", max_reply_bytes_);
    }
    return false;
  }
  take_part(nodes, count);
  return true;
}

void ReplyParser::take_part(const ReplyNode** nodes, size_t* count) {
  taken_ = true;
  *nodes = nodes_.data();
  *count = nodes_.size();
}

}  // namespace pulseengine
