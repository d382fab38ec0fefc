// A sink: one consumer of a group on one or more streams, at least once.
//
// Public calls come from any thread and hand their work to the loop; all other
// state belongs to the loop thread.  The parts:
//   sink.cc          life cycle, calls from outside, credit, the clock of the sink
//   sink_join.cc     joining, rejoining, keep-alive, starting over under a new name
//   sink_deliver.cc  from entries to deliveries: reads, recovery, gaps
//   sink_settle.cc   acks and releases
//   sink_sweep.cc    abandoned events, renewal
//   sink_close.cc    handing back, removing a stream
//
// Invariants:
//   - an event is in SinkStream::pending exactly while the host holds or could take it, and its
//     ack is not confirmed; what is pending on the server under our consumer and not in the table
//     is found by recovery, after each loss of a connection or of memory
//   - nothing is acked, renewed, swept or read while it is open whether this consumer
//     was declared dead (suspect())
#ifndef PULSE_STREAMING_SINK_H
#define PULSE_STREAMING_SINK_H

#include <atomic>
#include <mutex>

#include "engine/notice.h"
#include "pulseengine/sink.h"
#include "streaming/filter.h"
#include "streaming/read_lanes.h"
#include "streaming/read_start.h"
#include "streaming/sink_stream.h"

namespace pulseengine {

struct SinkConfig {
  ReadStart start;
  bool no_ack = false;
  bool leave_filtered = false;
  bool coalesce = true;
  int64_t block_ms = 5000;
  int64_t max_polled = 1000;
  int64_t buffer = 1000;  // negative: unlimited, as all below
  int64_t buffer_bytes = 16 << 20;
  int64_t max_pending = 10000;
  int64_t grace_ms = 20000;
  int64_t max_handling_ms = -1;
};

// Where XGROUP CREATE starts: "$", "0-0" or the id after which reading begins.
String start_position(const ReadStart& start);

class Sink final : public Deliverer, public Child, GroupReads, TurnHook {
 public:
  // Any thread, as all of the public part.
  static Error open(Ref<Stream> stream, std::string_view name, const SinkConfig& config,
                    Owned<Filter> filter, Target target, Ref<Sink>* out);

  Error ready_wait(int64_t timeout_ms);
  size_t consumer_text(char* text, size_t capacity) const;
  Error add_stream(Ref<Stream> stream, const ReadStart& start, int64_t timeout_ms, Target target,
                   Ref<Signal> signal, Ref<Operation>* out);
  Error remove_stream(Ref<Stream> stream, int64_t timeout_ms, Target target, Ref<Signal> signal,
                      Ref<Operation>* out);
  Error ack(const pulse_ack_handle* handles, size_t count, int64_t timeout_ms, Target target,
            Ref<Signal> signal, Ref<Operation>* out);
  Error release(const pulse_ack_handle* handles, size_t count, int64_t timeout_ms, Target target,
                Ref<Signal> signal, Ref<Operation>* out);
  Error pause(bool paused);
  void metrics(pulse_sink_metrics* out) const;
  void close() noexcept;
  bool closed() const { return withdrawn(); }
  Signal& closed_signal() { return *closed_signal_; }
  Engine& engine() const { return *engine_; }

  // Deliverer
  void events_taken(size_t count, uint64_t bytes) override;
  bool withdrawn() const override { return closing_.load(std::memory_order_acquire); }
  uint64_t handle_id() const override { return handle_id_; }

  Sink(Ref<Engine> engine, std::string_view name, const SinkConfig& config, Owned<Filter> filter,
       Ref<SharedTarget> target);
  ~Sink() override;

 private:
  struct Call;  // sink_call.h
  static constexpr int64_t kSoonMs = 5;
  enum class Phase : uint8_t {
    starting,  // start() has not run
    running,
    quiescing,     // close: the read under way is waited for
    handing_back,  // close: acks and releases are under way
    closed,
  };

  // Child
  void close_child() override { begin_close(); }
  void abort_child(const Error& error) override { finish_close(error); }
  void server_ready() override;

  // GroupReads
  const String& group() const override { return name_; }
  const String& consumer() const override { return consumer_; }
  bool no_ack() const override { return config_.no_ack; }
  int64_t block_ms() const override { return config_.block_ms; }
  size_t wanted(size_t on_the_way = 0) const override;
  void wants(Vector<Want>* out) const override;
  void read(uint32_t index, Reply& reply, size_t count) override;
  void reading_ahead(size_t on_the_way) override;
  void read_failed(const Error& error) override;
  void lane_ready() override;
  void lane_lost(const Error& error) override;
  void quiesced() override;

  // TurnHook
  void end_of_turn() override;

  // sink.cc
  void start(Ref<Stream> first);
  SinkStream& new_stream(Ref<Stream> stream, const String& start);
  SinkStream* find(uint32_t index);
  SinkStream* find(const Stream& stream);
  template <class Work>
  Error post_accepted(pulse_event_kind kind, int64_t timeout_ms, Target target, Ref<Signal> signal,
                      Ref<Operation>* out, Work work);
  Error settle(pulse_event_kind kind, bool ack, const pulse_ack_handle* handles, size_t count,
               int64_t timeout_ms, Target target, Ref<Signal> signal, Ref<Operation>* out);
  static void on_tick(void* sink);
  void tick();
  void pump(SinkStream& s, int64_t now);
  void pump_all();
  void changed();
  void retry_soon() noexcept;
  // Tells the host; without memory the notice is left out.
  template <class Fill>
  void notice(pulse_event_kind kind, const SinkStream* s, Fill fill) noexcept;
  void lost(SinkStream& s, const pulse_event_id& id) noexcept;
  int64_t command_timeout_ms() const { return engine_->config().command_timeout_ms; }
  // Submits a command on the stream's connection.  done(const Error&, Reply*) may throw bad_alloc
  // as long as it has cleared what marks the command as under way.
  template <class Format, class Done>
  void send(SinkStream& s, const Script* script, bool repeatable, Format format, Done done);

