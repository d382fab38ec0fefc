// The tickers and schedules of a node, and the replica of the pool's map of tickers, which is there
// as soon as there was one.  Belongs to the node; loop thread.
#ifndef PULSE_POOL_NODE_TICKERS_H
#define PULSE_POOL_NODE_TICKERS_H

#include "rmap/map_watch.h"

namespace pulseengine {

class PoolNode;
class PoolTicker;
struct PoolNames;

// Stops the ticker `field`, if not empty, and forgets the schedule's jobs under the key `jobs`, if
// there is one.
void format_ticker_stop(CommandWriter& w, bool eval, const PoolNames& names, std::string_view jobs,
                        std::string_view field);

class NodeTickers {
 public:
  explicit NodeTickers(PoolNode& node);
  ~NodeTickers();

  // Throws bad_alloc, with no effect then.
  void add(Ref<PoolTicker> ticker);
  void forget(PoolTicker& ticker) noexcept;
  // The node's clock; also after the server came back.
  void go_on() noexcept;
  // The node leaves.
  void end_all(const Error& error) noexcept;
  void close_map() noexcept;

 private:
  static void on_map_state(const pulse_event* event, void* node);
  static void on_change(const pulse_event* event, void* node);
  void change(const pulse_event& event);
  void open_map();
  template <class F>
  void for_all(F f);

  PoolNode& node_;
  Vector<Ref<PoolTicker>> tickers_;
  Ref<ReplicatedMap> map_;
  Ref<MapWatch> watch_;
  bool copying_ =
      true;  // changes are told as differences: that something is missing proves nothing
};

}  // namespace pulseengine

#endif
