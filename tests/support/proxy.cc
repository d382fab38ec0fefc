// A proxy that stalls, drops, cuts and refuses on demand.  One thread per proxy moves the bytes;
// the calls of the test change its orders under the lock and wake it.

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

#include "internal.h"

namespace {

constexpr size_t kBufferLimit = 256 * 1024;

// One direction of one connection.
struct Flow {
  std::string waiting;  // read, not yet written
  bool ended = false;   // the reader's side has sent its end
  bool passed = false;  // and we have passed it on
};

struct Link {
  int client = -1;
  int server = -1;
  Flow to_server;
  Flow to_client;
  bool subscribed = false;  // the client has sent SUBSCRIBE
};

int index_of(int direction) { return direction == TS_TO_CLIENT ? 1 : 0; }

}  // namespace

struct ts_proxy {
  std::string directory;    // of the listening socket, when it is a unix socket
  std::string listen_path;  // empty = TCP
  std::string server_path;
  int listen_port = 0;
  int server_port = 0;
  std::string url;
  ts::Waker waker;
  std::thread thread;

  std::mutex mutex;  // guards what follows
  std::condition_variable turned;
  uint64_t turns = 0;  // of the loop: a call that waits for one sees its order obeyed
  bool stop = false;
  int stalled = 0;
  int dropped = 0;
  bool drop_published = false;
  bool refuse = false;
  bool cut_everything = false;
  bool cut_armed[2] = {false, false};
  uint64_t cut_left[2] = {0, 0};
  uint64_t accepted = 0;
  uint64_t cuts = 0;
  uint64_t bytes[2] = {0, 0};
  size_t open = 0;

  // Used by the thread alone.
  int listener = -1;
  std::list<Link> links;
};

