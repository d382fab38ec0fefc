#include "screen.h"

#include <unistd.h>

#include <cstdarg>
#include <cstdio>

namespace job {
namespace {

__attribute__((format(printf, 1, 2))) std::string format(const char* pattern, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, pattern);
  vsnprintf(text, sizeof text, pattern, arguments);
  va_end(arguments);
  return text;
}

double share(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

std::string with_commas(uint64_t number) {
  std::string text = std::to_string(number);
  for (size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

Screen::Screen() : terminal_(isatty(STDOUT_FILENO) == 1) {}

void Screen::progress(const Publisher& publisher, const Tally& tally, uint64_t expected) {
  const uint64_t now = monotonic_ns();
  if (now < next_ns_) return;
  next_ns_ = now + (terminal_ ? 100'000'000 : 1'000'000'000);
  const uint64_t handled = tally.distinct_handled();
  const std::string text =
      format("%3.0f %%   published %s   handled %s   reader %s", share(handled, expected),
             with_commas(publisher.confirmed()).c_str(), with_commas(handled).c_str(),
             with_commas(tally.total_seen()).c_str());
  printf(terminal_ ? "\r\033[K%s" : "%s\n", text.c_str());
  fflush(stdout);
  progress_shown_ = terminal_;
}

void Screen::clear() {
  if (progress_shown_) printf("\r\033[K");
  progress_shown_ = false;
}

void Screen::message(const std::string& text) {
  clear();
  printf("%s\n", text.c_str());
  fflush(stdout);
}

void print_table(Screen* screen, const Publisher& publisher, const Progress& progress, Tally* tally,
                 const Verdict& verdict) {
  const auto row = [&](const std::string& name, uint64_t number, const std::string& remark) {
    screen->message(
        format("  %-24s %12s   %s", name.c_str(), with_commas(number).c_str(), remark.c_str()));
  };
  const double all_seconds =
      publisher.all().empty()
          ? 0
          : static_cast<double>(tally->last_handled_ns() - publisher.all()[0].sent_ns) / 1e9;
  const auto rate = [](uint64_t count, double seconds) {
    return with_commas(seconds > 0 ? static_cast<uint64_t>(static_cast<double>(count) / seconds)
                                   : 0);
  };
  screen->message("");
  row("published", verdict.published,
      format("in %.2f s: %s events/s", publisher.seconds(),
             rate(verdict.published, publisher.seconds()).c_str()));
  uint64_t redelivered = 0;
  for (int i = 1; i <= kConsumers; ++i) {
    const ConsumerTally& one = tally->consumer(i);
    redelivered += one.redelivered;
    const std::string remark =
        i == kVictim ? format("until it was killed, holding %s that were not acked",
                              with_commas(one.held).c_str())
                     : format("of them %s redelivered", with_commas(one.redelivered).c_str());
    row("handled by consumer " + std::to_string(i), progress.handled[static_cast<size_t>(i) - 1],
        remark);
  }
  row("handled in all", progress.total,
      format("these four from the local copy of the map, synced at revision %s",
             with_commas(progress.revision).c_str()));
  row("miscounted", verdict.miscounted, "of the four, compared with the consumers' own reports");
  row("redelivered", redelivered, "handed out again, most of them the killed consumer's");
  row("handled twice", verdict.twice, "handled, but not acked, before the kill");
  row("lost", verdict.lost, "every published id looked up among the handled ones");
  row("reader missed", verdict.reader_missed,
      format("it saw %s, %s", with_commas(tally->total_seen()).c_str(),
             verdict.reader_disorder == 0 && verdict.reader_twice == 0
                 ? "each once and in order"
                 : "NOT each once and in order"));
  if (verdict.altered) row("altered", verdict.altered, "came with other bytes than were published");
  if (verdict.unknown) row("unknown", verdict.unknown, "came, and had not been published");
  row("events/s",
      all_seconds > 0 ? static_cast<uint64_t>(static_cast<double>(verdict.published) / all_seconds)
                      : 0,
      format("from the first publish to the last handling, %.2f s", all_seconds));
  screen->message(format("  %-24s p50 %.1f ms, p99 %.1f ms, longest %.1f ms", "publish to handling",
                         verdict.p50_ms, verdict.p99_ms, verdict.max_ms));
  screen->message("");
  if (!tally->notices().empty()) {
    screen->message(
        format("note: %zu notices of trouble came from the workers, the first of kind "
               "%d (see pulseengine/event.h)",
               tally->notices().size(), static_cast<int>(tally->notices()[0])));
  }
}

}  // namespace job
