#include "events.h"

#include <algorithm>

#include "add_sides.h"
#include "failure.h"

namespace bench {

Events fill_stream(Place& place, const std::string& stream, size_t count) {
  const Handle<pulse_engine> engine = open_engine(place.url());
  const Handle<pulse_stream> handle = open_stream(engine.get(), stream, PULSE_UNLIMITED);
  pulse_add_item item{};
  item.name = kEventName.data();
  item.name_len = kEventName.size();
  item.payload = kPayload.data();
  item.payload_len = kPayload.size();
  const std::vector<pulse_add_item> items(1000, item);
  std::vector<pulse_result> results(items.size());

  Events events;
  events.stream = stream;
  events.key = "pulse:stream:" + stream;
  while (events.ids.size() < count) {
    const size_t some = std::min(items.size(), count - events.ids.size());
    pulse_error error = PULSE_ERROR_INIT;
    require_ok(pulse_stream_add_batch_wait(handle.get(), items.data(), sizeof items[0], some,
                                           nullptr, results.data(), kWaitMs, &error),
               error, "pulse_stream_add_batch_wait");
    for (size_t i = 0; i < some; ++i) {
      char text[PULSE_EVENT_ID_TEXT_BYTES];
      events.ids.push_back(results[i].id);
      events.id_texts.emplace_back(text, pulse_event_id_format(&results[i].id, text, sizeof text));
    }
  }
  require(place.integer({"XLEN", events.key}) == static_cast<int64_t>(count),
          "the stream has not as many events as were added");
  return events;
}

}  // namespace bench
