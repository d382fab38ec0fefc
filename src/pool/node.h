// A node of a pool: it dispatches jobs, routes what others dispatch, watches over the other nodes,
// and has workers.
//
// Public calls come from any thread; all state but what says otherwise belongs to the loop thread.
//   node.cc           life cycle, keep-alive, what the replicas say
//   node_dispatch.cc  calls of the host: dispatch, stop, notify, state
//   node_updates.cc   what its workers tell the server
//   node_route.cc     from the pool's stream to workers, and their answers back
//   node_snapshot.cc  the pool as the host sees it
//   node_sweep.cc     the dead, and what nobody owns
//   node_close.cc     leaving, shutting down
//   node_tickers.cc   tickers and schedules
#ifndef PULSE_POOL_NODE_H
#define PULSE_POOL_NODE_H

#include "pool/membership.h"
#include "pool/node_tickers.h"
#include "pool/pool_names.h"
#include "pulseengine/pool.h"
#include "rmap/map_watch.h"
#include "streaming/reader.h"
#include "streaming/sink.h"

namespace pulseengine {

class PoolSnapshot;
class PoolWorker;

struct NodeConfig {
  int64_t ttl_ms = 30000;
  int64_t shutdown_ttl_ms = 120000;
  int64_t block_ms = 5000;
  int64_t max_queued = 1000;
  int64_t grace_ms = 20000;
  int64_t close_timeout_ms = 30000;
  bool client_only = false;
  bool rendezvous = false;
};

// What a dispatch, a request or a question became; also the end of a ticker.
class PoolCall final : public Operation {
 public:
  PoolCall(pulse_event_kind kind, Target target, std::string_view key)
      : Operation(kind, std::move(target)), key(key) {}
  const String key;
  String message, guard;  // dispatch
  int32_t job_state = 0;  // get_job_state
  String worker;
  bool next_event(pulse_event* event) override;
};

class PoolNode final : public Child, TurnHook {
 public:
  // --- any thread -----------------------------------------------------------
  static Error join(Ref<Engine> engine, std::string_view pool, const NodeConfig& config,
                    Target target, Ref<PoolNode>* out);
  PoolNode(Ref<Engine> engine, std::string_view pool, const NodeConfig& config,
           Ref<SharedTarget> target);
  Engine& engine() const { return *engine_; }
  const NodeConfig& config() const { return config_; }
  const PoolNames& names() const { return names_; }
  const String& id() const { return id_; }
  Signal& ready_signal() { return *ready_signal_; }
  Signal& closed_signal() { return *closed_signal_; }
  bool closed() const { return closing_.load(std::memory_order_acquire); }
  Error dispatch(std::string_view key, std::string_view payload, int64_t timeout_ms, Target target,
                 Ref<Signal> signal, Ref<Operation>* out);
  Error request(char name, std::string_view key, std::string_view payload, int64_t timeout_ms,
                Target target, Ref<Signal> signal, Ref<Operation>* out);
  Error job_state(std::string_view key, int64_t timeout_ms, Target target, Ref<Signal> signal,
                  Ref<Operation>* out);
  Error shutdown(int64_t timeout_ms, Target target, Ref<Signal> signal, Ref<Operation>* out);
  Error add_worker(Ref<PoolWorker> worker);
  Error add_ticker(Ref<PoolTicker> ticker);
  // Stops a ticker on all nodes; with the key of its map of jobs, a schedule.
  Error stop_ticker(std::string_view name, std::string_view jobs, int64_t timeout_ms, Target target,
                    Ref<Signal> signal, Ref<Operation>* out);
  void close() noexcept;
  Error snapshot(Ref<PoolSnapshot>* out) const;
  void metrics(pulse_node_metrics* m) const;
  Error payload(std::string_view key, Ref<MapEntry>* out) const;

