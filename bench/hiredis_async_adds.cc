// The asynchronous reference.  A file of its own: the adapter's functions are static.
#include <hiredis/adapters/libuv.h>
#include <hiredis/async.h>

#include "add_sides.h"
#include "cpu.h"
#include "failure.h"

namespace bench {

struct HiredisAsyncAdds::Loop {
  Loop(Place& place_, int in_flight_, const Words& command)
      : place(place_), in_flight(in_flight_), arguments(command) {}

  void add() {
    ++under_way;
    if (redisAsyncCommandArgv(context, on_reply, this, arguments.count(), arguments.texts(),
                              arguments.sizes()) != REDIS_OK) {
      failure = "hiredis cannot send";
    }
  }

  static void on_reply(redisAsyncContext*, void* reply, void* user_data) {
    Loop& loop = *static_cast<Loop*>(user_data);
    --loop.under_way;
    if (reply == nullptr) {
      loop.context = nullptr;  // hiredis frees it
      loop.failure = "hiredis: the connection was lost";
      return;
    }
    try {
      const pulse_event_id id = parse_id(static_cast<redisReply*>(reply));
      require(loop.last < id, "hiredis: the ids do not go up");
      loop.last = id;
    } catch (const Failure& wrong) {
      loop.failure = wrong.what();
    }
    ++loop.added;
    if (!loop.stop) loop.add();
  }

  void turn() {
    uv_run(&uv, UV_RUN_ONCE);
    require(failure.empty(), failure);
  }

  Place& place;
  int in_flight;
  Arguments arguments;
  uv_loop_t uv{};
  redisAsyncContext* context = nullptr;
  int64_t under_way = 0;
  int64_t added = 0;
  pulse_event_id last{};
  bool stop = false;
  std::string failure;
};

HiredisAsyncAdds::HiredisAsyncAdds(Place& place, int in_flight, const Words& command)
    : loop_(std::make_unique<Loop>(place, in_flight, command)) {
  if (place.transport() == Transport::tls) {
    throw Unavailable("hiredis without TLS is no reference here");
  }
  require(uv_loop_init(&loop_->uv) == 0, "no libuv loop");
  loop_->context = place.transport() == Transport::unix_socket
                       ? redisAsyncConnectUnix(ts_server_socket(place.server()))
                       : redisAsyncConnect("127.0.0.1", ts_server_port(place.server()));
  require(loop_->context != nullptr && loop_->context->err == 0, "hiredis cannot connect");
  require(redisLibuvAttach(loop_->context, &loop_->uv) == REDIS_OK, "hiredis and libuv");
}

HiredisAsyncAdds::~HiredisAsyncAdds() {
  if (loop_->context != nullptr) redisAsyncDisconnect(loop_->context);
  uv_run(&loop_->uv, UV_RUN_DEFAULT);
  uv_loop_close(&loop_->uv);
}

Sample HiredisAsyncAdds::run(double seconds) {
  loop_->stop = false;
  loop_->added = 0;
  Sample sample;
  const double start = now_seconds(), cpu = own_cpu_seconds(), server = loop_->place.cpu();
  for (int i = 0; i < loop_->in_flight; ++i) loop_->add();
  while (now_seconds() < start + seconds) loop_->turn();
  loop_->stop = true;
  while (loop_->under_way > 0) loop_->turn();
  sample.seconds = now_seconds() - start;
  sample.client_cpu = own_cpu_seconds() - cpu;
  sample.server_cpu = loop_->place.cpu() - server;
  sample.operations = static_cast<double>(loop_->added);
  return sample;
}

}  // namespace bench
