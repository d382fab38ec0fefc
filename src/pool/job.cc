#include "pool/job.h"

#include <algorithm>

#include "pool/pool_message.h"
#include "pool/worker.h"

namespace pulseengine {
namespace {

constexpr size_t kMaxText = 4096;

}  // namespace

// A request about a job on its way to the host.
class JobRequest final : public Delivery {
 public:
  JobRequest(Ref<SharedTarget> target, Ref<PoolJob> job, PoolJob::Request request,
             pulse_stop_reason reason, String notification)
      : target_(std::move(target)),
        job_(std::move(job)),
        request_(request),
        reason_(reason),
        notification_(std::move(notification)) {}
  // Nobody will ever answer what was not taken: its queue was closed.
  ~JobRequest() override {
    if (remaining() == 0) return;
    job_->answer(request_, PULSE_ERR_CLOSED, "the handler's queue was closed");
  }

  const Target& target() const override { return target_->target(); }
  // No stop follows when the host has let the job finish.
  size_t remaining() const override { return taken_ || job_->has_finished() ? 0 : 1; }
  bool next_event(pulse_event* event) override {
    if (remaining() == 0) return false;
    taken_ = true;
    const bool notify = request_ == PoolJob::Request::notify;
    const String& payload = notify ? notification_ : job_->payload();
    event->kind = notify                                ? PULSE_EVENT_JOB_NOTIFY
                  : request_ == PoolJob::Request::start ? PULSE_EVENT_JOB_START
                                                        : PULSE_EVENT_JOB_STOP;
    event->state = reason_;
    event->name = job_->key().data();
    event->name_len = job_->key().size();
    event->payload = payload.data();
    event->payload_len = payload.size();
    event->job = reinterpret_cast<pulse_job*>(job_.get());
    return true;
  }

 private:
  const Ref<SharedTarget> target_;
  const Ref<PoolJob> job_;
  const PoolJob::Request request_;
  const pulse_stop_reason reason_;
  const String notification_;
  bool taken_ = false;
};

struct PoolJob::AnswerTask final : Task {
  void run() override {
    Answer& to = request == Request::none ? job->finish_answer_ : job->answer_;
    to.request = request;
    to.status = status;
    std::swap(to.text, text);
    to.text_len = text_len;
    to.given = true;
    job->worker_->answered(*job);
  }
  ~AnswerTask() override { release(text); }
  Ref<PoolJob> job;
  Request request = Request::none;  // none: finish
  pulse_status status = PULSE_OK;
  char* text = nullptr;
  size_t text_len = 0;
};

PoolJob::PoolJob(Ref<PoolWorker> worker, std::string_view worker_id, std::string_view key,
                 std::string_view payload, std::string_view dispatcher, int64_t created_ns,
                 bool requeued)
    : worker_(std::move(worker)),
      worker_id_(worker_id),
      key_(key),
      payload_(payload),
      dispatcher_(dispatcher),
      created_ns_(created_ns),
      requeued_(requeued),
      finish_task_(make_owned<AnswerTask>()) {}

PoolJob::~PoolJob() = default;

void PoolJob::ask(const Ref<SharedTarget>& target, Request request, pulse_stop_reason reason,
                  String notification) {
  auto task = make_owned<AnswerTask>();
  auto delivery = make_ref<JobRequest>(target, Ref<PoolJob>::share(this), request, reason,
                                       std::move(notification));
  answer_task_ = std::move(task);
  asked_ = true;
  if (request == Request::start) with_host = true;
  open_.store(request, std::memory_order_release);
  worker_->engine().deliver(std::move(delivery));
}

void PoolJob::settle_answers() {
  if (answer_.given) {
    worker_->settle(*this, answer_.request, answer_.status, {answer_.text, answer_.text_len});
  }
  if (!finish_answer_.given) return;
  worker_->settle(*this, Request::none, finish_answer_.status,
                  {finish_answer_.text, finish_answer_.text_len});
  finish_answer_.given = false;
}

bool PoolJob::is_of(const JobMessage& start) const {
  if (start.requeued) return true;
  if (std::string_view(dispatcher_) == start.node && created_ns_ == start.created_ns) return true;
  return requeued_ && start.created_ns <= created_ns_ &&
         std::string_view(payload_) == start.payload;
}

void PoolJob::set_over() {
  open_.store(Request::none, std::memory_order_release);
  Finish possible = Finish::possible;
  finish_.compare_exchange_strong(possible, Finish::impossible, std::memory_order_acq_rel);
}

pulse_status PoolJob::answer(Request request, pulse_status status, std::string_view text) noexcept {
  Request open = request;
  if (!open_.compare_exchange_strong(open, Request::none, std::memory_order_acq_rel)) {
    return PULSE_ERR_INVALID;
  }
  // It may finish right away: the loop takes answers in their order.
  if (request == Request::start && status == PULSE_OK) {
    finish_.store(Finish::possible, std::memory_order_release);
  }
  post(std::move(answer_task_), request, status, text);
  return PULSE_OK;
}

pulse_status PoolJob::finish(pulse_status status, std::string_view text) noexcept {
  Finish possible = Finish::possible;
  if (!finish_.compare_exchange_strong(possible, Finish::called, std::memory_order_acq_rel)) {
    return PULSE_ERR_INVALID;
  }
  post(std::move(finish_task_), Request::none, status, text);
  return PULSE_OK;
}

void PoolJob::post(Owned<AnswerTask> task, Request request, pulse_status status,
                   std::string_view text) noexcept {
  task->job = Ref<PoolJob>::share(this);
  task->request = request;
  task->status = status;
  text = text.substr(0, kMaxText);
  // Without memory for the text, the status still tells.
  if (!text.empty()) task->text = static_cast<char*>(try_allocate(text.size()));
  if (task->text != nullptr) {
    std::copy(text.begin(), text.end(), task->text);
    task->text_len = text.size();
  }
  worker_->engine().post(std::move(task));
}

}  // namespace pulseengine
