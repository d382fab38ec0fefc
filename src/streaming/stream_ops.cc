#include "streaming/stream_ops.h"

#include <algorithm>

#include "scripts.h"
#include "streaming/message.h"

namespace pulseengine {
namespace {

// RESP around an argument: "$<length>\r\n" and "\r\n".
constexpr size_t kArgumentOverhead = 16;

size_t size_on_wire(const Stream& stream, const AddItem& item) {
  size_t size = stream.add_prefix().size() + item.name.size() + item.payload_view().size() +
                item.topic.size() + 12 * kArgumentOverhead;
  for (size_t i = 0; i < item.header_count; i++) {
    size += item.headers[i].name_len + item.headers[i].value_len + 2 * kArgumentOverhead;
  }
  return size;
}

// The one way an event is written: XADD, or the script where XADD does not do.
class AddFormat {
 public:
  AddFormat(Stream& stream, bool only_if_exists)
      : stream_(stream),
        only_if_exists_(only_if_exists),
        scripted_(stream.any_ttl_ms() > 0 ||
                  (only_if_exists && !stream.engine().server_copy().has_nomkstream())) {}

  bool scripted() const { return scripted_; }

  void write(CommandWriter& w, const AddItem& item, bool eval) const {
    bool trim = stream_.options().max_len >= 0 && stream_.trim_now();
    if (!trim && !scripted_ && !only_if_exists_ && !item.has_topic && item.header_count == 0 &&
        item.payload_bytes == nullptr) {
      const String& prefix = stream_.plain_add_prefix();
      CommandWriter::Room room(
          w, prefix.size() + item.name.size() + item.payload.size() + 3 * CommandWriter::kAround);
      room.raw(prefix);
      room.arg(item.name);
      room.raw(kPayloadField);
      room.arg(item.payload);
      return;
    }
    size_t fields = 4 + (item.has_topic ? 2 : 0) + 2 * item.header_count;
    if (scripted_) {
      w.begin_script(scripts::stream_add, eval, 1, 4 + fields);
      w.arg(std::string_view(stream_.key()));
      w.arg(std::string_view(only_if_exists_ ? "1" : "0"));
      w.arg(stream_.any_ttl_ms());
      w.arg(std::string_view(stream_.sliding() ? "1" : "0"));
      w.arg(trim ? stream_.options().max_len : int64_t{-1});
    } else {
      w.begin(3 + (only_if_exists_ ? 1 : 0) + (trim ? 3 : 0) + fields);
      w.raw(stream_.add_prefix());
      if (only_if_exists_) w.raw("$10\r\nNOMKSTREAM\r\n");
      if (trim) {
        w.raw("$6\r\nMAXLEN\r\n$1\r\n~\r\n");
        w.arg(stream_.options().max_len);
      }
      w.raw("$1\r\n*\r\n");
    }
    w.raw("$1\r\nn\r\n");
    w.arg(item.name);
    w.raw(kPayloadField);
    if (item.payload_bytes != nullptr && !scripted_) {
      w.arg(*item.payload_bytes);
    } else {
      w.arg(item.payload_view());
    }
    if (item.has_topic) {
      w.raw("$1\r\nt\r\n");
      w.arg(item.topic);
    }
    for (size_t i = 0; i < item.header_count; i++) {
      const pulse_header& h = item.headers[i];
      w.joined_arg("h:", {h.name, h.name_len});
      w.arg({h.value, h.value_len});
    }
  }

 private:
  static constexpr std::string_view kPayloadField = "$1\r\np\r\n";

  Stream& stream_;
  const bool only_if_exists_;
  const bool scripted_;
};

// The id in the reply to an add; 0-0 for nil (not added).
Error read_added(Reply& reply, pulse_event_id* id) {
  const ReplyNode& node = reply.next();
  if (node.is_nil()) return {};
  if (!node.is_text() || !parse_id(node.text, id)) return unexpected_reply("XADD", node);
  return {};
}

// Writes one event as a command.  The event and the stream belong to the caller and are there only
// for the first time; when the script turns out to be unknown, a copy serves.
class AddWriter {
 public:
  AddWriter(const AddFormat& format, const AddItem& item) : format_(format), item_(&item) {}

  void write(CommandWriter& w, bool eval) {
    if (item_ == nullptr) {
      w.as_eval(copy_, scripts::stream_add);
      return;
    }
    size_t before = w.size();
    format_.write(w, *item_, eval);
    if (format_.scripted()) copy_ = w.since(before);
    item_ = nullptr;
  }
  const Script* script() const { return format_.scripted() ? &scripts::stream_add : nullptr; }

