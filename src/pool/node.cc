// Life cycle, keep-alive, and what the replicas say.
#include "pool/node.h"

#include <algorithm>
#include <charconv>

#include "base/ulid.h"
#include "pool/pool_notice.h"
#include "pool/routing.h"
#include "pool/worker.h"
#include "scripts.h"

namespace pulseengine {
namespace {

constexpr int64_t kSoonMs = 10;
constexpr int64_t kMostUnnoticedMs = 5000;

Error closed_error() { return Error(PULSE_ERR_CLOSED, "the node is closed"); }
Error shut_down_error() {
  return Error(PULSE_ERR_SHUTTING_DOWN, "the pool is being shut down, or was");
}

std::string_view name_of(const pulse_event& event) { return {event.name, event.name_len}; }
std::string_view payload_of(const pulse_event& event) { return {event.payload, event.payload_len}; }

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

template <class T>
Target internal_target(pulse_event_fn callback, T* object) {
  return Target(callback, object, Ref<RefCounted>::share(object));
}

}  // namespace

PoolNode::PoolNode(Ref<Engine> engine, std::string_view pool, const NodeConfig& config,
                   Ref<SharedTarget> target)
    : engine_(std::move(engine)),
      config_(config),
      names_(*engine_, pool, config.rendezvous),
      id_(make_ulid()),
      ready_signal_(make_ref<Signal>()),
      closed_signal_(make_ref<Signal>()),
      target_(std::move(target)),
      ready_notice_(make_ref<Notice>(target_, PULSE_EVENT_READY, names_.plain)),
      closed_notice_(make_ref<Notice>(target_, PULSE_EVENT_CLOSED, pool)),
      tick_ms_(std::clamp<int64_t>(config.ttl_ms / 40, 10, 250)),
      members_(config.ttl_ms) {}

PoolNode::~PoolNode() = default;

Error PoolNode::join(Ref<Engine> engine, std::string_view pool, const NodeConfig& config,
                     Target target, Ref<PoolNode>* out) {
  auto node = make_ref<PoolNode>(engine, pool, config, make_ref<SharedTarget>(std::move(target)));
  Error error = engine->add_child(node);
  if (!error.ok()) return error;
  bool posted = false;
  try {
    posted = engine->post_call([node] { node->start(); });
  } catch (const std::bad_alloc&) {
    engine->remove_child(*node);
    throw;
  }
  if (!posted) {
    engine->remove_child(*node);
    return Error(PULSE_ERR_CLOSED, "the engine is closed", PULSE_ERROR_NEVER_SENT);
  }
  *out = std::move(node);
  return {};
}

void PoolNode::start() {
  if (phase_ != Phase::starting) return;
  try {
    timer_.open(engine_->loop(), on_timer, this);
    StreamOptions unbounded;
    unbounded.max_len = -1;
    pool_stream_ = make_ref<Stream>(engine_, names_.map(":pool"), unbounded);
    node_stream_ = make_ref<Stream>(engine_, names_.node_stream(id_), unbounded);
    phase_ = Phase::joining;
    ask_to_join();
    timer_.start(tick_ms_);
  } catch (const std::bad_alloc&) {
    end(Error(PULSE_ERR_NO_MEMORY, "no memory to join the pool"));
  }
}

// --- joining ------------------------------------------------------------------------------

void PoolNode::ask_to_join() {
  if (joining_ || !engine_->server_is_ready()) return;
  const int64_t sent_us = monotonic_us();
  auto format = [this](CommandWriter& w, bool eval) {
    w.begin_script(scripts::pool_join, eval, 5, 3);
    w.arg(std::string_view(names_.node_keepalive));
    w.arg(std::string_view(names_.shutdown));
    w.arg(std::string_view(names_.routing));
    w.arg(std::string_view(names_.plain_nodes));
    w.arg(std::string_view(node_stream_->key()));
    w.arg(std::string_view(id_));
    w.arg(std::string_view(config_.rendezvous ? "rendezvous" : "jump"));
    w.arg(std::string_view(rejoin_ ? "1" : "0"));
  };
  joining_ = true;
  try {
    send(&scripts::pool_join, true, std::move(format),
         [this, sent_us](const Error& error, Reply* r) {
           joining_ = false;
           const bool hopeless =
               error.code() == PULSE_ERR_PERMISSION || error.code() == PULSE_ERR_WRONG_TYPE;
           if (hopeless && phase_ == Phase::joining) {
             begin_close(error);
             return;
           }
           if (r != nullptr) {
             confirmed(sent_us);
             Reply copy = *r;
             if (copy.next().elements() == 2 && copy.next().text == "ok") {
               learn_time(copy.next().text, sent_us);
             }
           }
           joined(r);
         });
  } catch (const std::bad_alloc&) {
    joining_ = false;
    throw;
  }
}

void PoolNode::joined(Reply* reply) {
  if (phase_ == Phase::closed || phase_ == Phase::departing) return;
  if (reply == nullptr) return;  // tick() tries again
  reply->next();
  const std::string_view result = reply->next().text;
  if (result == "ok") {
    in_pool_ = true;
    next_beat_ms_ = last_beat_ms_ + config_.ttl_ms / 3;
    if (phase_ == Phase::joining) {
      phase_ = Phase::syncing;  // tick() opens what there was no memory for
      open_all();
    }
    if (rejoin_) {
      rejoin_ = false;
      route_anew();
      for (const Ref<PoolWorker>& worker : workers_) worker->join();
    }
    return;
  }
  if (result == "shutting_down") {
    begin_close(shut_down_error());
  } else {
    begin_close(Error::make(PULSE_ERR_INVALID, PULSE_ERROR_FATAL,
                            "the pool {} is routed otherwise than by {}", names_.plain,
                            config_.rendezvous ? "rendezvous hashing" : "jump hashing"));
  }
}

void PoolNode::forget_ended() noexcept {
  auto ended = [](const auto& object) { return object && object->closed(); };
  watches_.erase(std::remove_if(watches_.begin(), watches_.end(), ended), watches_.end());
  if (ended(reader_)) reader_ = nullptr;
  if (sink_ && sink_->withdrawn()) sink_ = nullptr;
}

void PoolNode::open_all() {
  forget_ended();
  ReaderOptions reading;
  reading.buffer = reading.buffer_bytes = -1;
  reading.block_ms = config_.block_ms;
  ReadStart oldest;
  oldest.start = PULSE_START_OLDEST;
  if (!reader_) {
    (void)Reader::open(node_stream_, reading, oldest, make_owned<Filter>(),
                       internal_target(on_node_event, this), &reader_);
  }
  watch(shutdown_, ":shutdown");
  if (config_.client_only) return;
  watch(node_beats_, ":node-keepalive");
  watch(workers_map_, ":workers");
  watch(worker_beats_, ":worker-keepalive");
  watch(cleanup_, ":cleanup");
  watch(jobs_, ":jobs");
  open_map(payloads_, ":job-payloads");
  if (!sink_) {
    SinkConfig sink;
    sink.start = oldest;
    sink.block_ms = config_.block_ms;
    sink.grace_ms = config_.grace_ms;
    sink.buffer = sink.buffer_bytes = -1;
    (void)Sink::open(pool_stream_, kRouters, sink, make_owned<Filter>(),
                     internal_target(on_pool_event, this), &sink_);
  }
}

MapConfig PoolNode::map_config() const {
  MapConfig config;
  config.max_unnoticed_ms = std::clamp<int64_t>(config_.ttl_ms / 2, 100, kMostUnnoticedMs);
  config.max_value_bytes = 64 << 20;
  return config;
}

void PoolNode::open_map(Ref<ReplicatedMap>& map, std::string_view suffix) {
  if (map && !map->closed()) return;
  Ref<ReplicatedMap> opened;
  Error error = ReplicatedMap::join(engine_, std::string_view(names_.map(suffix)), map_config(),
                                    internal_target(on_map_state, this), &opened);
  if (error.ok()) map = std::move(opened);
}

// Of the jobs and their payloads it is not known whether they have begun when the node runs.
bool PoolNode::jobs_ended() const {
  if (!jobs_ || !payloads_) return false;  // client_only
  return jobs_->closed() || payloads_->closed() ||
         std::none_of(watches_.begin(), watches_.end(), [this](const Ref<MapWatch>& watch) {
           return &watch->map() == jobs_.get() && !watch->closed();
         });
}

void PoolNode::watch(Ref<ReplicatedMap>& map, std::string_view suffix) {
  open_map(map, suffix);
  if (!map) return;
  for (const Ref<MapWatch>& watch : watches_) {
    if (&watch->map() == map.get()) return;
  }
  WatchConfig config;
  // Of the jobs it is enough to know that they changed.
  config.mode = suffix == ":jobs" ? PULSE_WATCH_KINDS : PULSE_WATCH_DELTAS;
  reserve_one_more(watches_);
  auto watch = make_ref<MapWatch>(map, config, ChangeFilter(), internal_target(on_member, this));
  map->watch(watch);
  watches_.push_back(std::move(watch));
}

void PoolNode::check_ready() {
  if (phase_ != Phase::syncing || !reader_ready_) return;
  if (caught_up_ < (config_.client_only ? 1 : kWatchedTables)) return;
  if (!config_.client_only && !sink_ready_) return;
  const int64_t now = monotonic_ms();
  refresh_members(now);
  phase_ = Phase::running;
  next_sweep_ms_ = now + config_.ttl_ms;
  next_adopt_ms_ = now + config_.ttl_ms;
  ready_signal_->set(Error());
  engine_->deliver(std::move(ready_notice_));
  for (size_t i = 0; i < workers_.size(); i++) workers_[i]->join();
}

Error PoolNode::add_worker(Ref<PoolWorker> worker) {
  if (closed()) return closed_error();
  const bool posted = engine_->post_call([node = Ref<PoolNode>::share(this), worker] {
    if (node->phase_ >= Phase::leaving) {
      worker->end(closed_error());
      return;
    }
    try {
      node->workers_.push_back(worker);
    } catch (const std::bad_alloc&) {
      worker->end(Error(PULSE_ERR_NO_MEMORY, "no memory to add the worker"));
      return;
    }
    if (node->phase_ == Phase::running && node->in_pool_) worker->join();
  });
  return posted ? Error() : closed_error();
}

void PoolNode::worker_closed(PoolWorker& worker, uint64_t handed_over, uint64_t unanswered) {
  handed_over_ += handed_over;
  unanswered_ += unanswered;
  auto found = std::find_if(workers_.begin(), workers_.end(),
                            [&](const Ref<PoolWorker>& w) { return w.get() == &worker; });
  if (found != workers_.end()) workers_.erase(found);
  if (phase_ == Phase::leaving) retry_soon();
}

// --- news ----------------------------------------------------------------------------------

void PoolNode::server_ready() {
  // Nobody could be heard meanwhile.
  forgive(monotonic_ms());
  next_beat_ms_ = 0;
  retry_soon();
  send_dispatches();
}

void PoolNode::forgive(int64_t now_ms) {
  std::lock_guard<std::mutex> lock(members_mutex_);
  members_.forgive(now_ms);
  while (deaths_.size() > (burying_ ? 1 : 0)) deaths_.pop_back();
}

// The server has answered a keep-alive.
void PoolNode::confirmed(int64_t sent_us) {
  const int64_t now = monotonic_ms();
  // It was away, and others may be heard later than we are.
  if (now - last_beat_ms_ > config_.ttl_ms / 2) forgive(now);
  last_beat_ms_ = sent_us / 1000;
}

// The time by which others are judged.  It stands still while the server does not answer our own
// keep-alives, three of which fit into a time to live: then nobody can make himself heard.
int64_t PoolNode::heard_until_ms(int64_t now_ms) const noexcept {
  return std::min(now_ms, last_beat_ms_ + config_.ttl_ms / 2);
}

void PoolNode::retry_soon() noexcept {
  if (phase_ != Phase::starting && phase_ != Phase::closed) timer_.start(kSoonMs);
}

void PoolNode::on_map_state(const pulse_event* event, void* p) {
  auto* node = static_cast<PoolNode*>(p);
  if (event->kind == PULSE_EVENT_MAP_STATE && event->state == PULSE_MAP_SYNCED) {
    node->forgive(monotonic_ms());
    node->engine_->at_end_of_turn(*node);
  }
}

void PoolNode::on_member(const pulse_event* event, void* p) {
  static_cast<PoolNode*>(p)->take_member(*event);
}

void PoolNode::take_member(const pulse_event& event) {
  if (phase_ == Phase::closed) return;
  const std::string_view map(event.stream, event.stream_len);
  if (event.kind == PULSE_EVENT_MAP_CHANGED) {
    jobs_changed_ = true;
    engine_->at_end_of_turn(*this);
    return;
  }
  if (event.kind == PULSE_EVENT_WATCH_CAUGHT_UP) {
    if (phase_ != Phase::syncing) return;
    caught_up_++;
    try {
      check_ready();
    } catch (const std::bad_alloc&) {
      retry_soon();
    }
    return;
  }
  if (event.kind != PULSE_EVENT_MAP_CHANGE) return;
  if (ends_with(map, ":shutdown")) {
    // Whatever happens to this map says so.
    pool_shut_down();
    return;
  }
  const Membership::Table table = ends_with(map, ":workers")            ? Membership::kWorkers
                                  : ends_with(map, ":worker-keepalive") ? Membership::kWorkerBeats
                                  : ends_with(map, ":cleanup")          ? Membership::kLocks
                                                                        : Membership::kNodeBeats;
  const bool members = table == Membership::kWorkers || table == Membership::kNodeBeats;
  const int32_t what =
      table == Membership::kWorkers ? PULSE_POOL_WORKER_JOINED : PULSE_POOL_NODE_JOINED;
  std::lock_guard<std::mutex> lock(members_mutex_);
  switch (event.state) {
    case PULSE_MAP_OP_SET: {
      const bool known = members_.entries(table).count(name_of(event)) > 0;
      members_.set(table, name_of(event), payload_of(event), monotonic_ms());
      if (members && !known) tell_member(what, name_of(event));
      break;
    }
    case PULSE_MAP_OP_DELETE:
      members_.erase(table, name_of(event));
      if (members) tell_member(what + 1, name_of(event));
      break;
    default:
      if (members) {
        for (const auto& [id, entry] : members_.entries(table)) tell_member(what + 1, id);
      }
      members_.clear(table);
  }
  members_changed_ = true;
  engine_->at_end_of_turn(*this);
}

void PoolNode::tell_member(int32_t state, std::string_view id) noexcept {
  if (!target_) return;
  try {
    engine_->deliver(make_ref<PoolNotice>(target_, PULSE_EVENT_POOL_MEMBER, state, id));
  } catch (const std::bad_alloc&) {
    log(PULSE_LOG_ERROR, "no memory to tell of a pool's member");
  }
}

void PoolNode::refresh_members(int64_t now_ms) {
  {
    std::lock_guard<std::mutex> lock(members_mutex_);
    if (members_.refresh(heard_until_ms(now_ms))) routes_changed_ = true;
    if (!routes_changed_) {
      members_changed_ = false;
      return;
    }
    seeds_.clear();
    for (const String& id : members_.active()) {
      seeds_.push_back(rendezvous_seed(std::string_view(id)));
    }
  }
  routes_changed_ = members_changed_ = false;
  for (size_t i = 0; i < workers_.size(); i++) workers_[i]->rebalance();
  route_again(now_ms);
}

std::string_view PoolNode::route(std::string_view key) const {
  const Vector<String>& workers = members_.active();
  if (workers.empty()) return {};
  const uint64_t crc = crc64(key);
  return workers[config_.rendezvous ? rendezvous_route(crc, seeds_)
                                    : jump_route(crc, workers.size())];
}

bool PoolNode::is_alive(std::string_view worker) const {
  const int64_t now = heard_until_ms(monotonic_ms());
  // Nothing is known of it, or how long it has been silent.
  if (members_.entries(Membership::kWorkerBeats).count(worker) == 0) return false;
  const int64_t silent = members_.silent_ms(Membership::kWorkerBeats, worker, now);
  return silent <= config_.ttl_ms;
}

bool PoolNode::is_ours(std::string_view worker) const {
  for (const auto& [id, beat] : members_.entries(Membership::kNodeBeats)) {
    if (is_worker_of(worker, std::string_view(id))) return true;
  }
  return false;
}

// --- the clock -------------------------------------------------------------------------------

void PoolNode::on_timer(void* p) {
  auto* node = static_cast<PoolNode*>(p);
  Ref<PoolNode> keep = Ref<PoolNode>::share(node);
  try {
    node->tick();
  } catch (const std::bad_alloc&) {
    node->retry_soon();
  }
}

void PoolNode::tick() {
  if (phase_ == Phase::closed) return;
  timer_.start(tick_ms_);
  if (closed()) begin_close(Error());
  if (phase_ == Phase::closed) return;
  const int64_t now = monotonic_ms();
  // This process was stopped: what others did meanwhile has not been read yet.
  if (last_tick_ms_ != 0 && now - last_tick_ms_ > config_.ttl_ms / 4) forgive(now);
  last_tick_ms_ = now;
  const bool suspect = in_pool_ && now - last_beat_ms_ > config_.ttl_ms;
  for (size_t i = 0; i < workers_.size(); i++) workers_[i]->set_suspect(suspect);
  if (engine_->server_is_ready()) {
    if (phase_ < Phase::departing) {
      if (!in_pool_) {
        ask_to_join();
      } else if (suspect || now >= next_beat_ms_) {
        beat(now);
      }
    }
    if (phase_ == Phase::syncing || (phase_ == Phase::running && jobs_ended())) open_all();
  }
  check_ready();
  sweep_dispatches();
  if (phase_ == Phase::running) {
    if (heard_until_ms(now) >= members_.next_change_ms() || members_changed_) refresh_members(now);
    if (!config_.client_only) {
      route_again(now);
      sweep(now);
    }
  }
  for (size_t i = 0; i < workers_.size(); i++) workers_[i]->tick();
  tickers_.go_on();
  if (phase_ >= Phase::leaving) {
    if (now >= close_deadline_ms_) {
      for (size_t i = workers_.size(); i-- > 0;) workers_[i]->leave_now();
      close_deadline_ms_ = kNever;
    }
    depart_if_done();
  }
  if (phase_ == Phase::departing && asked_for_shutdown_) finish_shutdown(now);
  engine_->at_end_of_turn(*this);
}

void PoolNode::end_of_turn() {
  if (phase_ == Phase::closed) return;
  if (members_changed_ && phase_ == Phase::running) refresh_members(monotonic_ms());
  if (jobs_changed_) {
    jobs_changed_ = false;
    const int64_t now = monotonic_ms();
    for (size_t i = 0; i < workers_.size(); i++) workers_[i]->jobs_changed(now);
  }
  flush_updates();
  flush_forwards();
  flush_acks();
  flush_answered();
}

void PoolNode::beat(int64_t now_ms) {
  if (beating_) return;
  Vector<String> ids;
  for (const Ref<PoolWorker>& worker : workers_) {
    if (worker->in_pool()) ids.push_back(worker->id());
  }
  auto format = [this, ids](CommandWriter& w, bool eval) {
    w.begin_script(scripts::pool_keepalive, eval, 4, 1 + ids.size());
    w.arg(std::string_view(names_.node_keepalive));
    w.arg(std::string_view(names_.worker_keepalive));
    w.arg(std::string_view(names_.workers));
    w.arg(std::string_view(node_stream_->key()));
    w.arg(std::string_view(id_));
    for (const String& id : ids) w.arg(std::string_view(id));
  };
  auto done = [this, ids, sent_us = monotonic_us()](const Error& error, Reply* reply) {
    beating_ = false;
    beaten(error, reply, ids, sent_us);
  };
  beating_ = true;
  next_beat_ms_ = now_ms + config_.ttl_ms / 3;
  try {
    send(&scripts::pool_keepalive, true, std::move(format), std::move(done));
  } catch (const std::bad_alloc&) {
    beating_ = false;
    throw;
  }
}

void PoolNode::beaten(const Error& error, Reply* reply, const Vector<String>& ids,
                      int64_t sent_us) {
  if (phase_ == Phase::closed || phase_ == Phase::departing) return;
  if (!error.ok()) {
    next_beat_ms_ = monotonic_ms() + std::min<int64_t>(config_.ttl_ms / 10, 1000);
    return;
  }
  const size_t count = reply->next().elements();
  if (reply->next().integer != 1) {
    taken_for_dead();
    return;
  }
  confirmed(sent_us);
  learn_time(reply->next().text, sent_us);
  for (size_t i = 0; i < ids.size() && i + 2 < count; i++) {
    if (reply->next().integer == 1) continue;
    for (size_t j = 0; j < workers_.size(); j++) {
      if (workers_[j]->id() == ids[i]) workers_[j]->declared_dead();
    }
  }
  const bool late = monotonic_ms() - last_beat_ms_ > config_.ttl_ms;
  for (size_t i = 0; i < workers_.size(); i++) workers_[i]->set_suspect(late);
}

// Others have taken this node off the pool: its stream is gone, and perhaps the pool.
void PoolNode::taken_for_dead() {
  if (!in_pool_) return;
  in_pool_ = false;
  rejoin_ = true;
  log(PULSE_LOG_WARNING, "a node was taken for dead by its pool, and joins it again");
  for (size_t i = 0; i < workers_.size(); i++) workers_[i]->declared_dead();
  ask_to_join();
}

void PoolNode::learn_time(std::string_view us, int64_t sent_us) {
  int64_t server_us = 0;
  auto end = std::from_chars(us.data(), us.data() + us.size(), server_us);
  if (end.ec != std::errc()) return;
  const int64_t now_us = monotonic_us();
  clock_offset_us_.store(server_us - (sent_us + now_us) / 2, std::memory_order_relaxed);
}

int64_t PoolNode::server_now_us() const {
  return monotonic_us() + clock_offset_us_.load(std::memory_order_relaxed);
}

// --- the end -----------------------------------------------------------------------------------

void PoolNode::end(const Error& error) noexcept {
  if (phase_ == Phase::closed) return;
  Ref<PoolNode> self = Ref<PoolNode>::share(this);
  phase_ = Phase::closed;
  closing_.store(true, std::memory_order_release);
  timer_.reset();
  engine_->forget_hook(*this);
  while (!workers_.empty()) {
    Ref<PoolWorker> worker = workers_.back();
    workers_.pop_back();
    worker->end(error.ok() ? closed_error() : error);
  }
  tickers_.end_all(error);
  tickers_.close_map();
  for (const Ref<MapWatch>& watch : watches_) watch->close();
  watches_.clear();
  for (Ref<ReplicatedMap>* map :
       {&node_beats_, &shutdown_, &workers_map_, &worker_beats_, &cleanup_, &jobs_}) {
    if (*map) (*map)->close();
  }
  if (payloads_) payloads_->close();
  if (sink_) sink_->close();
  if (reader_) reader_->close();
  if (sink_ && error.code() == PULSE_ERR_SHUTTING_DOWN && !asked_for_shutdown_) remove_remains();
  Error closed = error.ok() ? closed_error() : error;
  fail_dispatches(closed);
  try {
    flush_answered();
  } catch (const std::bad_alloc&) {
    for (const Answered& a : answered_) a.call->complete(closed);
  }
  for (auto& [event, call] : dispatches_) {
    Error unknown = closed;
    unknown.add_flags(PULSE_ERROR_OUTCOME_UNKNOWN);
    call->complete(unknown);
  }
  dispatches_.clear();
  routed_.clear();
  if (shutdown_call_) {
    shutdown_call_->count = shutdown_missing_;
    shutdown_call_->complete(close_error_.code() == PULSE_ERR_SHUTTING_DOWN ? Error() : closed);
    shutdown_call_ = nullptr;
  }
  ready_signal_->set(closed);
  ready_notice_ = nullptr;
  closed_notice_->error = error;
  closed_notice_->count = handed_over_;
  closed_notice_->id.ms = unanswered_;
  engine_->deliver(std::move(closed_notice_));
  target_ = nullptr;
  closed_signal_->set(Error());
  engine_->remove_child(*this);
}

}  // namespace pulseengine
