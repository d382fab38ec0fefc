// The commands that a lane sends.  Private to read_lane*.cc.
#ifndef PULSE_STREAMING_READ_LANE_COMMANDS_H
#define PULSE_STREAMING_READ_LANE_COMMANDS_H

#include "scripts.h"
#include "streaming/read_lane.h"

namespace pulseengine {

// A look at the state of a reader's stream, right before a read.
class ReadLane::Check final : public LaneCommand {
 public:
  Check(ReadLane& lane, LaneTrack& track)
      : LaneCommand(lane), how(track.question), track_(Ref<LaneTrack>::share(&track)) {}

  const StreamQuestion how;

  void format(CommandWriter& writer) override {
    ask_stream_state(writer, how, eval, track_->feed->key);
  }
  const Script* script() const override { return script_of(how); }
  void replied(Reply& reply) override { lane_->checked(*this, &reply, Error()); }
  void failed(const Error& error) override { lane_->checked(*this, nullptr, error); }
  LaneTrack& track() { return *track_; }

 private:
  const Ref<LaneTrack> track_;
};

// The newest id of a sink's stream.
class ReadLane::Tip final : public LaneCommand {
 public:
  Tip(ReadLane& lane, LaneTrack& track)
      : LaneCommand(lane), track_(Ref<LaneTrack>::share(&track)) {}

  bool by_text = false;  // the script's text was sent at first, not only after NOSCRIPT

  void format(CommandWriter& writer) override {
    ask_stream_state(writer, StreamQuestion::script, eval, track_->feed->key);
  }
  const Script* script() const override { return &scripts::stream_info; }
  void replied(Reply& reply) override { lane_->tip_replied(*this, &reply); }
  void failed(const Error&) override { lane_->tip_replied(*this, nullptr); }
  LaneTrack& track() { return *track_; }

 private:
  const Ref<LaneTrack> track_;
};

// XREAD.
class ReadLane::CursorRead final : public LaneCommand {
 public:
  explicit CursorRead(ReadLane& lane) : LaneCommand(lane) {}

  Vector<Part> parts;
  size_t count = 1;
  int64_t block_ms = -1;  // negative: without BLOCK
  bool united = false;    // of all readers that are not behind, and of waiting sinks
  bool hot = false;       // only the streams that had events lately

  void format(CommandWriter& writer) override {
    writer.begin(4 + (block_ms >= 0 ? 2 : 0) + 2 * parts.size());
    writer.arg("XREAD");
    writer.arg("COUNT");
    writer.arg(static_cast<int64_t>(count));
    if (block_ms >= 0) {
      writer.arg("BLOCK");
      writer.arg(block_ms);
    }
    writer.arg("STREAMS");
    if (united) {
      writer.raw(lane_->union_keys_[hot ? 1 : 0].text);
    } else {
      for (const Part& part : parts) writer.arg(std::string_view(part.feed->key));
    }
    for (const Part& part : parts) {
      if (part.newest) {
        writer.arg("$");
      } else {
        const pulse_event_id after = sent_position(part.after);
        writer.arg_id(after.ms, after.seq);
      }
    }
  }
  void replied(Reply& reply) override { lane_->cursor_replied(*this, reply); }
  void failed(const Error& error) override { lane_->cursor_failed(*this, error); }
};

// XREADGROUP.
class ReadLane::GroupRead final : public LaneCommand {
 public:
  GroupRead(ReadLane& lane, LaneMember& reader)
      : LaneCommand(lane), member(Ref<LaneMember>::share(&reader)) {}

  const Ref<LaneMember> member;
  Vector<Ref<LaneTrack>> tracks;
  size_t count = 1;
  int64_t block_ms = -1;
  bool shared = false;
  size_t on_the_way = 0;  // what it counts for there

  void format(CommandWriter& writer) override {
    const GroupReads& sink = *member->group;
    writer.begin(7 + (block_ms >= 0 ? 2 : 0) + (sink.no_ack() ? 1 : 0) + 2 * tracks.size());
    writer.arg("XREADGROUP");
    writer.arg("GROUP");
    writer.arg(std::string_view(sink.group()));
    writer.arg(std::string_view(sink.consumer()));
    writer.arg("COUNT");
    writer.arg(static_cast<int64_t>(count));
    if (block_ms >= 0) {
      writer.arg("BLOCK");
      writer.arg(block_ms);
    }
    if (sink.no_ack()) writer.arg("NOACK");
    writer.arg("STREAMS");
    for (const Ref<LaneTrack>& track : tracks) writer.arg(std::string_view(track->feed->key));
    for (size_t i = 0; i < tracks.size(); i++) writer.arg(">");
  }
  void replied(Reply& reply) override { lane_->group_replied(*this, reply); }
  void failed(const Error& error) override { lane_->group_failed(*this, error); }
};

}  // namespace pulseengine

#endif