 private:
  AddFormat format_;
  const AddItem* item_;
  String copy_;
};

// One event: the operation is its own command.
class AddOperation final : public Operation, public Command {
 public:
  AddOperation(const AddFormat& format, const AddItem& item, Target&& target)
      : Operation(PULSE_EVENT_ADDED, std::move(target)), writer_(format, item) {}
  static void* operator new(size_t, Recycler& memory) { return memory.take(); }
  static void operator delete(void* memory, Recycler&) noexcept { Recycler::give_back(memory); }
  static void operator delete(void* memory) noexcept { Recycler::give_back(memory); }

  void leaves_engine() override {
    Operation::leaves_engine();
    Recycler::keep_owner(this);
  }
  void format(CommandWriter& w) override { writer_.write(w, eval); }
  const Script* script() const override { return writer_.script(); }
  void replied(Reply& reply) override {
    if (!completed()) complete(read_added(reply, &event_id));
  }
  void failed(const Error& error) override { complete(error); }
  bool abandoned() const override { return completed(); }
  void sent() override { sent_any.store(true, std::memory_order_relaxed); }

 private:
  AddWriter writer_;
};

class BatchOperation final : public Operation {
 public:
  BatchOperation(Ref<Stream> stream, size_t count, Target target)
      : Operation(PULSE_EVENT_BATCH_ADDED, std::move(target)),
        stream_(std::move(stream)),
        left_(count) {
    pending_results.resize(count);
  }
  // Loop thread.
  void item_done(size_t index, const Error& error) {
    pulse_result& result = pending_results[index];
    result.status = error.code();
    result.flags = error.flags();
    if (!error.ok() && first_error_.ok()) first_error_ = error;
    if (--left_ > 0 || completed()) return;
    results = std::move(pending_results);
    complete(first_error_);
  }

  Vector<pulse_result> pending_results;

 private:
  Ref<Stream> stream_;
  size_t left_;
  Error first_error_;
};

class BatchItem final : public Command {
 public:
  BatchItem(Ref<BatchOperation> batch, size_t index, const AddFormat& format, const AddItem& item)
      : batch_(std::move(batch)), index_(index), writer_(format, item) {}

  void format(CommandWriter& w) override { writer_.write(w, eval); }
  const Script* script() const override { return writer_.script(); }
  void replied(Reply& reply) override {
    pulse_event_id id{0, 0};
    Error error = read_added(reply, &id);
    if (!batch_->completed()) batch_->pending_results[index_].id = id;
    done(error);
  }
  void failed(const Error& error) override { done(error); }
  bool abandoned() const override { return batch_->completed(); }
  void sent() override { batch_->sent_any = true; }

 private:
  void done(const Error& error) {
    if (!batch_->completed()) batch_->item_done(index_, error);
  }

  Ref<BatchOperation> batch_;
  const size_t index_;
  AddWriter writer_;
};

// An operation of one repeatable command, made of two functions.
template <class Format, class Done>
class CallOperation final : public Operation, public Command {
 public:
  CallOperation(pulse_event_kind kind, Ref<Stream> stream, Target target, const Script* script,
                Format format, Done done)
      : Operation(kind, std::move(target)),
        stream_(std::move(stream)),
        script_(script),
        format_(std::move(format)),
        done_(std::move(done)) {}
  void format(CommandWriter& w) override { format_(w, eval); }
  void replied(Reply& reply) override {
    if (!completed()) complete(done_(*this, reply));
  }
  void failed(const Error& error) override { complete(error); }
  bool repeatable() const override { return true; }
  bool abandoned() const override { return completed(); }
  const Script* script() const override { return script_; }
  void sent() override { sent_any = true; }