  // sink_join.cc
  void join(SinkStream& s);
  void joined(SinkStream& s, const Error& error, Reply* reply, int64_t sent_ms);
  void join_failed(SinkStream& s, const Error& error);
  void join_later(SinkStream& s);
  void rejoin(SinkStream& s);
  void rejoin_all();
  void upkeep_failed(SinkStream& s, const Error& error);
  void put_back(SinkStream& s);
  void check_alive();
  void checked_alive(const Error& error, Reply* reply, int64_t sent_ms);
  bool suspect() const;
  int64_t keepalive_interval() const;
  void declared_dead();
  void start_over();

  // sink_deliver.cc
  enum class Source : uint8_t { read, claimed, recovered };
  class Intake;
  void recover(SinkStream& s);
  void fetch(SinkStream& s, Vector<pulse_event_id> ids, bool more);
  void room_made() noexcept;  // any thread
  void check_gap(SinkStream& s);
  void gap_checked(SinkStream& s, Reply& reply);

  // sink_settle.cc
  void take_calls();
  void take_call(Call& call);
  void gather(SinkStream& s, SettleItem item, bool ack);
  void flush_settles();
  void flush_acks(SinkStream& s);
  void flush_releases(SinkStream& s);
  void send_ack(SinkStream& s, Ref<SettleBatch> batch);
  void send_ack_owned(SinkStream& s, Ref<SettleBatch> batch);
  void send_release(SinkStream& s, Ref<SettleBatch> batch);
  template <class Format, class Each>
  void send_settle(SinkStream& s, Ref<SettleBatch> batch, const Script* script, Format format,
                   Each each);
  void settled(SinkStream& s, SettleBatch& batch, const Error& error);
  void settle_followers(SinkStream& s, const SettleItem& item, const Error& error);
  void settle_done(SinkStream& s);
  void drop_pending(SinkStream& s, const pulse_event_id& id);
  void dropped(size_t count);
  void drop_all(SinkStream& s);

  // sink_sweep.cc
  int64_t sweep_interval() const;
  void sweep(SinkStream& s);
  void swept(SinkStream& s, Reply& reply, int64_t limit);
  void sampled(SinkStream& s, std::string_view position, std::string_view lowest);
  void renew(SinkStream& s, pulse_event_id from);
  void renewed(SinkStream& s, const SettleBatch& batch, Reply& reply, int64_t sent_ms);

  // sink_close.cc
  void begin_close() noexcept;
  void hand_back();
  void hand_back_stream(SinkStream& s);
  void finish_close_if_done();
  void finish_close(const Error& error);
  void leave(SinkStream& s);
  void leave_now(SinkStream& s);
  void leave_quiesced();
  void left(SinkStream& s, const Error& error);

  const Ref<Engine> engine_;
  const String name_;
  const SinkConfig config_;
  const Owned<Filter> filter_;
  const uint64_t handle_id_;
  const String alive_map_, alive_channel_;

  // Any thread.
  std::atomic<bool> closing_{false};
  std::atomic<bool> paused_{false};
  std::atomic<bool> starved_{false};  // reading waits for room
  std::atomic<int64_t> more_at_{-1};  // with so many not taken there is room for one read more
  Ref<CreditBell> bell_;              // set before anything is delivered
  std::atomic<int64_t> buffered_{0}, buffered_bytes_{0};
  std::atomic<uint64_t> taken_{0};
  std::atomic<uint64_t> pending_count_{0};
  struct Counters {
    std::atomic<uint64_t> delivered{0}, redelivered{0}, acked{0}, not_owner{0}, filtered{0},
        malformed{0}, lost{0}, gaps{0}, claimed{0}, renewed{0}, recreated{0}, streams{0},
        reconnects{0};
  } counters_;
  mutable std::mutex mutex_;
  String consumer_;          // written on the loop thread under mutex_
  Vector<Call> calls_;       // guarded by mutex_: acks and releases that wait for the loop
  bool reply_soon_ = false;  // guarded by mutex_: with that they are taken, without a wake-up
  Error last_error_;         // guarded by mutex_: why it is not ready yet
  Ref<Signal> ready_signal_, closed_signal_;

  // Loop thread.
  Ref<SharedTarget> target_;
  Ref<Notice> ready_notice_, closed_notice_;  // made early: they are never lost
  Phase phase_ = Phase::starting;
  Map<uint32_t, Ref<SinkStream>> streams_;
  uint32_t next_index_ = 1;
  uint32_t generation_ = 1;  // of ack handles
  uint32_t epoch_ = 1;       // how many names the consumer has had
  uint64_t delivered_order_ = 0;
  Timer timer_;
  int64_t tick_ms_ = 500;
  int64_t last_tick_ms_ = 0;
  int64_t last_alive_ms_ = 0;  // when the last confirmed keep-alive was sent; 0: never
  int64_t next_alive_ms_ = 0;
  int64_t retry_alive_ms_ = 0;  // not checked again before, as the last check brought nothing
  bool checking_alive_ = false;
  bool starting_over_ = false;
  bool may_start_over_ = false;  // no read under the old name is out any more
  bool in_lanes_ = false;
  bool connected_ = false, ever_connected_ = false;
  bool ready_ = false;
  pulse_status read_error_ = PULSE_OK;
  int64_t count_limit_ = 16;  // grows while reads come back full
  int64_t largest_ = 0;       // of the events lately read, in bytes
  int64_t close_deadline_ms_ = kNever;
};

}  // namespace pulseengine

#endif
