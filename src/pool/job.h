// A job that a worker has, and the requests about it that the host answers.
#ifndef PULSE_POOL_JOB_H
#define PULSE_POOL_JOB_H

#include <atomic>

#include "base/ref.h"
#include "engine/delivery.h"
#include "engine/task.h"
#include "pulseengine/pool.h"

namespace pulseengine {

struct JobMessage;
class PoolWorker;

// An event of a router that waits for an answer.
struct RouterEvent {
  String node;        // the router
  String event;       // its id in the worker's stream
  String pool_event;  // and in the pool's; empty: the router did not say
  // Of a start:
  String dispatcher;
  String key, guard;  // what keeps it from being dispatched again; empty: the router did not say
};

struct Notification {
  String payload;
  RouterEvent from;
};

// The host's handle, too: pulse_job.
class PoolJob final : public RefCounted, private LiveObject {
 public:
  enum class Request : uint8_t { none, start, stop, notify };
  enum class State : uint8_t {
    claiming,  // the server is told that this worker has it
    held,      // another worker is about to stop it, or to be buried
    waiting,   // for its turn to start, or for the next try
    starting,  // the host was asked to start it
    running,
    stopping,  // a stop is wanted: asked for, or to be when the open request is answered
    ending,    // the server is told that it is over here
    gone,
  };

  PoolJob(Ref<PoolWorker> worker, std::string_view worker_id, std::string_view key,
          std::string_view payload, std::string_view dispatcher, int64_t created_ns, bool requeued);
  ~PoolJob() override;

  // --- any thread -----------------------------------------------------------
  const String& key() const { return key_; }
  const String& payload() const { return payload_; }
  const String& worker_id() const { return worker_id_; }
  const String& dispatcher() const { return dispatcher_; }
  int64_t created_ns() const { return created_ns_; }
  bool requeued() const { return requeued_; }
  pulse_status answer(Request request, pulse_status status, std::string_view text) noexcept;
  pulse_status finish(pulse_status status, std::string_view text) noexcept;

  // By the host.
  bool has_finished() const noexcept {
    return finish_.load(std::memory_order_acquire) == Finish::called;
  }

  // --- loop thread ----------------------------------------------------------
  // Asks the host.  Throws bad_alloc, with no effect then.
  void ask(const Ref<SharedTarget>& target, Request request, pulse_stop_reason reason,
           String notification);
  // From then until the answer has reached the loop.
  bool asked() const { return asked_; }
  // Takes up what the host has answered, in order; what there is no memory for stays, and the next
  // call goes on with it.
  void settle_answers();
  bool has_answers() const { return answer_.given || finish_answer_.given; }
  // What an answer says has been done: whatever else follows from it, it is not taken up again.
  void answer_done() {
    answer_.given = false;
    asked_ = false;
  }
  // The end: no answer counts any more.
  void set_over();
  // Whether it is this job that is to be started: dispatched then, or put back into the queue
  // since, after the worker that had it died with its start unanswered.
  bool is_of(const JobMessage& start) const;

  State state = State::claiming;
  pulse_stop_reason stop_reason = 0;  // why it is stopping
  int64_t at_ms = 0;                  // held: when to claim it again; waiting: not before
  String held_by;                     // held: the worker that has it
  int64_t patient_until_ms = 0;       // held: at most
  int64_t pause_ms = 0;               // before the next try to start
  bool listed_held = false, listed_waiting = false;  // in the worker's lists of those that are
  Vector<RouterEvent> starts;                        // to be answered when it has started
  Vector<RouterEvent> stops;                         // to be answered when it has stopped
  Deque<Notification> notifications;                 // the first one is the host's, if asked
  bool notifying = false;
  bool with_host = false;  // asked to start it, and neither refused nor stopped

 private:
  // On the loop, until it is settled.
  struct Answer {
    Answer() = default;
    Answer(const Answer&) = delete;
    Answer& operator=(const Answer&) = delete;
    ~Answer() { release(text); }
    bool given = false;
    Request request = Request::none;
    pulse_status status = PULSE_OK;
    char* text = nullptr;
    size_t text_len = 0;
  };
  enum class Finish : uint8_t { impossible, possible, called };
  struct AnswerTask;
  friend class JobRequest;

  void post(Owned<AnswerTask> task, Request request, pulse_status status,
            std::string_view text) noexcept;

  const Ref<PoolWorker> worker_;
  const String worker_id_, key_, payload_, dispatcher_;
  const int64_t created_ns_;
  const bool requeued_;
  bool asked_ = false;
  Answer answer_, finish_answer_;
  std::atomic<Request> open_{Request::none};
  std::atomic<Finish> finish_{Finish::impossible};
  // Made early: answers need no memory.
  Owned<AnswerTask> answer_task_;  // written before open_ is set
  Owned<AnswerTask> finish_task_;
};

}  // namespace pulseengine

#endif
