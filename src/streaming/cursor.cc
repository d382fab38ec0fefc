#include "streaming/cursor.h"

#include "scripts.h"

namespace pulseengine {

const Script* script_of(StreamQuestion how) {
  return how == StreamQuestion::script ? &scripts::stream_info : nullptr;
}

void ask_stream_state(CommandWriter& writer, StreamQuestion how, bool eval, std::string_view key) {
  if (how == StreamQuestion::info) {
    writer.command("XINFO", "STREAM", key);
    return;
  }
  writer.begin_script(scripts::stream_info, eval, 1, 0);
  writer.arg(key);
}

bool question_refused(const Error& error) {
  return error.code() == PULSE_ERR_PERMISSION ||
         error.message().find("unknown command") != std::string_view::npos;
}

Error parse_stream_state(Reply& reply, StreamState* state) {
  ReplyNode head = reply.next();
  if (head.is_nil()) {  // the script's word for "no such stream"
    *state = {};
    return {};
  }
  if (head.elements() == 2 && reply.peek().is_integer()) {  // the script's [PTTL, info]
    reply.skip();
    head = reply.next();
  }
  if (!head.is_array()) return unexpected_reply("XINFO STREAM", head);
  StreamState found;
  found.exists = true;
  auto number = [&](uint64_t* out) {
    if (!reply.peek().is_integer()) return;
    *out = static_cast<uint64_t>(reply.peek().integer);
  };
  for (size_t i = 0; i + 1 < head.elements(); i += 2) {
    if (!reply.peek().is_text()) return unexpected_reply("XINFO STREAM", reply.peek());
    const std::string_view field = reply.next().text;
    if (field == "length") {
      number(&found.length);
    } else if (field == "entries-added") {
      found.has_added = reply.peek().is_integer();
      number(&found.added);
    } else if (field == "last-generated-id") {
      if (!reply.peek().is_text() || !parse_id(reply.peek().text, &found.last_generated)) {
        return unexpected_reply("XINFO STREAM", reply.peek());
      }
    } else if (field == "first-entry") {
      Reply entry = reply;
      if (entry.next().elements() > 0 && entry.peek().is_text()) {
        parse_id(entry.peek().text, &found.first);
      }
    }
    reply.skip();
  }
  *state = found;
  return {};
}

void Cursor::start(Start start, const pulse_event_id& id) {
  *this = Cursor();
  start_ = start;
  id_ = id;
}

void Cursor::start_newest(const StreamState& state) {
  *this = Cursor();
  start_ = Start::newest;
  first_ = false;
  id_ = state.last_generated;
  attached_ = !id_equal(id_, {0, 0});
  position_known_ = state.has_added || !state.exists;
  position_ = state.added;
}

void Cursor::advance(const pulse_event_id& id) {
  id_ = id;
  position_++;
  attached_ = seen_ = true;
  first_ = false;
}

bool Cursor::take_vanished() { return std::exchange(vanished_, false); }

void Cursor::gap(const StreamState& state, uint64_t missing, CursorNews* news) {
  news->gap = true;
  news->missing = missing;
  news->after = id_;
  news->before = state.first;
  if (state.length == 0) {
    news->before = state.last_generated;
    if (++news->before.seq == 0) news->before.ms++;
    id_ = state.last_generated;
  }
  seen_ = false;
}

CursorNews Cursor::look(const StreamState& state) {
  CursorNews news;
  if (!state.exists) {
    // Whatever comes next is of another stream, whatever its ids.
    if (attached_) {
      id_ = {0, 0};
      position_known_ = true;
      position_ = 0;
      attached_ = seen_ = false;
      vanished_ = true;
    } else if (id_equal(id_, {0, 0})) {
      // It starts with nothing behind the cursor.
      first_ = false;
      position_known_ = true;
      position_ = 0;
    }
    return news;
  }
  if (vanished_) {
    vanished_ = false;
    news.recreated = true;
  }
  if (attached_ && id_less(state.last_generated, id_)) {
    news.recreated = true;
    id_ = {0, 0};
    position_known_ = state.has_added;
    position_ = 0;
    attached_ = seen_ = first_ = false;
  }
  // Nothing is left at or before the cursor.
  const bool tail = state.length == 0 || id_less(id_, state.first);
  if (first_) {
    first_ = false;
    first_look(state, tail, &news);
  } else if (state.has_added) {
    if (position_known_ &&
        (state.added < position_ || (tail && state.added - position_ < state.length))) {
      // The numbers do not fit: it was made anew while we read on.
      news.recreated = true;
      position_known_ = false;
      seen_ = false;
    }
    if (tail) {
      if (position_known_ && state.added - position_ > state.length) {
        gap(state, state.added - position_ - state.length, &news);
      } else if (!position_known_ && seen_ && id_less(id_, state.last_generated)) {
        gap(state, 0, &news);
      }
      position_known_ = true;
      position_ = state.added - state.length;
    } else if (id_equal(id_, state.last_generated)) {
      position_known_ = true;
      position_ = state.added;
    }
  } else {
    position_known_ = false;
    // Only an entry of ours that is gone says that its successors may be gone too.
    if (tail && seen_ && id_less(id_, state.last_generated)) gap(state, 0, &news);
  }
  if (!id_less(state.last_generated, id_) && !id_equal(id_, {0, 0})) attached_ = true;
  return news;
}

void Cursor::first_look(const StreamState& state, bool tail, CursorNews* news) {
  if (tail) {
    const bool untouched = state.has_added && state.added == state.length;
    if (start_ == Start::after && !id_equal(id_, {0, 0}) && id_less(id_, state.last_generated) &&
        !untouched) {
      gap(state, 0, news);
    }
    position_known_ = state.has_added;
    position_ = state.added - state.length;
  } else if (state.has_added && id_equal(id_, state.last_generated)) {
    position_known_ = true;
    position_ = state.added;
  }
}

}  // namespace pulseengine
