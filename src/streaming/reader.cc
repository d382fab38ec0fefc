#include "streaming/reader.h"

#include <algorithm>

namespace pulseengine {
namespace {

constexpr int64_t kFirstBackoffMs = 100;
constexpr int64_t kMaxBackoffMs = 5000;
constexpr size_t kLooks = 16;  // silent streams that are looked at in one go

}  // namespace

// One stream that is read.
struct Reader::Source : Allocated {
  Source(Ref<Stream> s, uint32_t i, const ReadStart& b)
      : stream(std::move(s)), index(i), begin(b), gate(make_ref<BatchGate>()) {}
  const Ref<Stream> stream;
  const uint32_t index;
  const ReadStart begin;
  const Ref<BatchGate> gate;  // shut when the stream is removed
  Ref<Operation> operation;   // of add_stream, until the start is fixed
  Cursor cursor;
  bool fixed = false;      // the cursor is valid
  bool resolving = false;  // a command for that is out
  bool check = false;      // to be looked at before the next read
  bool silent = false;     // it has brought nothing for a while
  bool opening = false;    // READY waits for it
  int64_t retry_at = 0;
  int64_t backoff_ms = 0;
  pulse_status last_error = PULSE_OK;  // told
};

// --- life ------------------------------------------------------------------

Reader::Reader(Ref<Engine> engine, const ReaderOptions& options, Owned<Filter> filter,
               Target target)
    : engine_(std::move(engine)),
      options_(options),
      filter_(std::move(filter)),
      target_(make_ref<SharedTarget>(std::move(target))),
      ready_notice_(make_ref<Notice>(target_, PULSE_EVENT_READY)),
      closed_notice_(make_ref<Notice>(target_, PULSE_EVENT_CLOSED)),
      ready_signal_(make_ref<Signal>()),
      closed_signal_(make_ref<Signal>()) {}

Reader::~Reader() = default;

Error Reader::open(Ref<Stream> stream, const ReaderOptions& options, const ReadStart& start,
                   Owned<Filter> filter, Target target, Ref<Reader>* out) {
  auto reader = make_ref<Reader>(Ref<Engine>::share(&stream->engine()), options, std::move(filter),
                                 std::move(target));
  reader->close_task_ = make_owned<CloseTask>();
  // The engine holds the reader from here to end().
  Error error = reader->engine_->add_child(reader);
  if (!error.ok()) return error;
  try {
    bool posted = reader->engine_->post_call([reader, stream = std::move(stream), start]() mutable {
      try {
        if (reader->ended_) return;
        reader->begin();
        reader->take_source(std::move(stream), start, nullptr);
      } catch (const std::bad_alloc&) {
        reader->end(Error(PULSE_ERR_NO_MEMORY, "out of memory"));
      }
    });
    if (!posted) error = Error(PULSE_ERR_CLOSED, "the engine is closed");
  } catch (const std::bad_alloc&) {
    reader->engine_->remove_child(*reader);
    throw;
  }
  if (!error.ok()) {
    reader->engine_->remove_child(*reader);
    return error;
  }
  *out = std::move(reader);
  return {};
}

void Reader::begin() {
  ready_notice_->owner = Ref<Deliverer>::share(this);
  retry_timer_.open(
      engine_->loop(),
      [](void* p) {
        auto* reader = static_cast<Reader*>(p);
        try {
          reader->resolve_all();
        } catch (const std::bad_alloc&) {
          reader->retry_timer_.start(kFirstBackoffMs);
        }
      },
      this);
  ReadLanes& lanes = ReadLanes::of(*engine_);
  bell_ = lanes.bell();
  lanes.add(*this);
  begun_ = true;
}

void Reader::close() noexcept {
  if (close_asked_.exchange(true) || engine_->forked()) return;
  // Not delivered any more from this moment on.
  withdrawn_.store(true, std::memory_order_release);
  close_task_->reader = Ref<Reader>::share(this);
  engine_->post(std::move(close_task_));
}

void Reader::close_child() { end(Error(PULSE_ERR_CLOSED, "the engine was closed")); }
void Reader::abort_child(const Error& error) { end(error); }

// Closes on the spot.  Allocates nothing.
void Reader::end(const Error& error) noexcept {
  if (ended_) return;
  ended_ = true;
  withdrawn_.store(true, std::memory_order_release);
  Ref<Reader> keep = Ref<Reader>::share(this);
  if (bell_) ReadLanes::of(*engine_).remove(*this);
  retry_timer_.reset();
  const Error closed(PULSE_ERR_CLOSED, "the reader is closed", PULSE_ERROR_NEVER_SENT);
  for (auto& [index, source] : sources_) {
    if (source->operation) source->operation->complete(closed);
  }
  sources_.clear();
  by_key_.clear();
  stream_count_.store(0);
  ready_notice_ = nullptr;
  target_ = nullptr;
  closed_notice_->error = error;
  engine_->deliver(std::move(closed_notice_));
  ready_signal_->set(error.ok() ? closed : error);
  closed_signal_->set(Error());
  engine_->remove_child(*this);
}

// --- streams -----------------------------------------------------------------

bool Reader::add_stream(Ref<Stream> stream, const ReadStart& start, Ref<Operation> operation) {
  auto self = Ref<Reader>::share(this);
  return engine_->post_call([self, stream = std::move(stream), start, operation]() mutable {
    try {
      self->take_source(std::move(stream), start, operation);
    } catch (const std::bad_alloc&) {
      operation->complete(Error(PULSE_ERR_NO_MEMORY, "out of memory", PULSE_ERROR_NEVER_SENT));
    }
  });
}

void Reader::take_source(Ref<Stream> stream, const ReadStart& start, Ref<Operation> operation) {
  if (operation && operation->completed()) return;
  if (ended_) {
    operation->complete(Error(PULSE_ERR_CLOSED, "the reader is closed", PULSE_ERROR_NEVER_SENT));
    return;
  }
  auto known = by_key_.find(stream->key());
  if (known != by_key_.end()) {
    Source& source = *sources_.find(known->second)->second;
    if (source.operation && source.operation->completed()) {
      source.operation = std::move(operation);  // the former one gave up waiting
    } else {
      operation->complete();
    }
    return;
  }
  const uint32_t index = next_index_++;
  auto made = make_owned<Source>(std::move(stream), index, start);
  Source& source = *made;
  source.opening = !ready_signal_->is_set();
  auto at = by_key_.emplace(source.stream->key(), index).first;
  try {
    sources_.emplace(index, std::move(made));
  } catch (const std::bad_alloc&) {
    by_key_.erase(at);
    throw;
  }
  source.operation = std::move(operation);
  stream_count_.store(sources_.size());
  switch (start.start) {
    case PULSE_START_OLDEST:
      source.cursor.start(Cursor::Start::oldest, {0, 0});
      break;
    case PULSE_START_AFTER:
      source.cursor.start(Cursor::Start::after, start.id);
      break;
    case PULSE_START_TIME:
      // XREAD is exclusive: everything before the millisecond.
      source.cursor.start(Cursor::Start::oldest, start.id.ms == 0
                                                     ? pulse_event_id{0, 0}
                                                     : pulse_event_id{start.id.ms - 1, UINT64_MAX});
      break;
    default:
      resolve(source);
      return;
  }
  source.check = true;
  start_fixed(source);
}

// Asks for the newest id.  It is asked again until there is an answer, and kept then: what is added
// between two reads is not lost.
void Reader::resolve(Source& source) {
  if (source.resolving || source.fixed) return;
  if (!engine_->server_is_ready()) return;  // server_ready() comes back here
  source.resolving = ask_state(source, StreamQuestion::script);
}

bool Reader::ask_state(Source& source, StreamQuestion how) {
  auto command = make_call(
      this, script_of(how), true, engine_->config().command_timeout_ms,
      [stream = source.stream, how](CommandWriter& writer, bool eval) {
        ask_stream_state(writer, how, eval, stream->key());
      },
      [this, index = source.index, how](const Error& error, Reply* reply) {
        state_came(index, how, error, reply);
      });
  return source.stream->connection().submit(std::move(command)).ok();
}

// Where XINFO is not allowed.
bool Reader::ask_newest(Source& source) {
  auto command = make_call(
      this, nullptr, true, engine_->config().command_timeout_ms,
      [stream = source.stream](CommandWriter& writer, bool) {
        writer.command("XREVRANGE", stream->key(), "+", "-", "COUNT", 1);
      },
      [this, index = source.index](const Error& error, Reply* reply) {
        newest_came(index, error, reply);
      });
  return source.stream->connection().submit(std::move(command)).ok();
}

void Reader::state_came(uint32_t index, StreamQuestion how, const Error& error, Reply* reply) {
  auto at = sources_.find(index);
  if (at == sources_.end() || at->second->fixed) return;
  Source& source = *at->second;
  if (reply == nullptr && question_refused(error)) {
    source.resolving = how == StreamQuestion::script ? ask_state(source, StreamQuestion::info)
                                                     : ask_newest(source);
    return;
  }
  StreamState state;
  Error problem = error;
  if (reply != nullptr) {
    problem = parse_stream_state(*reply, &state);
  } else if (error.message().find("no such key") != std::string_view::npos) {
    problem = Error();
  }
  resolved(source, problem, state);
}

void Reader::newest_came(uint32_t index, const Error& error, Reply* reply) {
  auto at = sources_.find(index);
  if (at == sources_.end() || at->second->fixed) return;
  StreamState state;
  Error problem = error;
  if (reply != nullptr) {
    state.exists = true;
    if (reply->next().elements() > 0) {
      reply->next();
      if (!parse_id(reply->next().text, &state.last_generated)) {
        problem = Error(PULSE_ERR_PROTOCOL, "XREVRANGE: unexpected reply");
      }
    }
  }
  resolved(*at->second, problem, state);
}

void Reader::resolved(Source& source, const Error& error, const StreamState& state) {
  source.resolving = false;
  if (!error.ok()) {
    retry_resolve(source, error);
    return;
  }
  source.cursor.start_newest(state);
  start_fixed(source);
}

void Reader::retry_resolve(Source& source, const Error& error) {
  if (error.is_final() && source.operation) {
    source.operation->complete(error);
    erase_source(source);
    return;
  }
  source.backoff_ms =
      source.backoff_ms == 0 ? kFirstBackoffMs : std::min(source.backoff_ms * 2, kMaxBackoffMs);
  source.retry_at = monotonic_ms() + source.backoff_ms;
  retry_timer_.start(source.backoff_ms);
  if ((error.flags() & PULSE_ERROR_SERVER) != 0) tell_error(&source, &source.last_error, error);
}

void Reader::resolve_all() {
  const int64_t now = monotonic_ms();
  int64_t next = kNever;
  for (auto& [index, source] : sources_) {
    if (source->fixed || source->resolving) continue;
    if (source->retry_at > now) {
      next = std::min(next, source->retry_at);
    } else {
      resolve(*source);
    }
  }
  if (next != kNever) retry_timer_.start(next - now);
}

void Reader::server_ready() {
  for (auto& [index, source] : sources_) source->retry_at = 0;
  if (begun_ && !ended_) retry_timer_.start(0);
}

void Reader::start_fixed(Source& source) {
  source.fixed = true;
  source.last_error = PULSE_OK;
  ReadLanes::of(*engine_).changed(*this);
  if (paused_.load()) reading();  // the lane will not call it
  if (!source.operation) return;
  // Cut short by its deadline or a cancel: then it does not read the stream.
  Ref<Operation> operation = std::move(source.operation);
  if (!operation->complete()) erase_source(source);
}

bool Reader::remove_stream(Ref<Stream> stream, Ref<Operation> operation) {
  auto self = Ref<Reader>::share(this);
  return engine_->post_call([self, stream = std::move(stream), operation]() mutable {
    self->drop_source(stream->key(), operation);
  });
}

void Reader::drop_source(const String& key, const Ref<Operation>& operation) {
  if (operation->completed()) return;
  if (ended_) {
    operation->complete(Error(PULSE_ERR_CLOSED, "the reader is closed", PULSE_ERROR_NEVER_SENT));
    return;
  }
  auto at = by_key_.find(key);
  if (at == by_key_.end()) {
    operation->complete(Error(PULSE_ERR_NOT_FOUND, "the reader does not read this stream"));
    return;
  }
  Source& source = *sources_.find(at->second)->second;
  if (source.operation)
    source.operation->complete(Error(PULSE_ERR_CANCELLED, "the stream was removed"));
  erase_source(source);
  operation->complete();
}

void Reader::erase_source(Source& source) {
  source.gate->shut();
  by_key_.erase(source.stream->key());
  sources_.erase(source.index);
  stream_count_.store(sources_.size());
  ReadLanes::of(*engine_).changed(*this);
}

void Reader::pause(bool paused) {
  paused_.store(paused);
  engine_->post_call([self = Ref<Reader>::share(this)] {
    if (self->ended_ || !self->begun_) return;
    ReadLanes::of(*self->engine_).changed(*self);
    if (self->paused_.load()) self->reading();
  });
}

// --- what the lane asks --------------------------------------------------

bool Reader::out_of_credit() const {
  return (options_.buffer >= 0 && untaken_.load() >= options_.buffer) ||
         (options_.buffer_bytes >= 0 && untaken_bytes_.load() >= options_.buffer_bytes);
}

bool Reader::half_free() const {
  return (options_.buffer < 0 || untaken_.load() <= options_.buffer / 2) &&
         (options_.buffer_bytes < 0 || untaken_bytes_.load() <= options_.buffer_bytes / 2);
}

size_t Reader::wanted() const {
  if (ended_ || withdrawn() || paused_.load()) return 0;
  if (out_of_credit() || starved_.load()) {
    // Reading resumes when half is free.  The host may have taken the last events just now: who
    // comes second, it or we, notices.
    starved_.store(true);
    if (!half_free()) return 0;
    starved_.store(false);
  }
  int64_t count = options_.max_polled;
  if (options_.buffer >= 0) count = std::min(count, options_.buffer - untaken_.load());
  if (options_.buffer_bytes >= 0) {
    count = std::min(count, (options_.buffer_bytes - untaken_bytes_.load()) / average_bytes_);
  }
  return static_cast<size_t>(std::max<int64_t>(count, 1));
}

void Reader::events_taken(size_t count, uint64_t bytes) {
  untaken_bytes_.fetch_sub(static_cast<int64_t>(bytes));
  untaken_.fetch_sub(static_cast<int64_t>(count));
  if (!starved_.load() || !half_free() || !starved_.exchange(false)) return;
  bell_->ring();
  engine_->want_turn();
}

void Reader::wants(Vector<Want>* out) const {
  for (const auto& [index, source] : sources_) {
    if (source->fixed) {
      out->push_back({&source->stream->key(), index, source->cursor.id(), source->check});
    }
  }
}

bool Reader::want(uint32_t index, Want* out) const {
  auto at = sources_.find(index);
  if (at == sources_.end() || !at->second->fixed) return false;
  const Source& source = *at->second;
  *out = {&source.stream->key(), index, source.cursor.id(), source.check};
  return true;
}

void Reader::reading() {
  if (ready_signal_->is_set()) return;
  for (const auto& [index, source] : sources_) {
    if (source->opening && !source->fixed) return;
  }
  engine_->deliver(std::move(ready_notice_));
  ready_signal_->set(Error());
}

// --- events ----------------------------------------------------------------

void Reader::deliver(Ref<MessageBatch> batch) {
  int64_t bytes = 0;
  for (const Message& m : batch->messages) bytes += m.bytes;
  const auto count = static_cast<int64_t>(batch->messages.size());
  untaken_.fetch_add(count);
  untaken_bytes_.fetch_add(bytes);
  delivered_.fetch_add(static_cast<uint64_t>(count), std::memory_order_relaxed);
  engine_->deliver(std::move(batch));
}

// Large events are to be felt at once, small ones by and by.
void Reader::learn_size(size_t events, int64_t bytes) {
  const int64_t mean = bytes / static_cast<int64_t>(std::max<size_t>(events, 1));
  if (mean == 0) return;
  average_bytes_ = average_known_ ? std::max(mean, (average_bytes_ * 7 + mean) / 8) : mean;
  average_known_ = true;
}

// Hands out the entries in parts: the cursor and the counters move when a part is handed over, and
// not before.
bool Reader::read(uint32_t index, const pulse_event_id& after, Reply& reply, size_t limit) {
  auto at = sources_.find(index);
  if (at == sources_.end() || ended_) return true;
  Source& source = *at->second;
  if (wanted() == 0 || id_less(source.cursor.id(), after)) return false;
  const size_t entries = reply.next().elements();
  if (entries == 0) return true;
  Cursor cursor = source.cursor;
  if (cursor.take_vanished()) {
    CursorNews news;
    news.recreated = true;
    tell_news(source, cursor, news);
    source.cursor = cursor;
  }
  source.last_error = last_error_ = PULSE_OK;
  source.silent = false;
  if (entries >= limit) source.check = true;  // it lags: entries may be trimmed ahead of it
  const int64_t room = options_.buffer < 0 ? INT64_MAX : options_.buffer - untaken_.load();
  const int64_t room_bytes =
      options_.buffer_bytes < 0 ? INT64_MAX : options_.buffer_bytes - untaken_bytes_.load();
  Ref<MessageBatch> batch;
  uint64_t filtered = 0;
  auto hand_over = [&] {
    if (batch && !batch->messages.empty()) {
      batch->fit();
      deliver(std::move(batch));
    }
    batch = nullptr;
    source.cursor = cursor;
    filtered_.fetch_add(std::exchange(filtered, 0), std::memory_order_relaxed);
  };
  int64_t count = 0, bytes = 0, all_bytes = 0;
  size_t i = 0;
  for (; i < entries && count < room && bytes < room_bytes; i++) {
    if (!batch) {
      batch = make_ref<MessageBatch>(Ref<Deliverer>::share(this), target_, source.stream, 0,
                                     reply.slab(), source.gate);
      batch->messages.reserve(std::min<size_t>(entries - i, 1024));
    }
    Message message;
    const EntryKind kind = parse_entry(reply, &message, &batch->headers);
    all_bytes += message.bytes;
    const bool is_new = id_less(cursor.id(), message.id);
    if (is_new && kind == EntryKind::message && filter_->passes(message.topic)) {
      batch->messages.push_back(message);
      cursor.advance(message.id);
      count++;
      bytes += message.bytes;
      continue;
    }
    batch->headers.resize(batch->headers.size() - message.header_count);
    if (!is_new) continue;
    if (kind == EntryKind::message) {
      cursor.advance(message.id);
      filtered++;
      continue;
    }
    Ref<Notice> malformed = notice(PULSE_EVENT_MALFORMED, &source);
    malformed->id = message.id;
    hand_over();
    cursor.advance(message.id);
    source.cursor = cursor;
    malformed_.fetch_add(1, std::memory_order_relaxed);
    engine_->deliver(std::move(malformed));
  }
  hand_over();
  learn_size(i, all_bytes);
  reads_.fetch_add(1, std::memory_order_relaxed);
  return i == entries;
}

void Reader::checked(uint32_t index, Reply* reply, const Error& error) {
  auto at = sources_.find(index);
  if (at == sources_.end()) return;
  Source& source = *at->second;
  StreamState state;
  Error problem = error;
  if (reply != nullptr) {
    problem = parse_stream_state(*reply, &state);
  } else if (error.message().find("no such key") != std::string_view::npos) {
    problem = Error();
  }
  // Without permission for it there are no gaps to tell; reading goes on.
  if (problem.ok()) {
    Cursor cursor = source.cursor;
    CursorNews news = cursor.look(state);
    tell_news(source, cursor, news);
    source.cursor = cursor;
  }
  source.check = false;
}

void Reader::read_failed(uint32_t index, const Error& error) {
  auto at = sources_.find(index);
  if (at != sources_.end()) tell_error(at->second.get(), &at->second->last_error, error);
}

void Reader::reads_failed(const Error& error) { tell_error(nullptr, &last_error_, error); }

// A look at some of the streams that have brought nothing since the last call, in turn.
void Reader::look_around() {
  auto at = sources_.lower_bound(next_look_);
  size_t looks = 0;
  for (size_t i = 0; i < sources_.size() && looks < kLooks; i++, ++at) {
    if (at == sources_.end()) at = sources_.begin();
    Source& source = *at->second;
    if (!std::exchange(source.silent, true)) continue;
    source.check = true;
    looks++;
  }
  next_look_ = at == sources_.end() ? 0 : at->first;
  if (looks > 0) ReadLanes::of(*engine_).changed(*this);
}

void Reader::lane_ready() {
  connected_ = true;
  if (!disconnected_) return;
  for (auto& [index, source] : sources_) source->check = true;
  Ref<Notice> back = notice(PULSE_EVENT_RECONNECTED, nullptr);
  disconnected_ = false;
  last_error_ = PULSE_OK;
  reconnects_.fetch_add(1, std::memory_order_relaxed);
  engine_->deliver(std::move(back));
}

void Reader::lane_lost(const Error& error) {
  if (!connected_ || disconnected_) {
    // What waiting does not mend is told; the rest says no more than "still not connected".
    if ((error.flags() & PULSE_ERROR_RETRIABLE) == 0 || error.code() == PULSE_ERR_MAX_CLIENTS) {
      tell_error(nullptr, &last_error_, error);
    }
    return;
  }
  // Even if there is no memory to tell it, the streams are to be looked at.
  disconnected_ = true;
  Ref<Notice> lost = notice(PULSE_EVENT_DISCONNECTED, nullptr);
  lost->error = error;
  engine_->deliver(std::move(lost));
}

// --- notices ---------------------------------------------------------------

Ref<Notice> Reader::notice(pulse_event_kind kind, const Source* source) {
  auto made = make_ref<Notice>(
      target_, kind,
      source == nullptr ? std::string_view() : std::string_view(source->stream->name()));
  made->owner = Ref<Deliverer>::share(this);
  return made;
}

void Reader::tell_news(Source& source, const Cursor& cursor, const CursorNews& news) {
  Ref<Notice> recreated, gap;
  if (news.recreated) recreated = notice(PULSE_EVENT_RECREATED, &source);
  if (news.gap) {
    gap = notice(PULSE_EVENT_GAP, &source);
    gap->id = news.after;
    gap->id_end = news.before;
    gap->count = news.missing;
  }
  if (recreated) {
    recreated->id = cursor.id();
    engine_->deliver(std::move(recreated));
  }
  if (gap) {
    gaps_.fetch_add(1, std::memory_order_relaxed);
    engine_->deliver(std::move(gap));
  }
}

// Each error is told once, until it changes or reading works again.
void Reader::tell_error(Source* source, pulse_status* last, const Error& error) {
  if (*last == error.code()) return;
  Ref<Notice> failed = notice(PULSE_EVENT_READ_ERROR, source);
  failed->error = error;
  *last = error.code();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    reading_error_ = error;
  }
  engine_->deliver(std::move(failed));
}

Error Reader::ready_wait(int64_t timeout_ms) {
  constexpr std::string_view kNotYet = "the reader does not receive yet";
  Error error = engine_->wait_for(*ready_signal_, timeout_ms, kNotYet);
  if (error.code() != PULSE_ERR_TIMEOUT) return error;
  std::lock_guard<std::mutex> lock(mutex_);
  if (reading_error_.ok()) return error;
  return Error::make(PULSE_ERR_TIMEOUT, PULSE_ERROR_RETRIABLE, "{}: {}", kNotYet,
                     reading_error_.message());
}

void Reader::metrics(pulse_reader_metrics* out) const {
  auto load = [](const std::atomic<uint64_t>& a) { return a.load(std::memory_order_relaxed); };
  out->delivered = load(delivered_);
  out->filtered = load(filtered_);
  out->malformed = load(malformed_);
  out->gaps = load(gaps_);
  out->reads = load(reads_);
  out->buffered = static_cast<uint64_t>(std::max<int64_t>(untaken_.load(), 0));
  out->buffered_bytes = static_cast<uint64_t>(std::max<int64_t>(untaken_bytes_.load(), 0));
  out->streams = load(stream_count_);
  out->reconnects = load(reconnects_);
}

}  // namespace pulseengine