namespace {

void close_link(ts_proxy* proxy, const Link& link) {
  const bool tcp = proxy->listen_path.empty();
  for (const int end : {link.client, link.server}) {
    if (tcp) {
      ts::close_hard(end);
    } else {
      close(end);
    }
  }
}

bool listen_again(ts_proxy* proxy) {
  proxy->listener = proxy->listen_path.empty() ? ts::listen_tcp(&proxy->listen_port)
                                               : ts::listen_unix(proxy->listen_path);
  return proxy->listener >= 0;
}

void accept_all(ts_proxy* proxy) {
  for (;;) {
    Link link;
    link.client = accept4(proxy->listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (link.client < 0) return;
    ++proxy->accepted;
    link.server = proxy->server_path.empty() ? ts::connect_tcp(proxy->server_port)
                                             : ts::connect_unix(proxy->server_path);
    if (link.server < 0) {  // the server is down: so are we
      close(link.client);
      continue;
    }
    ts::set_nonblocking(link.server);
    proxy->links.push_back(std::move(link));
  }
}

// Whether bytes that come now in this direction get lost.
bool is_dropped(const ts_proxy* proxy, const Link& link, int direction) {
  if ((proxy->dropped & direction) != 0) return true;
  return direction == TS_TO_CLIENT && link.subscribed && proxy->drop_published;
}

// Reads from `source` what may be forwarded; false when the connection has failed.
bool take_in(ts_proxy* proxy, Link* link, int direction, int source, Flow* flow) {
  char buffer[65536];
  const ssize_t got = recv(source, buffer, sizeof buffer, 0);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) {
    flow->ended = true;
  } else if (!is_dropped(proxy, *link, direction)) {
    flow->waiting.append(buffer, static_cast<size_t>(got));
    if (direction == TS_TO_SERVER) {
      const bool found = flow->waiting.find("\r\nSUBSCRIBE\r\n") != std::string::npos;
      link->subscribed = link->subscribed || found;
    }
  }
  return true;
}

// Writes what waits; false when the connection has failed or is to be cut here.
bool put_out(ts_proxy* proxy, int direction, int target, Flow* flow) {
  const int index = index_of(direction);
  size_t size = flow->waiting.size();
  if (proxy->cut_armed[index]) {
    size = static_cast<size_t>(std::min<uint64_t>(size, proxy->cut_left[index]));
  }
  if (size > 0) {
    const ssize_t sent = send(target, flow->waiting.data(), size, MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    const auto count = static_cast<uint64_t>(sent);
    flow->waiting.erase(0, static_cast<size_t>(sent));
    proxy->bytes[index] += count;
    if (proxy->cut_armed[index]) proxy->cut_left[index] -= count;
  }
  if (proxy->cut_armed[index] && proxy->cut_left[index] == 0 && size > 0) {
    proxy->cut_armed[index] = false;
    ++proxy->cuts;
    return false;
  }
  if (flow->waiting.empty() && flow->ended && !flow->passed) {
    flow->passed = true;
    shutdown(target, SHUT_WR);
  }
  return true;
}

short events_for(ts_proxy* proxy, int reads, const Flow& in, int writes, const Flow& out) {
  short events = 0;
  const bool may_read = (proxy->stalled & reads) == 0 && !in.ended;
  if (may_read && in.waiting.size() < kBufferLimit) events |= POLLIN;
  if ((proxy->stalled & writes) == 0 && !out.waiting.empty()) events |= POLLOUT;
  return events;
}

// One side of a connection: what it has sent, and what waits to be sent to it.
bool serve(ts_proxy* proxy, Link* link, int direction) {
  if ((proxy->stalled & direction) != 0) return true;
  const bool to_server = direction == TS_TO_SERVER;
  const int source = to_server ? link->client : link->server;
  const int target = to_server ? link->server : link->client;
  Flow* flow = to_server ? &link->to_server : &link->to_client;
  if (!flow->ended && flow->waiting.size() < kBufferLimit &&
      !take_in(proxy, link, direction, source, flow)) {
    return false;
  }
  return put_out(proxy, direction, target, flow);
}

void cut_links(ts_proxy* proxy) {
  for (const Link& link : proxy->links) close_link(proxy, link);
  proxy->cuts += proxy->links.size();
  proxy->links.clear();
}

// With the lock held.
void obey(ts_proxy* proxy) {
  if (proxy->cut_everything) {
    // Also those that wait in the listener's queue: the client believes to be connected.
    if (proxy->listener >= 0) accept_all(proxy);
    cut_links(proxy);
    proxy->cut_everything = false;
  }
  if (proxy->refuse && proxy->listener >= 0) {
    close(proxy->listener);
    proxy->listener = -1;
    if (!proxy->listen_path.empty()) unlink(proxy->listen_path.c_str());
  }
  if (!proxy->refuse && proxy->listener < 0 && !listen_again(proxy)) {
    ts::complain("proxy: cannot listen again");
  }
}

// With the lock held.
void move_bytes(ts_proxy* proxy) {
  if (proxy->listener >= 0) accept_all(proxy);
  for (auto link = proxy->links.begin(); link != proxy->links.end();) {
    const bool alive = serve(proxy, &*link, TS_TO_SERVER) && serve(proxy, &*link, TS_TO_CLIENT);
    if (alive && !(link->to_server.passed && link->to_client.passed)) {
      ++link;
      continue;
    }
    close_link(proxy, *link);
    link = proxy->links.erase(link);
  }
  proxy->open = proxy->links.size();
}

std::vector<pollfd> poll_set(ts_proxy* proxy) {
  std::vector<pollfd> items = {{proxy->waker.descriptor(), POLLIN, 0},
                               {proxy->listener, POLLIN, 0}};
  for (const Link& link : proxy->links) {
    const short client =
        events_for(proxy, TS_TO_SERVER, link.to_server, TS_TO_CLIENT, link.to_client);
    const short server =
        events_for(proxy, TS_TO_CLIENT, link.to_client, TS_TO_SERVER, link.to_server);
    // No events wanted: not even told of its end, which poll always reports.
    items.push_back({client != 0 ? link.client : -1, client, 0});
    items.push_back({server != 0 ? link.server : -1, server, 0});
  }
  return items;
}

void loop(ts_proxy* proxy) {
  ts::block_signals();
  std::unique_lock<std::mutex> lock(proxy->mutex);
  while (!proxy->stop) {
    obey(proxy);
    move_bytes(proxy);
    ++proxy->turns;
    proxy->turned.notify_all();
    std::vector<pollfd> items = poll_set(proxy);
    lock.unlock();
    poll(items.data(), items.size(), -1);
    proxy->waker.drain();
    lock.lock();
  }
  for (const Link& link : proxy->links) close_link(proxy, link);
  if (proxy->listener >= 0) close(proxy->listener);
}

// Lets the thread see the new orders, and waits until it has obeyed them.
void order(ts_proxy* proxy, const std::function<void()>& change) {
  std::unique_lock<std::mutex> lock(proxy->mutex);
  change();
  const uint64_t seen = proxy->turns;
  proxy->waker.wake();
  proxy->turned.wait(lock, [&] { return proxy->turns > seen; });
}

ts_proxy* start(std::unique_ptr<ts_proxy> proxy) {
  if (!listen_again(proxy.get())) {
    ts::remove_directory(proxy->directory);
    return nullptr;
  }
  proxy->thread = std::thread([raw = proxy.get()] { loop(raw); });
  return proxy.release();
}

ts_proxy* start_tcp(int server_port, const char* server_url) {
  if (server_url == nullptr) {
    ts::complain("proxy: the server does not listen there");
    return nullptr;
  }
  auto proxy = std::make_unique<ts_proxy>();
  proxy->server_port = server_port;
  ts_proxy* started = start(std::move(proxy));
  if (started == nullptr) return nullptr;
  // The server's URL with our port.
  std::string url = server_url;
  const std::string old_port = ":" + std::to_string(server_port);
  url.replace(url.rfind(old_port), old_port.size(), ":" + std::to_string(started->listen_port));
  started->url = url;
  return started;
}

template <typename Value>
Value locked(ts_proxy* proxy, const Value& value) {
  std::lock_guard<std::mutex> lock(proxy->mutex);
  return value;
}

}  // namespace

extern "C" {

ts_proxy* ts_proxy_start(ts_server* server) {
  auto proxy = std::make_unique<ts_proxy>();
  proxy->directory = ts::make_directory();
  if (proxy->directory.empty()) return nullptr;
  proxy->listen_path = proxy->directory + "/proxy.sock";
  proxy->server_path = ts_server_socket(server);
  proxy->url = "unix://" + ts::encode_url(proxy->listen_path, true);
  return start(std::move(proxy));
}

ts_proxy* ts_proxy_start_tcp(ts_server* server) {
  return start_tcp(ts_server_port(server), ts_server_tcp_url(server));
}

ts_proxy* ts_proxy_start_tls(ts_server* server) {
  return start_tcp(ts_server_tls_port(server), ts_server_tls_url(server));
}

void ts_proxy_free(ts_proxy* proxy) {
  if (proxy == nullptr) return;
  {
    std::lock_guard<std::mutex> lock(proxy->mutex);
    proxy->stop = true;
  }
  proxy->waker.wake();
  proxy->thread.join();
  ts::remove_directory(proxy->directory);
  delete proxy;
}

const char* ts_proxy_url(const ts_proxy* proxy) { return proxy->url.c_str(); }

void ts_proxy_stall(ts_proxy* proxy, int directions) {
  order(proxy, [&] { proxy->stalled |= directions; });
}

void ts_proxy_resume(ts_proxy* proxy, int directions) {
  order(proxy, [&] { proxy->stalled &= ~directions; });
}

void ts_proxy_drop(ts_proxy* proxy, int directions, int on) {
  order(proxy, [&] {
    proxy->dropped = on != 0 ? proxy->dropped | directions : proxy->dropped & ~directions;
  });
}

void ts_proxy_drop_published(ts_proxy* proxy, int on) {
  order(proxy, [&] { proxy->drop_published = on != 0; });
}

void ts_proxy_cut_all(ts_proxy* proxy) {
  order(proxy, [&] { proxy->cut_everything = true; });
}

void ts_proxy_cut_after(ts_proxy* proxy, int direction, uint64_t bytes) {
  order(proxy, [&] {
    proxy->cut_armed[index_of(direction)] = true;
    proxy->cut_left[index_of(direction)] = std::max<uint64_t>(bytes, 1);
  });
}

void ts_proxy_refuse(ts_proxy* proxy, int on) {
  order(proxy, [&] { proxy->refuse = on != 0; });
}

int ts_proxy_connections(ts_proxy* proxy) { return static_cast<int>(locked(proxy, proxy->open)); }

uint64_t ts_proxy_accepted(ts_proxy* proxy) { return locked(proxy, proxy->accepted); }

uint64_t ts_proxy_cuts(ts_proxy* proxy) { return locked(proxy, proxy->cuts); }

uint64_t ts_proxy_bytes(ts_proxy* proxy, int direction) {
  return locked(proxy, proxy->bytes[index_of(direction)]);
}

}  // extern "C"