 private:
  Ref<Stream> stream_;
  const Script* script_;
  Format format_;
  Done done_;
};

// An operation that is its own command, which make() makes.  All of it happens under one lock.
template <class Make>
Error start(Engine& engine, Connection& connection, size_t bytes, int64_t timeout_ms,
            Ref<Signal> signal, Ref<Operation>* out, uint64_t* id, Make make) {
  Error error = engine.admit(connection, bytes);
  if (!error.ok()) return error;
  Ref<Command> command;  // outlives the lock: its end may call the host
  Connection::Submission submission(connection);
  auto* operation = make();
  command = Ref<Command>::adopt(operation);
  if (signal) operation->set_signal(std::move(signal));
  error = engine.accept_with(*operation, timeout_ms, [&] { return submission.submit(command); });
  if (!error.ok()) return error;
  if (id != nullptr) *id = operation->id();
  if (out != nullptr) *out = Ref<Operation>::share(operation);
  return {};
}

template <class Format, class Done>
Error start_call(pulse_event_kind kind, Engine& engine, Connection& connection, Ref<Stream> stream,
                 size_t bytes, int64_t timeout_ms, Target target, Ref<Signal> signal,
                 const Script* script, Format format, Done done, Ref<Operation>* out) {
  using Op = CallOperation<Format, Done>;
  Ref<Op> operation = make_ref<Op>(kind, std::move(stream), std::move(target), script,
                                   std::move(format), std::move(done));
  if (kind == PULSE_EVENT_INFO) operation->stream_info = make_owned<Operation::StreamInfo>();
  return start(engine, connection, bytes, timeout_ms, std::move(signal), out, nullptr,
               [&] { return operation.release(); });
}

}  // namespace

Error check_any_item(const Engine& engine, const AddItem& item) {
  if (item.name.empty()) return Error(PULSE_ERR_INVALID, "an event needs a name");
  auto too_large = [](std::string_view what, size_t size) {
    return Error::make(PULSE_ERR_TOO_LARGE, 0, "{} of {} bytes is larger than {}", what, size,
                       int{PULSE_MAX_NAME_BYTES});
  };
  if (item.name.size() > PULSE_MAX_NAME_BYTES) return too_large("a name", item.name.size());
  if (item.topic.size() > PULSE_MAX_NAME_BYTES) return too_large("a topic", item.topic.size());
  if (item.header_count > PULSE_MAX_HEADERS) {
    return Error::make(PULSE_ERR_INVALID, 0, "{} headers are more than {}", item.header_count,
                       int{PULSE_MAX_HEADERS});
  }
  for (size_t i = 0; i < item.header_count; i++) {
    const pulse_header& h = item.headers[i];
    if (h.name == nullptr || h.name_len == 0 || (h.value == nullptr && h.value_len > 0)) {
      return Error::make(PULSE_ERR_INVALID, 0, "header {} has no name or no value", i);
    }
    if (h.name_len > PULSE_MAX_NAME_BYTES) return too_large("a header's name", h.name_len);
    if (h.value_len > PULSE_MAX_NAME_BYTES) return too_large("a header's value", h.value_len);
  }
  if (item.payload_view().size() > static_cast<size_t>(engine.config().max_payload_bytes)) {
    return Error::make(PULSE_ERR_TOO_LARGE, 0,
                       "a payload of {} bytes is larger than max_payload_bytes ({})",
                       item.payload_view().size(), engine.config().max_payload_bytes);
  }
  return {};
}

Error add_event(Stream& stream, const AddItem& item, bool only_if_exists, int64_t timeout_ms,
                Target&& target, Ref<Signal> signal, Ref<Operation>* out, uint64_t* id) {
  static_assert(sizeof(AddOperation) <= Engine::kOperationBytes);
  Engine& engine = stream.engine();
  const AddFormat format(stream, only_if_exists);
  return start(engine, stream.connection(), size_on_wire(stream, item), timeout_ms,
               std::move(signal), out, id, [&] {
                 return new (engine.operation_memory())
                     AddOperation(format, item, std::move(target));
               });
}

Error add_batch(Stream& stream, const AddItem* items, size_t count, bool only_if_exists,
                int64_t timeout_ms, Target target, Ref<Signal> signal, Ref<Operation>* out) {
  Engine& engine = stream.engine();
  const AddFormat format(stream, only_if_exists);
  size_t bytes = 0;
  for (size_t i = 0; i < count; i++) bytes += size_on_wire(stream, items[i]);
  Error error = engine.admit(stream.connection(), bytes);
  if (!error.ok()) return error;
  auto batch = make_ref<BatchOperation>(Ref<Stream>::share(&stream), count, std::move(target));
  Vector<Ref<Command>> commands;
  commands.reserve(count);
  for (size_t i = 0; i < count; i++) {
    commands.push_back(make_ref<BatchItem>(batch, i, format, items[i]));
  }
  batch->set_signal(std::move(signal));
  // All in one step: either all are queued, next to each other, or none is.
  Connection::Submission submission(stream.connection());
  error = engine.accept_with(*batch, timeout_ms, [&] { return submission.submit_all(commands); });
  if (error.ok()) *out = batch;
  return error;
}

Error remove_events(Stream& stream, const pulse_event_id* ids, size_t count, int64_t timeout_ms,
                    Target target, Ref<Signal> signal, Ref<Operation>* out) {
  Vector<pulse_event_id> list(ids, ids + count);
  auto* s = &stream;
  return start_call(
      PULSE_EVENT_REMOVED, stream.engine(), stream.connection(), Ref<Stream>::share(&stream),
      count * 40, timeout_ms, std::move(target), std::move(signal), nullptr,
      [s, list = std::move(list)](CommandWriter& w, bool) {
        w.begin(2 + list.size());
        w.arg("XDEL");
        w.arg(std::string_view(s->key()));
        for (const pulse_event_id& id : list) w.arg_id(id.ms, id.seq);
      },
      [](Operation& op, Reply& reply) -> Error {
        const ReplyNode& node = reply.next();
        if (!node.is_integer()) return unexpected_reply("XDEL", node);
        op.count = static_cast<uint64_t>(node.integer);
        return {};
      },
      out);
}

Error destroy_stream(Stream& stream, int64_t timeout_ms, Target target, Ref<Signal> signal,
                     Ref<Operation>* out) {
  auto* s = &stream;
  Engine& engine = stream.engine();
  String map = engine.key("map:stream:", stream.name(), ":sinks:content");
  String channel = engine.key("map:stream:", stream.name(), ":sinks:updates");
  return start_call(
      PULSE_EVENT_DESTROYED, engine, stream.connection(), Ref<Stream>::share(&stream), 2048,
      timeout_ms, std::move(target), std::move(signal), &scripts::stream_destroy,
      [s, map, channel](CommandWriter& w, bool eval) {
        w.begin_script(scripts::stream_destroy, eval, 2, 1);
        w.arg(std::string_view(s->key()));
        w.arg(std::string_view(map));
        w.arg(std::string_view(channel));
      },
      [](Operation& op, Reply& reply) -> Error {
        const ReplyNode& node = reply.next();
        if (!node.is_integer()) return unexpected_reply("DEL", node);
        op.count = static_cast<uint64_t>(node.integer);
        return {};
      },
      out);
}

namespace {

// The PTTL, and [field, value, ...] of XINFO STREAM with entries as [id], as the script returns
// them.
Error read_info(Reply& reply, pulse_stream_info* info) {
  info->size = sizeof *info;
  const ReplyNode& outer = reply.next();
  if (outer.is_nil()) return {};
  if (outer.elements() != 2) return unexpected_reply("XINFO STREAM", outer);
  info->exists = 1;
  const ReplyNode& ttl = reply.next();
  info->ttl_ms = ttl.is_integer() && ttl.integer >= 0 ? ttl.integer : -1;
  size_t fields = reply.next().elements() / 2;
  for (size_t i = 0; i < fields; i++) {
    std::string_view name = reply.next().text;
    const ReplyNode& value = reply.peek();
    auto number = static_cast<uint64_t>(value.integer);
    if (name == "length") {
      info->length = number;
    } else if (name == "groups") {
      info->groups = number;
    } else if (name == "entries-added") {
      info->entries_added = number;
    } else if (name == "last-generated-id") {
      parse_id(value.text, &info->last_generated_id);
    } else if ((name == "first-entry" || name == "last-entry") && value.elements() > 0) {
      Reply entry = reply;
      entry.next();
      parse_id(entry.next().text, name == "first-entry" ? &info->first_id : &info->last_id);
    }
    reply.skip();
  }
  return {};
}

}  // namespace

Error stream_info(Stream& stream, int64_t timeout_ms, Target target, Ref<Signal> signal,
                  Ref<Operation>* out) {
  auto* s = &stream;
  return start_call(
      PULSE_EVENT_INFO, stream.engine(), stream.connection(), Ref<Stream>::share(&stream), 1024,
      timeout_ms, std::move(target), std::move(signal), &scripts::stream_info,
      [s](CommandWriter& w, bool eval) {
        w.begin_script(scripts::stream_info, eval, 1, 0);
        w.arg(std::string_view(s->key()));
      },
      [](Operation& op, Reply& reply) -> Error { return read_info(reply, &op.stream_info->value); },
      out);
}

Error ping(Engine& engine, int64_t timeout_ms, Target target, Ref<Signal> signal,
           Ref<Operation>* out) {
  int64_t begin = monotonic_us();
  return start_call(
      PULSE_EVENT_PONG, engine, engine.connection_for({}), nullptr, 64, timeout_ms,
      std::move(target), std::move(signal), nullptr,
      [](CommandWriter& w, bool) { w.command("PING"); },
      [begin](Operation& op, Reply&) -> Error {
        op.count = static_cast<uint64_t>(monotonic_us() - begin);
        return {};
      },
      out);
}

}  // namespace pulseengine