  // --- loop thread, for workers ------------------------------------------------
  // The worker that should have the job; empty when there is none.
  std::string_view route(std::string_view key) const;
  // Whether the jobs map lists the key under the worker.
  bool owns(std::string_view worker, std::string_view key) const;
  int64_t server_now_us() const;
  int64_t server_now_ns() const { return server_now_us() * 1000; }
  // The server's time in the answer to what was sent at `sent_us`.
  void learn_time(std::string_view us, int64_t sent_us);
  MapConfig map_config() const;
  NodeTickers& tickers() { return tickers_; }
  bool is_active(std::string_view worker) const { return members_.is_active(worker); }
  bool is_alive(std::string_view worker) const;
  // Of this engine, not of the Go library.
  bool is_ours(std::string_view worker) const;
  bool takes_part() const { return in_pool_ && phase_ == Phase::running; }
  void worker_closed(PoolWorker& worker, uint64_t handed_over, uint64_t unanswered);
  // Some worker has what next_updates() gives.
  void has_updates() { engine_->at_end_of_turn(*this); }
  void keepalive_soon() noexcept { next_beat_ms_ = 0; }
  template <class Format, class Done>
  void send(const Script* script, bool repeatable, Format format, Done done);
  void log(pulse_log_level level, std::string_view text) noexcept { engine_->log(level, text); }

  struct Counters {
    std::atomic<uint64_t> dispatched{0}, started{0}, refused{0}, routed{0}, rerouted{0}, held{0},
        unanswered{0}, malformed{0}, dropped{0}, jobs{0}, moved_in{0}, moved_out{0}, finished{0},
        cleaned{0}, requeued{0}, lost_owners{0};
  } counters;

 private:
  enum class Phase : uint8_t { starting, joining, syncing, running, leaving, departing, closed };

  // An event of the pool's stream that this node answers for.
  struct Routed : Allocated {
    pulse_ack_handle handle{};
    char name = 0;
    String key, payload;
    String dispatcher, guard;  // of a start
    String worker;             // that it was sent to; empty: held
    String worker_event;       // its id there; empty: under way
    int64_t since_ms = 0;      // in this state
    int64_t sent_ms = 0;       // to that worker
    bool asking = false;       // the server is asked whether the job exists
  };
  // An event on its way to another stream.
  struct Forward {
    String stream;  // key
    char name = 0;
    String payload;
    uint64_t serial = 0;  // of the Routed; 0: an answer
    String worker;
    String pool_event;  // that it stands for; empty: an answer
    String guard;       // of a start, if it is known
  };
  struct EarlyAck {
    String error;
    bool settled = false;
  };
  // A script run's worth of them, and the first event of the own stream that was not read.
  struct Forwards final : RefCounted {
    Vector<Forward> forwards;
    String unread;
  };
  // What became of a dispatch.
  struct Answer {
    String error;           // empty: started
    bool released = false;  // its guard has gone
  };
  struct Answered {
    Ref<PoolCall> call;
    Answer answer;
  };
  class DispatchRun;
  class UpdateRun;
  struct AckBatch final : RefCounted {
    Ref<PoolNode> node;
    Vector<pulse_ack_handle> handles;
  };
  struct Death {
    String id, beat, lock;
    bool node = false;
  };

  ~PoolNode() override;

  // Child
  void close_child() override { begin_close(Error()); }
  void abort_child(const Error& error) override { end(error); }
  void server_ready() override;

  // TurnHook
  void end_of_turn() override;

