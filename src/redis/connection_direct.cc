// Callers that write an idle socket themselves: a single command then reaches the server without a
// wake-up of the loop's thread, which only hears the answer.
//
// The loop offers the socket at the end of a turn in which nothing is under way (idle_fd_); the
// first caller who submits takes the offer, and writes under the lock.  What it wrote the loop
// takes over (take_direct) before it reads, writes, or gives up the connection.
#include <sys/socket.h>

#include <algorithm>

#include "redis/connection.h"

namespace pulseengine {

// More than this is the loop's: a socket takes so much at once.
constexpr size_t kDirectBytes = size_t{64} * 1024;
constexpr int kDirectVectors = 8;
// Where more than so many commands were on the way at a time, callers do not wait for each answer:
// to gather them is cheaper.
constexpr size_t kFew = 2;
// Nor do those whose calls follow each other faster than any server answers.
constexpr int64_t kApartUs = 20;

// Loop thread.
void Connection::offer_idle() {
  if (idle_fd_.load(std::memory_order_relaxed) >= 0 || !slots_.empty() || !sending_.empty() ||
      since_idle_ > kFew) {
    return;
  }
  std::lock_guard<AdaptiveMutex> lock(mutex_);
  const bool patience = host_.server_config().command_timeout_ms >= 0;
  // Whoever writes cannot arm the timer that notices a server which does not answer.
  const bool watched = !patience || next_deadline_ms_ != kNever;
  const bool idle = state_ == State::ready && !tls_ && !want_write_ && outbox_commands_.empty() &&
                    direct_.empty() && watched;
  if (idle) idle_fd_.store(fd_, std::memory_order_relaxed);
}

// Any thread; mutex_ is held.  False: the loop has to be told.
bool Connection::write_directly() noexcept {
  const int fd = idle_fd_.load(std::memory_order_relaxed);
  if (fd < 0 || outbox_.size() > kDirectBytes || !host_.callers_may_write()) return false;
  const int64_t now_us = monotonic_us();
  if (now_us - direct_sent_us_ < kApartUs) return false;
  direct_sent_us_ = now_us;
  idle_fd_.store(-1, std::memory_order_relaxed);
  // Both are empty: nothing is copied.
  direct_.swap(outbox_commands_);
  direct_bytes_.take(outbox_);
  buffered_.store(0, std::memory_order_relaxed);
  turn_wanted_ = false;
  for (const Ref<Command>& command : direct_) command->sent();
  has_direct_.store(true, std::memory_order_release);
  iovec vectors[kDirectVectors];
  msghdr message{};
  message.msg_iov = vectors;
  message.msg_iovlen = static_cast<size_t>(direct_bytes_.vectors(vectors, kDirectVectors));
  const ssize_t written = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  // Why it failed, the loop will find out.
  if (written > 0) {
    direct_written_ = static_cast<size_t>(written);
    direct_bytes_.consume(direct_written_);
    host_.counters().writes.fetch_add(1, std::memory_order_relaxed);
    host_.counters().bytes_sent.fetch_add(direct_written_, std::memory_order_relaxed);
  }
  return direct_bytes_.empty();
}

// Loop thread.  False: the connection was given up.
bool Connection::take_direct() {
  if (!has_direct_.load(std::memory_order_acquire)) return true;
  Vector<Ref<Command>> commands;
  int64_t sent_ms, earliest = kNever;
  {
    std::lock_guard<AdaptiveMutex> lock(mutex_);
    has_direct_.store(false, std::memory_order_relaxed);
    commands.swap(direct_);
    sent_ms = direct_sent_us_ / 1000;
    written_bytes_ += std::exchange(direct_written_, 0);
    sending_.take(direct_bytes_);  // which was empty when the socket was offered
  }
  if (slots_.empty()) last_heard_ms_ = std::max(last_heard_ms_, sent_ms);
  host_.counters().commands_sent.fetch_add(commands.size(), std::memory_order_relaxed);
  if (!begin_commands(commands, sent_ms, PULSE_ERROR_OUTCOME_UNKNOWN, &earliest)) return false;
  arm_deadline(earliest);
  return true;
}

// Loop thread.  Nobody writes any more when it returns.
void Connection::withdraw_idle() {
  std::lock_guard<AdaptiveMutex> lock(mutex_);
  idle_fd_.store(-1, std::memory_order_relaxed);
}

}  // namespace pulseengine
