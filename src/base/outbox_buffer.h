// Bytes on their way out: one growing text with referenced pieces in between.
#ifndef PULSE_BASE_OUTBOX_BUFFER_H
#define PULSE_BASE_OUTBOX_BUFFER_H

#include <sys/uio.h>

#include <string_view>

#include "base/bytes.h"

namespace pulseengine {

// Append at the back, consume from the front.  Pieces that are referenced
// stand at offsets of the text.  Not synchronised.
class OutboxBuffer {
 public:
  OutboxBuffer() = default;
  ~OutboxBuffer() { release(text_); }
  OutboxBuffer(const OutboxBuffer&) = delete;
  OutboxBuffer& operator=(const OutboxBuffer&) = delete;

  void append(std::string_view bytes) {
    if (bytes.empty()) return;  // its pointer may be null, and memcpy takes none
    if (bytes.size() > capacity_ - end_) grow(bytes.size());
    std::memcpy(text_ + end_, bytes.data(), bytes.size());
    end_ += bytes.size();
    size_ += bytes.size();
  }
  void append(const Ref<Bytes>& bytes);
  // Room for `most` bytes at the end, and how many of them were written.
  char* reserve(size_t most) {
    if (most > capacity_ - end_) grow(most);
    return text_ + end_;
  }
  void written(size_t bytes) {
    end_ += bytes;
    size_ += bytes;
  }

  // All bytes, referenced ones included, that are not consumed yet.
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  // Marks and undoes: for a command that turns out not to fit while it is written.
  void truncate(size_t size);

  // The bytes behind the first `from`, where no referenced piece is among them.
  std::string_view tail(size_t from) const { return {text_ + end_ - (size_ - from), size_ - from}; }

  // The first unconsumed bytes as at most `max` vectors; returns how many.
  int vectors(struct iovec* out, int max) const;
  void consume(size_t bytes);
  // Moves everything of `other` behind this; cheap when this is empty.
  void take(OutboxBuffer& other);
  // Moves the first `bytes` of this behind `to`.
  void move_front(size_t bytes, OutboxBuffer& to);
  void clear();

 private:
  struct Piece {
    size_t at;  // offset in the text before which it stands
    Ref<Bytes> bytes;
    size_t consumed;
  };
  void grow(size_t more);

  char* text_ = nullptr;
  size_t begin_ = 0;  // consumed text
  size_t end_ = 0;
  size_t capacity_ = 0;
  size_t size_ = 0;
  Deque<Piece> pieces_;
};

}  // namespace pulseengine

#endif
