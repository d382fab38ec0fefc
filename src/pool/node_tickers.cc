#include "pool/node_tickers.h"

#include <algorithm>

#include "pool/node_call.h"
#include "pool/ticker.h"
#include "scripts.h"

namespace pulseengine {

void format_ticker_stop(CommandWriter& w, bool eval, const PoolNames& names, std::string_view jobs,
                        std::string_view field) {
  w.begin_script(scripts::pool_ticker_stop, eval, jobs.empty() ? 1 : 2, 1);
  w.arg(std::string_view(names.tickers));
  if (!jobs.empty()) w.arg(jobs);
  w.arg(field);
}

// --- calls of the host ---------------------------------------------------------------

Error PoolNode::add_ticker(Ref<PoolTicker> ticker) {
  const Error gone(PULSE_ERR_CLOSED, "the node is closed", PULSE_ERROR_NEVER_SENT);
  if (closed()) return gone;
  const bool posted = engine_->post_call([node = Ref<PoolNode>::share(this), ticker] {
    if (node->phase_ >= Phase::leaving) {
      ticker->end(Error(PULSE_ERR_CLOSED, "the node is closed"), false);
      return;
    }
    try {
      node->tickers_.add(ticker);
    } catch (const std::bad_alloc&) {
      ticker->end(Error(PULSE_ERR_NO_MEMORY, "no memory to open the ticker"), false);
    }
  });
  return posted ? Error() : gone;
}

Error PoolNode::stop_ticker(std::string_view name, std::string_view jobs, int64_t timeout_ms,
                            Target target, Ref<Signal> signal, Ref<Operation>* out) {
  String field = names_.name + ":";
  field.append(name.data(), name.size());
  auto call = make_ref<PoolCall>(PULSE_EVENT_TICKER_STOPPED, std::move(target), name);
  auto format = [this, field, jobs = String(jobs)](CommandWriter& w, bool eval) {
    format_ticker_stop(w, eval, names_, std::string_view(jobs), std::string_view(field));
  };
  auto done = [](PoolCall& c, const Error& error, Reply* reply) {
    if (!error.ok() || c.completed()) return;
    c.count = static_cast<uint64_t>(reply->next().integer);
    c.complete();
  };
  return start_call(std::move(call), timeout_ms, std::move(signal), &scripts::pool_ticker_stop,
                    false, field.size() + 512, std::move(format), std::move(done), out);
}

// --- the node's tickers --------------------------------------------------------------

NodeTickers::NodeTickers(PoolNode& node) : node_(node) {}
NodeTickers::~NodeTickers() = default;

// f may end the ticker.
template <class F>
void NodeTickers::for_all(F f) {
  for (size_t i = tickers_.size(); i-- > 0;) {
    if (i < tickers_.size()) f(*Ref<PoolTicker>(tickers_[i]));
  }
}

void NodeTickers::add(Ref<PoolTicker> ticker) {
  if (!watch_) open_map();
  tickers_.push_back(ticker);
  ticker->go_on();
}

void NodeTickers::forget(PoolTicker& ticker) noexcept {
  auto found = std::find_if(tickers_.begin(), tickers_.end(),
                            [&](const Ref<PoolTicker>& t) { return t.get() == &ticker; });
  if (found != tickers_.end()) tickers_.erase(found);
}

void NodeTickers::go_on() noexcept {
  // There was no memory for it to begin.
  if (watch_ && watch_->closed()) watch_ = nullptr;
  if (map_ && map_->closed()) map_ = nullptr;
  try {
    if (!watch_ && !tickers_.empty()) open_map();
  } catch (const std::bad_alloc&) {
    // The next turn of the clock comes to it again.
  }
  for_all([](PoolTicker& ticker) { ticker.go_on(); });
}

void NodeTickers::end_all(const Error& error) noexcept {
  for_all([&](PoolTicker& ticker) { ticker.end(error, false); });
}

void NodeTickers::close_map() noexcept {
  if (watch_) watch_->close();
  if (map_) map_->close();
}

void NodeTickers::open_map() {
  const Ref<PoolNode> node = Ref<PoolNode>::share(&node_);
  if (!map_) {
    Target target(on_map_state, &node_, node);
    (void)ReplicatedMap::join(Ref<Engine>::share(&node_.engine()),
                              std::string_view(node_.names().map(":tickers")), node_.map_config(),
                              std::move(target), &map_);
    if (!map_) return;  // the engine closes
  }
  WatchConfig config;
  config.mode = PULSE_WATCH_DELTAS;
  auto watch = make_ref<MapWatch>(map_, config, ChangeFilter(), Target(on_change, &node_, node));
  map_->watch(watch);
  watch_ = std::move(watch);
}

void NodeTickers::on_map_state(const pulse_event* event, void* node) {
  if (event->kind != PULSE_EVENT_MAP_REWOUND) return;
  static_cast<PoolNode*>(node)->tickers().for_all([](PoolTicker& t) { t.doubt(true); });
}

void NodeTickers::on_change(const pulse_event* event, void* node) {
  static_cast<PoolNode*>(node)->tickers().change(*event);
}

void NodeTickers::change(const pulse_event& event) {
  switch (event.kind) {
    case PULSE_EVENT_WATCH_RESYNC:
      copying_ = true;
      break;
    case PULSE_EVENT_WATCH_CAUGHT_UP:
      copying_ = false;
      for_all([](PoolTicker& ticker) { ticker.doubt(false); });
      break;
    case PULSE_EVENT_MAP_CHANGE: {
      if (copying_) break;
      const std::string_view name(event.name, event.name_len);
      std::optional<std::string_view> entry;
      if (event.state == PULSE_MAP_OP_SET) entry.emplace(event.payload, event.payload_len);
      const bool all = event.state == PULSE_MAP_OP_RESET || event.state == PULSE_MAP_OP_DESTROY;
      for_all([&](PoolTicker& ticker) {
        if (all || ticker.field() == name) ticker.heard(entry, event.revision);
      });
      break;
    }
    default:
      break;
  }
}

}  // namespace pulseengine
