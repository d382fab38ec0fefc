// Memory ends at the Nth allocation, for N = 1, 2, ... : each call answers PULSE_ERR_NO_MEMORY or
// what it was asked for comes about later; nothing crashes, hangs or leaks, and each target is
// destroyed exactly once.
#include "short_memory.h"

namespace {

void add_some(World& world) {
  pulse_error error = PULSE_ERROR_INIT;
  std::string payload(30000, 'p');
  for (bool polled : {false, true}) {
    pulse_target target = world.target(polled);
    world.started(
        pulse_stream_add(world.stream, "add", 3, "payload", 7, nullptr, &target, nullptr, &error),
        error, "add");
  }
  {
    pulse_target target = world.target(true);
    pulse_header header = {"name", 4, "value", 5};
    pulse_add_options options = PULSE_ADD_OPTIONS_INIT;
    options.headers = &header;
    options.header_count = 1;
    options.topic = "topic";
    options.topic_len = 5;
    options.only_if_exists = 1;
    world.started(pulse_stream_add(world.stream, "add", 3, payload.data(), payload.size(), &options,
                                   &target, nullptr, &error),
                  error, "add with options");
  }
  pulse_bytes* bytes = pulse_bytes_new(payload.data(), payload.size());
  if (bytes != nullptr) {
    pulse_target target = world.target(true);
    world.started(
        pulse_stream_add_bytes(world.stream, "add", 3, bytes, nullptr, &target, nullptr, &error),
        error, "add_bytes");
    pulse_bytes_unref(bytes);
  }
  std::vector<pulse_add_item> items(5);
  for (pulse_add_item& item : items) item = {"add", 3, "payload", 7, nullptr, 0, nullptr, 0};
  pulse_target target = world.target(true);
  world.started(pulse_stream_add_batch(world.stream, items.data(), sizeof items[0], items.size(),
                                       nullptr, &target, nullptr, &error),
                error, "add_batch");
}

TEST_P(Allocation, OpenAddAndClose) {
  at_each_allocation(400, [](World& world, const std::function<void()>& arm) {
    arm();
    if (!world.open()) return;
    add_some(world);
    pulse_error error = PULSE_ERROR_INIT;
    pulse_event_id id = {0, 0};
    if (world.ok(pulse_stream_add_wait(world.stream, "add", 3, "x", 1, nullptr, &id, TS_DEADLINE_MS,
                                       &error),
                 error, "add_wait")) {
      world.added++;
    }
    ASSERT_TRUE(world.pump_until([&] { return world.all_complete(); }));
    memory.disarm();
    // What was answered with an id is there.
    EXPECT_LE(world.added, ts_command_integer(server, "XLEN", "pulse:stream:events", nullptr));
  });
}

TEST_P(Allocation, TheOtherCalls) {
  at_each_allocation(200, [](World& world, const std::function<void()>& arm) {
    ASSERT_TRUE(world.open());
    pulse_error error = PULSE_ERROR_INIT;
    pulse_event_id id = {1, 0};
    arm();
    pulse_target ping = world.target(true), info = world.target(false), remove = world.target(true);
    world.started(pulse_engine_ping(world.engine, &ping, nullptr, &error), error, "ping");
    world.started(pulse_stream_info_get(world.stream, &info, nullptr, &error), error, "info");
    world.started(pulse_stream_remove(world.stream, &id, 1, &remove, nullptr, &error), error,
                  "remove");
    pulse_stream_info got = {};
    got.size = sizeof got;
    world.ok(pulse_stream_info_wait(world.stream, &got, TS_DEADLINE_MS, &error), error,
             "info_wait");
    world.ok(pulse_stream_destroy_wait(world.stream, TS_DEADLINE_MS, &error), error,
             "destroy_wait");
    char text[64];
    pulse_engine_get_server(world.engine, text, sizeof text);
    ASSERT_TRUE(world.pump_until([&] { return world.all_complete(); }));
  });
}

// The connection is lost while commands wait: the way back needs memory too.
TEST_P(Allocation, LosingTheConnection) {
  at_each_allocation(200, [](World& world, const std::function<void()>& arm) {
    ASSERT_TRUE(world.open());
    pulse_error error = PULSE_ERROR_INIT;
    world.connections_are_killed = true;
    arm();
    for (int i = 0; i < 5; i++) {
      ts_reply_free(ts_command(server, "CLIENT", "KILL", "TYPE", "normal", nullptr));
      for (int k = 0; k < 5; k++) {
        pulse_target target = world.target(true);
        world.started(pulse_stream_info_get(world.stream, &target, nullptr, &error), error, "info");
      }
      world.pump(1);
    }
    ASSERT_TRUE(world.pump_until([&] { return world.all_complete(); }));
    memory.disarm();
    EXPECT_EQ(pulse_engine_ready_wait(world.engine, TS_DEADLINE_MS, &error), PULSE_OK)
        << error.message;
  });
}

void add_ten(World& world) {
  pulse_error error = PULSE_ERROR_INIT;
  for (int i = 0; i < 10; i++) {
    std::string name = "event" + std::to_string(i);
    ASSERT_EQ(pulse_stream_add_wait(world.stream, name.data(), name.size(), "payload", 7, nullptr,
                                    nullptr, TS_DEADLINE_MS, &error),
              PULSE_OK);
  }
}

// Waits until a reader or sink receives.  One that has no memory to begin closes by itself, and
// says so.
bool becomes_ready(World& world, const std::function<pulse_status()>& wait) {
  for (;;) {
    pulse_status status = wait();
    if (status == PULSE_OK) return true;
    EXPECT_GT(memory.failed, 0) << pulse_status_name(status);
    world.pump(1);
    if (status == PULSE_ERR_NO_MEMORY && !world.ended) continue;
    EXPECT_TRUE(status == PULSE_ERR_NO_MEMORY || status == PULSE_ERR_CLOSED)
        << pulse_status_name(status);
    EXPECT_TRUE(world.pump_until([&] { return world.ended; }));
    EXPECT_EQ(world.close_status, PULSE_ERR_NO_MEMORY);
    return false;
  }
}

TEST_P(Allocation, ReadAndClose) {
  at_each_allocation(300, [](World& world, const std::function<void()>& arm) {
    ASSERT_TRUE(world.open());
    add_ten(world);
    arm();
    pulse_error error = PULSE_ERROR_INIT;
    pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
    options.start = PULSE_START_OLDEST;
    options.max_polled = 4;
    pulse_target target = world.target(true);
    if (!world.ok(pulse_reader_open(world.stream, &options, &target, &world.reader, &error), error,
                  "reader_open")) {
      return;
    }
    if (!becomes_ready(
            world, [&] { return pulse_reader_ready_wait(world.reader, TS_DEADLINE_MS, &error); })) {
      return;
    }
    ASSERT_TRUE(world.pump_until([&] { return world.messages.size() >= 10; }))
        << world.messages.size();
    for (size_t i = 0; i < world.messages.size(); i++) {
      ASSERT_EQ(world.messages[i], "event" + std::to_string(i));  // none twice, none missed
    }
    while (!world.ok(pulse_reader_close_wait(world.reader, TS_DEADLINE_MS, &error), error,
                     "reader_close_wait") &&
           !testing::Test::HasFailure()) {
    }
  });
}

TEST_P(Allocation, SinkAckAndClose) {
  const bool each_by_itself = std::get<1>(GetParam()) == 4;
  at_each_allocation(300, [=](World& world, const std::function<void()>& arm) {
    ASSERT_TRUE(world.open());
    add_ten(world);
    arm();
    pulse_error error = PULSE_ERROR_INIT;
    pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
    options.start = PULSE_START_OLDEST;
    options.max_polled = 4;
    options.ack_grace_ms = 400;
    options.no_ack_coalescing = each_by_itself ? 1 : 0;
    pulse_target target = world.target(true);
    if (!world.ok(pulse_sink_open(world.stream, "group", 5, &options, &target, &world.sink, &error),
                  error, "sink_open")) {
      return;
    }
    if (!becomes_ready(world,
                       [&] { return pulse_sink_ready_wait(world.sink, TS_DEADLINE_MS, &error); })) {
      return;
    }
    ASSERT_TRUE(world.pump_until([&] { return world.ready_events == 1; })) << "nobody was told";
    // Acks that fail for want of memory are repeated: all ten are acked in the end.
    size_t next = 0;
    const auto pending = [&]() -> int64_t {
      ts_reply* reply = ts_command(server, "XPENDING", "pulse:stream:events", "group", nullptr);
      int64_t count = ts_reply_integer(ts_reply_at(reply, 0));
      ts_reply_free(reply);
      return count;
    };
    std::map<std::string, int> seen;
    ASSERT_TRUE(world.pump_until([&] {
      for (; next < world.acks.size(); next++) {
        seen[world.messages[next]]++;
        pulse_target ack = world.target(true);
        pulse_status status =
            pulse_sink_ack(world.sink, &world.acks[next], 1, &ack, nullptr, &error);
        world.started(status, error, "ack");
        if (status != PULSE_OK) {
          pulse_ack_handle again = world.acks[next];
          ack = world.target(true);
          world.started(pulse_sink_ack(world.sink, &again, 1, &ack, nullptr, &error), error,
                        "ack again");
        }
      }
      return seen.size() == 10 && world.all_complete();
    })) << seen.size()
        << " of 10 events seen, " << pending() << " pending";
    while (!world.ok(pulse_sink_close_wait(world.sink, TS_DEADLINE_MS, &error), error,
                     "sink_close_wait") &&
           !testing::Test::HasFailure()) {
    }
  });
}

void write_some(World& world) {
  pulse_error error = PULSE_ERROR_INIT;
  const auto started = [&](pulse_status status) { world.started(status, error, "write"); };
  for (int i = 0; i < 4; i++) {
    const std::string key = "k" + std::to_string(i), value(static_cast<size_t>(100 * i), 'v');
    pulse_target target = world.target(i % 2 == 0);
    started(pulse_map_set(world.map, key.data(), key.size(), value.data(), value.size(), &target,
                          nullptr, &error));
  }
  pulse_target increment = world.target(true), append = world.target(true),
               erase = world.target(true), batch = world.target(true);
  started(pulse_map_increment(world.map, "n", 1, 5, &increment, nullptr, &error));
  const pulse_map_item items[] = {{"a", 1}, {"b", 1}};
  started(pulse_map_append(world.map, "l", 1, items, 2, &append, nullptr, &error));
  started(pulse_map_delete(world.map, "k1", 2, &erase, nullptr, &error));
  std::vector<pulse_map_batch_item> many(5);
  for (pulse_map_batch_item& item : many) item = {PULSE_MAP_OP_INCREMENT, 0, "n", 1, nullptr, 0, 1};
  started(pulse_map_batch(world.map, many.data(), sizeof many[0], many.size(), &batch, nullptr,
                          &error));
  pulse_map_result result = PULSE_MAP_RESULT_INIT;
  if (world.ok(pulse_map_set_and_wait_wait(world.map, "w", 1, "seen", 4, &result, TS_DEADLINE_MS,
                                           &error),
               error, "set_and_wait_wait")) {
    pulse_bytes_unref(result.value);
  }
}

using Content = std::map<std::string, std::string>;

Content content_of(ts_server* server) {
  Content content;
  ts_reply* reply = ts_command(server, "HGETALL", "map:m:content", nullptr);
  for (size_t i = 0; i + 1 < ts_reply_size(reply); i += 2) {
    const ts_reply *key = ts_reply_at(reply, i), *value = ts_reply_at(reply, i + 1);
    if (ts_reply_text(key)[0] == '=') continue;
    content[std::string(ts_reply_text(key), ts_reply_size(key))] =
        std::string(ts_reply_text(value), ts_reply_size(value));
  }
  ts_reply_free(reply);
  return content;
}

Content content_of(pulse_map* map) {
  Content content;
  pulse_map_snapshot* snapshot = nullptr;
  EXPECT_EQ(pulse_map_take_snapshot(map, &snapshot, nullptr), PULSE_OK);
  pulse_map_cursor cursor = {};
  pulse_map_entry entry;
  while (pulse_map_snapshot_next(snapshot, &cursor, &entry, sizeof entry, 1) == 1) {
    content[std::string(entry.key, entry.key_len)] = std::string(entry.value, entry.value_len);
  }
  pulse_map_snapshot_unref(snapshot);
  return content;
}

// A map is joined, watched and written to, and its subscription is lost: in the end the replica and
// what the watch told equal the hash.
TEST_P(Allocation, MapsGetBackInStep) {
  at_each_allocation(400, [](World& world, const std::function<void()>& arm) {
    ASSERT_TRUE(world.open());
    arm();
    pulse_error error = PULSE_ERROR_INIT;
    pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
    options.max_unnoticed_ms = 1000;
    pulse_target states = world.target(true);
    if (!world.ok(pulse_map_join(world.engine, "m", 1, &options, &states, &world.map, &error),
                  error, "map_join")) {
      return;
    }
    pulse_map_watch_options watched = PULSE_MAP_WATCH_OPTIONS_INIT;
    watched.mode = PULSE_WATCH_DELTAS;
    for (;;) {
      pulse_target changes = world.target(true);
      const pulse_status status =
          pulse_map_watch_open(world.map, &watched, &changes, &world.watch, &error);
      if (status == PULSE_ERR_CLOSED || world.ok(status, error, "watch_open")) break;
    }
    const auto wait_synced = [&] {
      for (;;) {
        const pulse_status status = pulse_map_wait_synced(world.map, TS_DEADLINE_MS, &error);
        if (status != PULSE_ERR_NO_MEMORY) return status;
        EXPECT_GT(memory.failed, 0);
      }
    };
    for (int i = 0; i < 2 && wait_synced() == PULSE_OK; i++) {
      write_some(world);
      ASSERT_TRUE(world.pump_until([&] { return world.all_complete(); }));
      ts_reply_free(ts_command(server, "CLIENT", "KILL", "TYPE", "pubsub", nullptr));
    }
    memory.disarm();
    // A map or a watch that has no memory to begin closes by itself, and says so.
    const pulse_status status = wait_synced();
    ASSERT_TRUE(status == PULSE_OK || status == PULSE_ERR_CLOSED) << error.message;
    const Content expected = content_of(server);
    const auto ended = [&] { return world.close_status == PULSE_ERR_NO_MEMORY; };
    ASSERT_TRUE(world.pump_until([&] {
      return ended() ||
             (status == PULSE_OK && content_of(world.map) == expected && world.told == expected);
    })) << expected.size()
        << " keys, " << world.told.size() << " told";
    if (ended() && status == PULSE_OK) {  // the watch
      ASSERT_TRUE(world.pump_until([&] { return content_of(world.map) == expected; }));
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Both, Allocation, outages(), outage_name);

}  // namespace