  // node.cc
  void start();
  void ask_to_join();
  void joined(Reply* reply);
  void open_all();
  void open_map(Ref<ReplicatedMap>& map, std::string_view suffix);
  bool jobs_ended() const;
  void watch(Ref<ReplicatedMap>& map, std::string_view suffix);
  void check_ready();
  // What had no memory to begin has closed by itself, and is opened again.
  void forget_ended() noexcept;
  static void on_map_state(const pulse_event* event, void* p);
  static void on_member(const pulse_event* event, void* p);
  static void on_pool_event(const pulse_event* event, void* p);
  static void on_node_event(const pulse_event* event, void* p);
  void take_member(const pulse_event& event);
  static void on_timer(void* p);
  void tick();
  void schedule(int64_t at_ms) noexcept;
  void refresh_members(int64_t now_ms);
  void forgive(int64_t now_ms);
  void confirmed(int64_t sent_us);
  int64_t heard_until_ms(int64_t now_ms) const noexcept;
  void beat(int64_t now_ms);
  void beaten(const Error& error, Reply* reply, const Vector<String>& ids, int64_t sent_us);
  void taken_for_dead();
  void tell_member(int32_t state, std::string_view id) noexcept;
  void end(const Error& error) noexcept;
  void retry_soon() noexcept;

  // node_dispatch.cc
  template <class Format, class Done>
  Error start_call(Ref<PoolCall> call, int64_t timeout_ms, Ref<Signal> signal, const Script* script,
                   bool repeatable, size_t bytes, Format format, Done done, Ref<Operation>* out);
  Vector<Ref<PoolCall>> take_dispatches() noexcept;
  void send_dispatches();
  void submit_dispatches(const Vector<Ref<PoolCall>>& calls);
  void fail_dispatches(const Error& error) noexcept;
  void dispatch_sent(PoolCall& call, std::string_view result, std::string_view guard);
  void dispatch_answered(std::string_view event, std::string_view error, bool released);
  void settle_dispatch(PoolCall& call, Answer answer);
  void flush_answered();
  void sweep_dispatches();

  // node_updates.cc
  void flush_updates();
  void send_updates(Ref<UpdateRun> run);

  // node_route.cc
  void take_pool_event(const pulse_event& event);
  void try_route(uint64_t serial);
  void forward_to(uint64_t serial, std::string_view worker);
  void ask_server(uint64_t serial);
  void drop(uint64_t serial);
  void take_node_event(const pulse_event& event);
  void worker_answered(std::string_view worker, std::string_view event, std::string_view error,
                       bool settled);
  void flush_forwards();
  void forwarded(const Error& error, Reply* reply, Forwards& batch);
  void forward_anew(const Forwards& batch) noexcept;
  void route_again(int64_t now_ms);
  void route_anew();
  // Whether the server has XTRIM MINID, for scripts.
  std::string_view trims() const { return engine_->server().at_least(6, 2) ? "1" : "0"; }
  void ack(const pulse_ack_handle& handle);
  void flush_acks();
  String owner_of(std::string_view key) const;

  // node_sweep.cc
  void sweep(int64_t now_ms);
  void bury_next();
  void buried(const Error& error, Reply* reply);
  void adopt(int64_t now_ms);
  Vector<String> owners() const;
  void trim();
  static int64_t jittered(int64_t ms);

  // node_close.cc
  void begin_close(const Error& error) noexcept;
  void pool_shut_down();
  void leave_workers(pulse_stop_reason reason);
  void depart_if_done();
  bool awaits_go_workers(int64_t now_ms);
  void depart();
  void finish_shutdown(int64_t now_ms);
  template <class Done>
  void send_destroy(bool remains, Vector<String> streams, Done done);
  void remove_remains() noexcept;

  const Ref<Engine> engine_;
  const NodeConfig config_;
  const PoolNames names_;
  const String id_;
  const Ref<Signal> ready_signal_, closed_signal_;
  std::atomic<bool> closing_{false};
  std::atomic<int64_t> clock_offset_us_{0};  // the server's clock less the monotonic one

  // Dispatches of a turn, which leave together; guarded by dispatch_mutex_.
  std::mutex dispatch_mutex_;
  Vector<Ref<PoolCall>> unsent_;
  size_t unsent_bytes_ = 0;

