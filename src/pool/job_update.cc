#include "pool/job_update.h"

namespace pulseengine {
namespace {

constexpr std::string_view kNames[] = {"own",  "take", "end",     "drop",
                                       "move", "ack",  "leaving", "gone"};
// Of each, its name included.
constexpr size_t kArguments[] = {3, 3, 2, 2, 3, 6, 1, 1};

}  // namespace

size_t JobUpdate::arguments() const { return kArguments[static_cast<size_t>(what)]; }

size_t JobUpdate::bytes() const {
  const bool payload = claims() || what == What::end;
  return text.size() + dispatched.size() + (payload ? job->payload().size() : 0);
}

void JobUpdate::append_keys(CommandWriter& w) const {
  if (what != What::ack) return;
  w.arg(std::string_view(router));
  w.arg(std::string_view(dispatcher));
}

void JobUpdate::append_arguments(CommandWriter& w) const {
  w.arg(kNames[static_cast<size_t>(what)]);
  if (job) w.arg(std::string_view(job->key()));
  if (claims()) w.arg(std::string_view(job->payload()));
  if (what == What::move || what == What::ack) w.arg(std::string_view(text));
  if (what != What::ack) return;
  w.arg(std::string_view(pool_event));
  w.arg(std::string_view(dispatched));
  w.arg(std::string_view(key));
  w.arg(std::string_view(guard));
}

}  // namespace pulseengine
