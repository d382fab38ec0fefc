// A reader: every event of its streams, from a cursor of its own per stream.
//
// It reads through one of the engine's read lanes.  Public calls may come from any thread; all
// state but the credit and the counters belongs to the loop thread.
//
// An event is delivered in the same step that moves the cursor past it, so a lost connection or
// short memory at any point means reading again from the cursor, and nothing else.
#ifndef PULSE_STREAMING_READER_H
#define PULSE_STREAMING_READER_H

#include "pulseengine/reader.h"
#include "streaming/cursor.h"
#include "streaming/filter.h"
#include "streaming/read_lanes.h"
#include "streaming/read_start.h"

namespace pulseengine {

struct ReaderOptions {
  int64_t block_ms = 5000;
  int64_t max_polled = 1000;
  int64_t buffer = 1000;            // negative: unlimited
  int64_t buffer_bytes = 16 << 20;  // negative: unlimited
};

class Reader final : public Child, public Deliverer, CursorReads {
 public:
  static Error open(Ref<Stream> stream, const ReaderOptions& options, const ReadStart& start,
                    Owned<Filter> filter, Target target, Ref<Reader>* out);

  // --- any thread -----------------------------------------------------------
  Engine& engine() const { return *engine_; }
  // The operation is accepted already; it completes when the start is fixed.
  bool add_stream(Ref<Stream> stream, const ReadStart& start, Ref<Operation> operation);
  bool remove_stream(Ref<Stream> stream, Ref<Operation> operation);
  void pause(bool paused);
  void close() noexcept;
  bool closed() const { return withdrawn(); }
  Error ready_wait(int64_t timeout_ms);
  Signal& closed_signal() { return *closed_signal_; }
  void metrics(pulse_reader_metrics* out) const;

  // Child
  void close_child() override;
  void abort_child(const Error& error) override;
  void server_ready() override;

  // Deliverer
  void events_taken(size_t count, uint64_t bytes) override;
  bool withdrawn() const override { return withdrawn_.load(std::memory_order_acquire); }
  uint64_t handle_id() const override { return 0; }

  Reader(Ref<Engine> engine, const ReaderOptions& options, Owned<Filter> filter, Target target);

 private:
  struct Source;
  // Made when the reader is opened, so that closing needs no memory.
  struct CloseTask final : Task {
    void run() override { reader->end(Error()); }
    Ref<Reader> reader;
  };

  ~Reader() override;

  // CursorReads
  int64_t block_ms() const override { return options_.block_ms; }
  size_t wanted() const override;
  void wants(Vector<Want>* out) const override;
  bool want(uint32_t index, Want* out) const override;
  bool read(uint32_t index, const pulse_event_id& after, Reply& reply, size_t limit) override;
  void checked(uint32_t index, Reply* reply, const Error& error) override;
  void read_failed(uint32_t index, const Error& error) override;
  void reads_failed(const Error& error) override;
  void reading() override;
  void look_around() override;
  void lane_ready() override;
  void lane_lost(const Error& error) override;

  void begin();
  void take_source(Ref<Stream> stream, const ReadStart& start, Ref<Operation> operation);
  void drop_source(const String& key, const Ref<Operation>& operation);
  void erase_source(Source& source);
  void resolve(Source& source);
  bool ask_state(Source& source, StreamQuestion how);
  bool ask_newest(Source& source);
  void state_came(uint32_t index, StreamQuestion how, const Error& error, Reply* reply);
  void newest_came(uint32_t index, const Error& error, Reply* reply);
  void resolved(Source& source, const Error& error, const StreamState& state);
  void retry_resolve(Source& source, const Error& error);
  void resolve_all();
  void start_fixed(Source& source);
  void end(const Error& error) noexcept;
  Ref<Notice> notice(pulse_event_kind kind, const Source* source);
  void tell_news(Source& source, const Cursor& cursor, const CursorNews& news);
  void tell_error(Source* source, pulse_status* last, const Error& error);
  void deliver(Ref<MessageBatch> batch);
  void learn_size(size_t events, int64_t bytes);
  bool out_of_credit() const;
  bool half_free() const;

  const Ref<Engine> engine_;
  const ReaderOptions options_;
  const Owned<Filter> filter_;
  Ref<SharedTarget> target_;
  Owned<CloseTask> close_task_;               // taken by the first close
  Ref<Notice> ready_notice_, closed_notice_;  // made early: they must not fail
  const Ref<Signal> ready_signal_, closed_signal_;
  std::mutex mutex_;
  Error reading_error_;  // guarded by mutex_: told last, for those who wait until it is ready
  std::atomic<bool> close_asked_{false};
  std::atomic<bool> withdrawn_{false};
  std::atomic<bool> paused_{false};

  // Credit.
  Ref<CreditBell> bell_;  // set before anything is delivered
  std::atomic<int64_t> untaken_{0}, untaken_bytes_{0};
  mutable std::atomic<bool> starved_{false};

  std::atomic<uint64_t> delivered_{0}, filtered_{0}, malformed_{0}, gaps_{0}, reads_{0},
      stream_count_{0}, reconnects_{0};

  // Loop thread.
  Map<uint32_t, Owned<Source>> sources_;
  HashMap<String, uint32_t> by_key_;
  uint32_t next_index_ = 1;
  uint32_t next_look_ = 0;  // the stream whose turn it is to be looked at
  Timer retry_timer_;
  bool begun_ = false;
  bool ended_ = false;
  bool connected_ = false;                       // the lane was, at least once
  bool disconnected_ = false;                    // DISCONNECTED was told
  pulse_status last_error_ = PULSE_OK;           // told for the reader as a whole
  int64_t average_bytes_ = int64_t{256} * 1024;  // of an event; cautious until one was seen
  bool average_known_ = false;
};

}  // namespace pulseengine

#endif