  // Loop thread.
  Ref<SharedTarget> target_;
  Ref<Notice> ready_notice_, closed_notice_;
  Phase phase_ = Phase::starting;
  Timer timer_;
  int64_t tick_ms_;
  int64_t next_beat_ms_ = 0;
  int64_t last_beat_ms_ = 0;  // when the last confirmed one was sent
  bool beating_ = false, joining_ = false, rejoin_ = false, in_pool_ = false;
  Ref<ReplicatedMap> node_beats_, shutdown_, workers_map_, worker_beats_, cleanup_, jobs_;
  Ref<ReplicatedMap> payloads_;
  Vector<Ref<MapWatch>> watches_;
  static constexpr uint32_t kWatchedTables = 5;
  uint32_t caught_up_ = 0;  // of them
  bool members_changed_ = false, jobs_changed_ = false;
  int64_t last_tick_ms_ = 0;
  mutable std::mutex members_mutex_;  // where the loop thread changes members_, or others read
  Membership members_;
  Vector<uint64_t> seeds_;       // of the active workers, for rendezvous routing
  bool routes_changed_ = false;  // since seeds_ were made
  Ref<Stream> pool_stream_, node_stream_;
  Ref<Sink> sink_;
  Ref<Reader> reader_;
  bool sink_ready_ = false, reader_ready_ = false;
  Vector<Ref<PoolWorker>> workers_;
  NodeTickers tickers_{*this};

  // Dispatches that wait for an answer, by the id of their event; answers that came before it was
  // known.
  HashMap<String, Ref<PoolCall>> dispatches_;
  HashMap<String, Answer> early_answers_;
  int64_t dispatching_ = 0;    // script runs under way
  Vector<Answered> answered_;  // to be told at the end of the turn

  Map<uint64_t, Owned<Routed>> routed_;
  HashMap<String, uint64_t> by_worker_event_;  // "<worker> <event>"
  uint64_t next_serial_ = 1;
  Vector<Forward> forwards_;
  pulse_event_id read_{0, 0};     // the last event of the own stream that was taken up
  pulse_event_id dropped_{0, 0};  // up to which it is cut off, or soon will be
  HashMap<String, EarlyAck> early_acks_;
  int64_t forwarding_ = 0;  // script runs under way
  Vector<pulse_ack_handle> acks_;

  int64_t next_sweep_ms_ = 0, next_adopt_ms_ = 0, next_trim_ms_ = 0;
  Deque<Death> deaths_;
  bool burying_ = false;
  bool trimming_ = false;
  // Of each job, who had it when it was last looked at, and since when.
  struct Seen {
    String owner;  // empty: none
    int64_t since_ms = 0;
    int64_t patient_until_ms = 0;  // without an owner
  };
  HashMap<String, Seen> seen_;  // guarded by members_mutex_

  Error close_error_;
  int64_t close_deadline_ms_ = kNever;
  uint64_t awaited_below_ = 0;  // serial of a Routed; 0: not leaving yet
  int64_t await_until_ms_ = kNever;
  uint64_t handed_over_ = 0, unanswered_ = 0;
  Ref<PoolCall> shutdown_call_;
  int64_t shutdown_deadline_ms_ = kNever;
  uint64_t shutdown_missing_ = 0;  // nodes that did not leave in time
  bool asked_for_shutdown_ = false, departed_ = false, destroying_ = false;
};

template <class Format, class Done>
void PoolNode::send(const Script* script, bool repeatable, Format format, Done done) {
  auto guarded = [this, done = std::move(done)](const Error& error, Reply* reply) mutable {
    try {
      done(error, reply);
    } catch (const std::bad_alloc&) {
      retry_soon();
    }
  };
  // An engine that is closed fails the command at once.
  (void)engine_->connection_for(names_.pool_stream)
      .submit(make_call(this, script, repeatable, engine_->config().command_timeout_ms,
                        std::move(format), std::move(guarded)));
}

}  // namespace pulseengine

#endif
