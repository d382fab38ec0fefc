// A mutex for short critical sections that threads meet at often.
#ifndef PULSE_BASE_ADAPTIVE_MUTEX_H
#define PULSE_BASE_ADAPTIVE_MUTEX_H

#include <pthread.h>

namespace pulseengine {

// Like std::mutex, but whoever finds it taken looks again for a while before it sleeps: to sleep
// and to be woken takes longer than most of what is done under the lock.
class AdaptiveMutex {
 public:
  AdaptiveMutex() = default;
  ~AdaptiveMutex() { pthread_mutex_destroy(&mutex_); }
  AdaptiveMutex(const AdaptiveMutex&) = delete;
  AdaptiveMutex& operator=(const AdaptiveMutex&) = delete;

  void lock() noexcept { pthread_mutex_lock(&mutex_); }
  void unlock() noexcept { pthread_mutex_unlock(&mutex_); }

 private:
#ifdef PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
  pthread_mutex_t mutex_ = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
#else
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
#endif
};

}  // namespace pulseengine

#endif
