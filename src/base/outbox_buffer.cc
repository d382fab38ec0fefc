#include "base/outbox_buffer.h"

#include <algorithm>

namespace pulseengine {
namespace {
// A buffer that was large once is given back when it is empty.
constexpr size_t kKeep = 1 << 20;
}  // namespace

void OutboxBuffer::grow(size_t more) {
  size_t text = end_ - begin_;
  if (begin_ >= more && begin_ > text) {
    // Much of it was sent: move what is left to the front.
    std::memmove(text_, text_ + begin_, text);
  } else {
    size_t capacity = std::max({capacity_ * 2, text + more, size_t{4096}});
    char* larger = static_cast<char*>(allocate(capacity));
    if (text > 0) std::memcpy(larger, text_ + begin_, text);
    release(text_);
    text_ = larger;
    capacity_ = capacity;
  }
  for (Piece& piece : pieces_) piece.at -= begin_;
  end_ = text;
  begin_ = 0;
}

void OutboxBuffer::append(const Ref<Bytes>& bytes) {
  if (bytes->view().empty()) return;
  pieces_.push_back({end_, bytes, 0});
  size_ += bytes->view().size();
}

void OutboxBuffer::truncate(size_t size) {
  while (size_ > size) {
    size_t excess = size_ - size;
    size_t tail = pieces_.empty() ? end_ - begin_ : end_ - pieces_.back().at;
    if (tail > 0) {
      size_t cut = std::min(tail, excess);
      end_ -= cut;
      size_ -= cut;
    } else {
      // Whole pieces only: a mark is never inside of one.
      size_ -= pieces_.back().bytes->view().size() - pieces_.back().consumed;
      pieces_.pop_back();
    }
  }
}

int OutboxBuffer::vectors(struct iovec* out, int max) const {
  int n = 0;
  size_t at = begin_;
  for (const Piece& piece : pieces_) {
    if (n == max) return n;
    if (piece.at > at) {
      out[n++] = {text_ + at, piece.at - at};
      at = piece.at;
      if (n == max) return n;
    }
    std::string_view rest = piece.bytes->view().substr(piece.consumed);
    out[n++] = {const_cast<char*>(rest.data()), rest.size()};
  }
  if (n < max && end_ > at) out[n++] = {text_ + at, end_ - at};
  return n;
}

void OutboxBuffer::consume(size_t bytes) {
  size_ -= bytes;
  while (bytes > 0) {
    size_t text = (pieces_.empty() ? end_ : pieces_.front().at) - begin_;
    if (text > 0) {
      size_t n = std::min(text, bytes);
      begin_ += n;
      bytes -= n;
      continue;
    }
    Piece& piece = pieces_.front();
    size_t rest = piece.bytes->view().size() - piece.consumed;
    size_t n = std::min(rest, bytes);
    piece.consumed += n;
    bytes -= n;
    if (n == rest) pieces_.pop_front();
  }
  if (size_ == 0) {
    begin_ = end_ = 0;
    if (capacity_ > kKeep) clear();
  }
}

void OutboxBuffer::take(OutboxBuffer& other) {
  if (empty()) {
    std::swap(text_, other.text_);
    std::swap(begin_, other.begin_);
    std::swap(end_, other.end_);
    std::swap(capacity_, other.capacity_);
    std::swap(size_, other.size_);
    pieces_.swap(other.pieces_);
    return;
  }
  other.move_front(other.size(), *this);
}

void OutboxBuffer::move_front(size_t bytes, OutboxBuffer& to) {
  while (bytes > 0) {
    size_t text = (pieces_.empty() ? end_ : pieces_.front().at) - begin_;
    if (text > 0) {
      size_t n = std::min(text, bytes);
      to.append(std::string_view(text_ + begin_, n));
      consume(n);
      bytes -= n;
      continue;
    }
    Piece& piece = pieces_.front();
    size_t n = std::min(piece.bytes->view().size() - piece.consumed, bytes);
    if (n < piece.bytes->view().size()) {
      to.append(piece.bytes->view().substr(piece.consumed, n));
    } else {
      to.append(piece.bytes);
    }
    consume(n);
    bytes -= n;
  }
}

void OutboxBuffer::clear() {
  release(text_);
  text_ = nullptr;
  begin_ = end_ = capacity_ = size_ = 0;
  pieces_.clear();
}

}  // namespace pulseengine
