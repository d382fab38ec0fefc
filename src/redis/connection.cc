#include "redis/connection.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>

#include "base/prefetch.h"
#include "base/rng.h"

namespace pulseengine {
namespace {

// Commands are moved to the socket's side in portions, so that those that
// nobody wants any more can still be dropped when the peer is slow.
constexpr size_t kSendWindow = size_t{512} * 1024;
constexpr size_t kReadChunk = size_t{64} * 1024;
// hiredis moves what is left of its input to the front after each thousand bytes: it gets little at
// a time.
constexpr size_t kParsed = size_t{4} * 1024;
// Bytes read in one turn before others get theirs.
constexpr size_t kReadBudget = size_t{4} * 1024 * 1024;
// The same of a reply that is taken in parts: it is large, and each part makes work.
constexpr size_t kPartsBudget = size_t{256} * 1024;
constexpr int kMaxVectors = 64;
// With many commands under way, each was made so long ago, or so far away, that it is not near this
// processor: it is fetched while those before it are handled.
constexpr size_t kAhead = 4;
constexpr size_t kCommandBytes = 320;  // of an add

constexpr uint16_t bit(Connection::State state) {
  return static_cast<uint16_t>(1U << static_cast<unsigned>(state));
}

// What may follow each state.
[[maybe_unused]] constexpr uint16_t allowed_after(Connection::State state) {
  using S = Connection::State;
  constexpr uint16_t down = bit(S::waiting) | bit(S::closed);
  switch (state) {
    case S::idle:
    case S::waiting:
      return bit(S::starting) | bit(S::closed);
    case S::starting:
      return bit(S::resolving) | bit(S::connecting) | down;
    case S::resolving:
      return bit(S::connecting) | down;
    case S::connecting:
      return bit(S::connecting) | bit(S::securing) | bit(S::greeting) | down;
    case S::securing:
      return bit(S::greeting) | down;
    case S::greeting:
      return bit(S::ready) | down;
    case S::ready:
      return down;
    case S::closed:
      return 0;
  }
  return 0;
}

sockaddr_un unix_address(const String& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof address.sun_path - 1));
  return address;
}

// Whoever cannot even take an error for want of memory is not told.
void fail(Command& command, const Error& error) noexcept {
  try {
    command.failed(error);
  } catch (const std::bad_alloc&) {
  }
}

Error out_of_memory(uint32_t flags = 0) {
  return Error(PULSE_ERR_NO_MEMORY, "out of memory", PULSE_ERROR_RETRIABLE | flags);
}

}  // namespace

// One command of the greeting.  Its reply goes back to the connection, which is
// alive as long as its slots are.
struct Connection::Greeting final : Command {
  enum class Step : uint8_t { auth, select, name, id, info, ping };
  Greeting(Connection& c, Step s) : connection(c), step(s) {}

  void format(CommandWriter& w) override {
    const ServerConfig& config = connection.host_.server_config();
    switch (step) {
      case Step::auth:
        if (config.url.user.empty()) {
          w.command("AUTH", config.url.password);
        } else {
          w.command("AUTH", config.url.user, config.url.password);
        }
        break;
      case Step::select:
        w.command("SELECT", config.url.db);
        break;
      case Step::name:
        w.command("CLIENT", "SETNAME", config.client_name);
        break;
      case Step::id:
        w.command("CLIENT", "ID");
        break;
      case Step::info:
        w.command("INFO", "server");
        break;
      case Step::ping:
        w.command("PING");
        break;
    }
  }
  void replied(Reply& reply) override {
    const ReplyNode& node = reply.next();
    if (step == Step::id && node.is_integer()) connection.client_id_ = node.integer;
    if (step == Step::info && node.is_text()) connection.seen_ = ServerInfo::parse(node.text);
    connection.greeting_left_--;
  }
  void failed(const Error& error) override {
    connection.greeting_left_--;
    // Without its name or id a connection works all the same.
    bool needed = step == Step::auth || step == Step::select || error.code() == PULSE_ERR_AUTH ||
                  error.code() == PULSE_ERR_LOADING || error.code() == PULSE_ERR_MAX_CLIENTS ||
                  error.code() == PULSE_ERR_MASTERDOWN || error.code() == PULSE_ERR_SERVER_BUSY ||
                  (error.flags() & PULSE_ERROR_SERVER) == 0;
    if (!needed || !connection.greeting_error_.ok()) return;
    connection.greeting_error_ = error;
    if (step == Step::auth && error.code() == PULSE_ERR_SERVER &&
        !connection.host_.server_config().url.user.empty()) {
      // "wrong number of arguments" says nothing to those who only know the URL.
      connection.greeting_error_ = Error::make(
          PULSE_ERR_AUTH, error.flags(),
          "the URL names a user (there are no users before Redis 6): {}", error.message());
    }
  }

  Connection& connection;
  const Step step;
};

// Goes ahead of the first EVALSHA on a connection.  Answered with NOSCRIPT, that
// command would be sent anew behind its successors, and their order would change.
struct Connection::LoadScript final : Command {
  explicit LoadScript(const Script& s) : wanted(s) {}
  void format(CommandWriter& w) override { w.command("SCRIPT", "LOAD", wanted.text); }
  void replied(Reply&) override {}
  void failed(const Error&) override {}  // then NOSCRIPT, and EVAL
  bool repeatable() const override { return true; }

  const Script& wanted;
};

Connection::Connection(ConnectionHost& host, Role role, ConnectionListener* listener)
    : host_(host),
      role_(role),
      listener_(listener),
      mutex_(host.submit_mutex()),
      parser_(host.server_config().max_reply_bytes) {
  attempt_timer_.open(
      host.loop(),
      [](void* p) {
        auto* c = static_cast<Connection*>(p);
        if (c->state_ == State::waiting) {
          c->attempt();
        } else {
          c->check_attempt();
        }
      },
      this);
  deadline_timer_.open(
      host.loop(), [](void* p) { static_cast<Connection*>(p)->check_deadlines(); }, this);
  host.connection_opened(*this);
}

Connection::~Connection() {
  if (state_ != State::closed) close(Error(PULSE_ERR_CLOSED, "closed"));
}

void Connection::enter(State next) {
  assert((allowed_after(state_) & bit(next)) != 0);
  state_ = next;
}

// --- connecting ----------------------------------------------------------

void Connection::open() {
  if (state_ == State::idle) attempt();
}

void Connection::attempt() noexcept {
  const Url& url = host_.server_config().url;
  enter(State::starting);
  attempt_timer_.start(host_.server_config().connect_timeout_ms);
  try {
    switch (url.scheme) {
      case Url::Scheme::tcp:
      case Url::Scheme::tls: {
        sockaddr_storage numeric{};
        auto* v4 = reinterpret_cast<sockaddr_in*>(&numeric);
        auto* v6 = reinterpret_cast<sockaddr_in6*>(&numeric);
        addresses_.clear();
        next_address_ = 0;
        auto add_v4 = [&](in_addr address) {
          *v4 = {};
          v4->sin_family = AF_INET;
          v4->sin_port = htons(url.port);
          v4->sin_addr = address;
          addresses_.push_back(numeric);
        };
        auto add_v6 = [&](in6_addr address) {
          *v6 = {};
          v6->sin6_family = AF_INET6;
          v6->sin6_port = htons(url.port);
          v6->sin6_addr = address;
          addresses_.push_back(numeric);
        };
        in_addr a4;
        in6_addr a6;
        // No look-up, and so no thread, for what needs none.
        if (inet_pton(AF_INET, url.host.c_str(), &a4) == 1) {
          add_v4(a4);
        } else if (inet_pton(AF_INET6, url.host.c_str(), &a6) == 1) {
          add_v6(a6);
        } else if (url.host == "localhost") {
          add_v4({htonl(INADDR_LOOPBACK)});
          numeric = {};
          add_v6(in6addr_loopback);
        }
        if (!addresses_.empty()) {
          try_next_address();
          return;
        }
        enter(State::resolving);
        char port[8];
        *fmt::format_to(port, "{}", url.port) = '\0';
        Error error = resolver_.start(
            host_.loop(), url.host.c_str(), port,
            [](void* p, const char* problem, const addrinfo* list) {
              auto* c = static_cast<Connection*>(p);
              if (problem != nullptr) {
                c->lose(Error::make(PULSE_ERR_RESOLVE, PULSE_ERROR_RETRIABLE, "{}: {}",
                                    std::string_view(c->host_.server_config().url.host), problem));
                return;
              }
              try {
                for (const addrinfo* a = list; a != nullptr; a = a->ai_next) {
                  sockaddr_storage s{};
                  std::memcpy(&s, a->ai_addr, std::min<size_t>(a->ai_addrlen, sizeof s));
                  c->addresses_.push_back(s);
                }
                c->try_next_address();
              } catch (const std::bad_alloc&) {
                c->lose(out_of_memory());
              }
            },
            this);
        if (!error.ok()) lose(error);
        return;
      }
      case Url::Scheme::unix_socket:
        connect_to_socket(url.path);
        return;
      case Url::Scheme::local:
        start_local();
        return;
    }
  } catch (const std::bad_alloc&) {
    lose(out_of_memory());
  }
}

// The private server may be running: its socket is tried first.  Only where nobody
// answers is the helper asked to start it.
void Connection::start_local() {
  const Url& url = host_.server_config().url;
  String path;
  Error error = local_socket_path(url, &path);
  if (!error.ok()) {
    lose(error);
    return;
  }
  const sockaddr_un un = unix_address(path);
  int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  bool answers =
      probe >= 0 && ::connect(probe, reinterpret_cast<const sockaddr*>(&un), sizeof un) == 0;
  if (probe >= 0) ::close(probe);
  if (answers) {
    connect_to_socket(path);
    return;
  }
  error = local_server_spawn(url, &local_fd_, &local_pid_);
  if (error.ok()) {
    error = local_watch_.open(
        host_.loop(), local_fd_,
        [](void* p, int, int) {
          auto* c = static_cast<Connection*>(p);
          try {
            c->local_started();
          } catch (const std::bad_alloc&) {
            c->lose(out_of_memory());
          }
        },
        this);
  }
  if (!error.ok()) {
    lose(error);
    return;
  }
  local_watch_.start(Watch::kReadable);
}

// The helper has said how it went, or is still at it.
void Connection::local_started() {
  String path;
  Error result = local_server_result(local_fd_, &path);
  if (result.code() == PULSE_ERR_AGAIN) return;
  forget_local();
  if (result.ok()) {
    connect_to_socket(path);
  } else {
    lose(result);
  }
}

void Connection::connect_to_socket(const String& path) {
  const sockaddr_un address = unix_address(path);
  enter(State::connecting);
  connect_to(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

void Connection::try_next_address() {
  if (next_address_ >= addresses_.size()) {
    lose(Error(PULSE_ERR_RESOLVE, "the host name has no address", PULSE_ERROR_RETRIABLE));
    return;
  }
  const sockaddr_storage& a = addresses_[next_address_++];
  enter(State::connecting);
  connect_to(reinterpret_cast<const sockaddr*>(&a),
             a.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
}

void Connection::connect_to(const sockaddr* address, socklen_t length) {
  close_socket();
  fd_ = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd_ < 0) {
    lose(Error::system(PULSE_ERR_CONNECT, "cannot make a socket", errno));
    return;
  }
  if (address->sa_family != AF_UNIX) {
    // A peer that vanished is noticed within about 30 s also while nothing is sent.
    int on = 1, idle = 15, interval = 5, count = 3, unacked_ms = 30000;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd_, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd_, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd_, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd_, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    setsockopt(fd_, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof unacked_ms);
  }
  int rc = ::connect(fd_, address, length);
  if (rc != 0 && errno != EINPROGRESS) {
    int reason = errno;
    if (next_address_ < addresses_.size()) {
      try_next_address();
      return;
    }
    lose(Error::system(PULSE_ERR_CONNECT, "cannot connect", reason));
    return;
  }
  Error error = watch_.open(
      host_.loop(), fd_,
      [](void* p, int problem, int events) {
        // An error condition makes both directions fail with their own errno.
        if (problem != 0) events = Watch::kReadable | Watch::kWritable;
        static_cast<Connection*>(p)->on_io(events);
      },
      this);
  if (!error.ok()) {
    lose(error);
    return;
  }
  watch_.start(Watch::kWritable);
}

void Connection::connected() {
  int reason = 0;
  socklen_t length = sizeof reason;
  getsockopt(fd_, SOL_SOCKET, SO_ERROR, &reason, &length);
  if (reason != 0) {
    if (next_address_ < addresses_.size()) {
      try_next_address();
      return;
    }
    lose(Error::system(PULSE_ERR_CONNECT, "cannot connect", reason));
    return;
  }
  host_.counters().open.fetch_add(1, std::memory_order_relaxed);
  counted_open_ = true;
  last_heard_ms_ = monotonic_ms();
  parser_.reset();
  sending_.clear();
  queued_bytes_ = written_bytes_ = 0;
  if (host_.tls_context() != nullptr) {
    enter(State::securing);
    Error error = TlsSession::create(Ref<TlsContext>::share(host_.tls_context()), fd_, &tls_);
    if (!error.ok()) {
      lose(error);
      return;
    }
    secure();
    return;
  }
  greet();
}

void Connection::secure() {
  switch (tls_->handshake()) {
    case TlsSession::IoResult::ok:
      greet();
      break;
    case TlsSession::IoResult::want_read:
      watch_.start(Watch::kReadable);
      break;
    case TlsSession::IoResult::want_write:
      watch_.start(Watch::kWritable);
      break;
    case TlsSession::IoResult::eof:
      lose(Error(PULSE_ERR_TLS, "the peer closed the connection during the TLS handshake",
                 PULSE_ERROR_RETRIABLE));
      break;
    case TlsSession::IoResult::error:
      lose(tls_->error());
      break;
  }
}

void Connection::greet() {
  enter(State::greeting);
  const ServerConfig& config = host_.server_config();
  greeting_error_ = Error();
  greeting_left_ = 0;
  client_id_ = 0;
  CommandWriter writer(sending_);
  auto add = [&](Greeting::Step step) {
    Ref<Command> command = Ref<Command>::adopt(new Greeting(*this, step));
    size_t before = sending_.size();
    command->format(writer);
    command->length = sending_.size() - before;
    slots_.push_back({std::move(command), queued_bytes_, monotonic_ms(), true});
    queued_bytes_ += sending_.size() - before;
    greeting_left_++;
  };
  if (!config.url.password.empty()) add(Greeting::Step::auth);
  if (config.url.db != 0) add(Greeting::Step::select);
  if (!config.client_name.empty()) add(Greeting::Step::name);
  add(Greeting::Step::id);
  if (role_ == Role::command) add(Greeting::Step::info);
  // Unlike those before it is refused while the server loads its data or is busy.
  add(Greeting::Step::ping);
  update_watch();
  write_some();
}

void Connection::become_ready() {
  enter(State::ready);
  attempt_timer_.stop();
  backoff_ms_ = 0;
  last_error_ = Error();
  host_.counters().connects.fetch_add(1, std::memory_order_relaxed);
  if (role_ == Role::command && seen_.known) host_.server_seen(seen_);
  drop_abandoned();
  if (listener_ != nullptr) listener_->connection_ready(*this);
  host_.want_turn();
}

// --- losing --------------------------------------------------------------

// Nobody else writes to it any more.
void Connection::close_socket() {
  watch_.reset();
  tls_.reset();
  if (fd_ >= 0) {
    ::close(fd_);
    fd_ = -1;
    if (counted_open_) host_.counters().open.fetch_sub(1, std::memory_order_relaxed);
    counted_open_ = false;
  }
  want_write_ = false;
  forget_local();
}

void Connection::forget_local() {
  if (local_fd_ < 0) return;
  local_watch_.reset();
  ::close(local_fd_);
  local_fd_ = -1;
  local_server_reap(local_pid_);
  local_pid_ = -1;
}

// What the server said when it refused us tells more than how the connection ended then.
Error Connection::or_greeting_error(const Error& error) const {
  return state_ == State::greeting && !greeting_error_.ok() ? greeting_error_ : error;
}

void Connection::lose(const Error& cause) noexcept {
  if (state_ == State::closed || state_ == State::waiting) return;
  // NOLINTNEXTLINE(performance-unnecessary-copy-initialization)
  const Error error = cause;  // it may be the TLS session's, which goes with the socket
  withdraw_idle();
  if (!take_direct()) return;  // that gave it up
  bool was_ready = state_ == State::ready;
  resolver_.reset();
  close_socket();
  if (was_ready) host_.counters().disconnects.fetch_add(1, std::memory_order_relaxed);
  last_error_ = error;
  enter(State::waiting);
  requeue_unanswered(error);
  if (state_ == State::closed) return;
  retry_later();
  if (listener_ == nullptr) return;
  try {
    listener_->connection_lost(*this, error);
  } catch (const std::bad_alloc&) {
    host_.log(PULSE_LOG_ERROR, "out of memory: a lost connection was not reported to all");
  }
}

void Connection::retry_later() {
  const ServerConfig& config = host_.server_config();
  // Full jitter in the upper half: peers that lost the server together do not come back together.
  backoff_ms_ = backoff_ms_ == 0 ? config.reconnect_min_ms
                                 : std::min(backoff_ms_ * 2, config.reconnect_max_ms);
  int64_t half = backoff_ms_ / 2;
  int64_t wait = half + static_cast<int64_t>(random_below(static_cast<uint64_t>(half) + 1));
  // A timer of 0 ms that begins itself anew keeps a turn of the loop from ending.
  attempt_timer_.start(std::max<int64_t>(1, wait));
}

// Splits what was under way: what did not reach the kernel waits again, what is
// harmless to repeat is formatted anew, and the rest fails: outcome unknown.
void Connection::requeue_unanswered(const Error& cause) {
  Vector<Ref<Command>> dropped;
  bool sorted = false;
  {
    std::lock_guard<AdaptiveMutex> lock(mutex_);
    known_scripts_.clear();
    try {
      Vector<Ref<Command>> order;
      OutboxBuffer rebuilt;
      CommandWriter writer(rebuilt);
      load_scripts_again(order, rebuilt);
      order.reserve(order.size() + slots_.size() + outbox_commands_.size());
      uint64_t position = written_bytes_;  // of the first byte that is left in sending_
      for (Slot& slot : slots_) {
        Command& command = *slot.command;
        bool sent = slot.start < written_bytes_;
        if (slot.greeting || command.abandoned() || (sent && !command.repeatable()) ||
            host_.server_config().fail_fast) {
          continue;
        }
        if (command.repeatable()) {
          size_t before = rebuilt.size();
          command.eval = false;
          command.format(writer);
          command.length = rebuilt.size() - before;
        } else {
          // Unsent: its bytes are taken over as they are.
          sending_.consume(slot.start - position);
          sending_.move_front(command.length, rebuilt);
          position = slot.start + command.length;
        }
        slot.kept = true;
        order.push_back(slot.command);
      }
      rebuilt.take(outbox_);
      for (Ref<Command>& command : outbox_commands_) order.push_back(std::move(command));
      outbox_commands_.swap(order);
      outbox_.take(rebuilt);
      sorted = true;
    } catch (const std::bad_alloc&) {
      // Without room to sort them, none of them is sent any more.
      known_scripts_.clear();
      dropped.swap(outbox_commands_);
      outbox_.clear();
    }
    buffered_.store(outbox_.size(), std::memory_order_relaxed);
    turn_wanted_ = true;  // the next flush looks at their deadlines
  }
  sending_.clear();
  while (!slots_.empty()) {
    Slot slot = std::move(slots_.front());
    slots_.pop_front();
    if (sorted && slot.kept) continue;
    Error error = cause;
    error.add_flags(
        PULSE_ERROR_RETRIABLE |
        (slot.start < written_bytes_ ? PULSE_ERROR_OUTCOME_UNKNOWN : PULSE_ERROR_NEVER_SENT));
    fail(*slot.command, error);
  }
  for (const Ref<Command>& command : dropped) fail(*command, out_of_memory(PULSE_ERROR_NEVER_SENT));
}

// The next server may not know the scripts of the commands that wait.  They go ahead of all, so
// that none is answered with NOSCRIPT and overtaken by its successors.  mutex_ is held.
void Connection::load_scripts_again(Vector<Ref<Command>>& order, OutboxBuffer& buffer) {
  CommandWriter writer(buffer);
  auto load = [&](const Command& waiting) {
    const Script* script = waiting.script();
    if (script == nullptr ||
        std::find(known_scripts_.begin(), known_scripts_.end(), script) != known_scripts_.end()) {
      return;
    }
    known_scripts_.push_back(script);
    Ref<Command> command = Ref<Command>::adopt(new LoadScript(*script));
    size_t before = buffer.size();
    command->format(writer);
    command->length = buffer.size() - before;
    order.push_back(std::move(command));
  };
  for (const Slot& slot : slots_) load(*slot.command);
  for (const Ref<Command>& command : outbox_commands_) load(*command);
}

void Connection::fail_all(const Error& error) {
  Vector<Ref<Command>> queued;
  {
    std::lock_guard<AdaptiveMutex> lock(mutex_);
    queued.swap(outbox_commands_);
    outbox_.clear();
    buffered_.store(0, std::memory_order_relaxed);
  }
  sending_.clear();
  while (!slots_.empty()) {
    Slot slot = std::move(slots_.front());
    slots_.pop_front();
    Error e = error;
    e.add_flags(slot.start < written_bytes_ ? PULSE_ERROR_OUTCOME_UNKNOWN : PULSE_ERROR_NEVER_SENT);
    fail(*slot.command, e);
  }
  for (const Ref<Command>& command : queued) {
    Error e = error;
    e.add_flags(PULSE_ERROR_NEVER_SENT);
    fail(*command, e);
  }
}

void Connection::close(const Error& error) {
  if (state_ == State::closed) return;
  {
    std::lock_guard<AdaptiveMutex> lock(mutex_);
    accepting_ = false;
    idle_fd_.store(-1, std::memory_order_relaxed);
  }
  resolver_.reset();
  (void)take_direct();
  close_socket();
  enter(State::closed);
  attempt_timer_.reset();
  deadline_timer_.reset();
  host_.connection_gone(*this);
  fail_all(error);
}

// --- sending ---------------------------------------------------------------

// mutex_ is held.
void Connection::queue(Ref<Command>& command) {
  size_t before = outbox_.size();
  CommandWriter writer(outbox_);
  command->format(writer);
  command->length = outbox_.size() - before;
  outbox_commands_.push_back(std::move(command));
}

// The first command that calls a script on this connection loads it.  mutex_ is held.
void Connection::queue_script(const Command& command) {
  const Script* script = command.script();
  if (script == nullptr || command.eval ||
      std::find(known_scripts_.begin(), known_scripts_.end(), script) != known_scripts_.end()) {
    return;
  }
  Ref<Command> load = Ref<Command>::adopt(new LoadScript(*script));
  queue(load);
  known_scripts_.push_back(script);
}

// All or nothing.  mutex_ is held.
template <class Add>
Error Connection::submit_with(Add add, bool* wake) {
  if (!accepting_)
    return Error(PULSE_ERR_CLOSED, "the connection is closed", PULSE_ERROR_NEVER_SENT);
  size_t bytes = outbox_.size();
  size_t commands = outbox_commands_.size();
  size_t scripts = known_scripts_.size();
  try {
    add();
  } catch (const std::bad_alloc&) {
    outbox_.truncate(bytes);
    outbox_commands_.resize(commands);
    known_scripts_.resize(scripts);
    throw;
  }
  buffered_.store(outbox_.size(), std::memory_order_relaxed);
  *wake = !turn_wanted_;
  turn_wanted_ = true;
  return {};
}

Connection::Submission::Submission(Connection& connection)
    : connection_(connection), lock_(connection.mutex_) {}

Connection::Submission::~Submission() {
  if (wake_ && connection_.write_directly()) wake_ = false;
  lock_.unlock();
  if (wake_) connection_.host_.want_turn();
}

Error Connection::Submission::submit(Ref<Command>& command) {
  return connection_.submit_with(
      [&] {
        connection_.queue_script(*command);
        connection_.queue(command);
      },
      &wake_);
}

Error Connection::submit(Ref<Command> command) { return Submission(*this).submit(command); }

Error Connection::Submission::submit_all(const Vector<Ref<Command>>& commands) {
  if (commands.empty()) return {};
  return connection_.submit_with(
      [&] {
        connection_.queue_script(*commands[0]);
        for (const Ref<Command>& command : commands) {
          Ref<Command> one = command;
          connection_.queue(one);
        }
      },
      &wake_);
}

Error Connection::submit_all(const Vector<Ref<Command>>& commands) {
  return Submission(*this).submit_all(commands);
}

// Takes commands out of the outbox that were given up, or whose deadline has passed.
void Connection::drop_abandoned() {
  Vector<Ref<Command>> dropped;
  int64_t now = monotonic_ms();
  auto unwanted = [now](const Ref<Command>& c) { return c->abandoned() || c->deadline_ms <= now; };
  {
    std::lock_guard<AdaptiveMutex> lock(mutex_);
    size_t gone = static_cast<size_t>(
        std::count_if(outbox_commands_.begin(), outbox_commands_.end(), unwanted));
    if (gone == 0) return;
    try {
      dropped.reserve(gone);
      Vector<Ref<Command>> order;
      order.reserve(outbox_commands_.size() - gone);
      OutboxBuffer kept;
      for (const Ref<Command>& command : outbox_commands_) {
        if (dropped.size() < gone && unwanted(command)) {
          outbox_.consume(command->length);
          dropped.push_back(command);
        } else {
          outbox_.move_front(command->length, kept);
          order.push_back(command);
        }
      }
      outbox_commands_.swap(order);
      outbox_.take(kept);
    } catch (const std::bad_alloc&) {
      // Without room to sort them, none of them is sent any more.
      dropped.swap(outbox_commands_);
      outbox_.clear();
    }
    buffered_.store(outbox_.size(), std::memory_order_relaxed);
  }
  for (const Ref<Command>& command : dropped) {
    fail(*command, unwanted(command) ? Error(PULSE_ERR_TIMEOUT,
                                             "the deadline passed before there was a connection",
                                             PULSE_ERROR_RETRIABLE | PULSE_ERROR_NEVER_SENT)
                                     : out_of_memory(PULSE_ERROR_NEVER_SENT));
  }
}

// Gives each command, whose bytes stand in sending_, its slot.  False: the connection was given up.
// `outcome`: of those that find no memory for one.
bool Connection::begin_commands(Vector<Ref<Command>>& commands, int64_t now, uint32_t outcome,
                                int64_t* earliest) {
  size_t begun = 0;
  if (slots_.empty()) since_idle_ = 0;
  since_idle_ += commands.size();
  try {
    for (Ref<Command>& command : commands) {
      slots_.push_back({nullptr, queued_bytes_, now, false});
      begun++;
      if (begun + kAhead < commands.size()) {
        prefetch_for_writing(commands[begun + kAhead].get(), kCommandBytes);
      }
      *earliest = std::min(*earliest, command->deadline_ms);
      queued_bytes_ += command->length;
      command->sent();
      slots_.back().command = std::move(command);
    }
    return true;
  } catch (const std::bad_alloc&) {
    lose(out_of_memory());
    for (size_t i = begun; i < commands.size(); i++) {
      fail(*commands[i], out_of_memory(outcome));
    }
    return false;
  }
}

void Connection::flush() noexcept {
  if (state_ == State::closed) return;
  try {
    if (!take_direct()) return;
    if (state_ == State::ready && sending_.empty() && buffered() == 0 &&
        !turn_wanted_.load(std::memory_order_relaxed)) {
      offer_idle();  // whoever submits something now asks for another turn
      return;
    }
    int64_t earliest = kNever;
    if (state_ == State::ready && sending_.size() < kSendWindow) {
      if (!sending_.empty()) drop_abandoned();
      Vector<Ref<Command>> commands;
      bool taken = true;
      {
        std::lock_guard<AdaptiveMutex> lock(mutex_);
        turn_wanted_ = false;
        idle_fd_.store(-1, std::memory_order_relaxed);  // this thread writes now
        commands.swap(outbox_commands_);
        try {
          sending_.take(outbox_);
        } catch (const std::bad_alloc&) {
          outbox_.clear();
          taken = false;
        }
        buffered_.store(0, std::memory_order_relaxed);
      }
      if (!taken) {
        lose(out_of_memory());
        for (const Ref<Command>& c : commands) fail(*c, out_of_memory(PULSE_ERROR_NEVER_SENT));
        return;
      }
      if (!commands.empty()) {
        int64_t now = monotonic_ms();
        if (slots_.empty()) last_heard_ms_ = now;
        if (!begin_commands(commands, now, PULSE_ERROR_NEVER_SENT, &earliest)) return;
        host_.counters().commands_sent.fetch_add(commands.size(), std::memory_order_relaxed);
        commands.clear();
        {
          // The vector goes back, so that the next turn need not grow one.
          std::lock_guard<AdaptiveMutex> lock(mutex_);
          if (outbox_commands_.empty()) outbox_commands_.swap(commands);
        }
        int64_t patience = host_.server_config().command_timeout_ms;
        if (patience >= 0) earliest = std::min(earliest, now + patience);
        arm_deadline(earliest);
      }
    } else if (state_ != State::ready) {
      std::lock_guard<AdaptiveMutex> lock(mutex_);
      if (turn_wanted_) {
        turn_wanted_ = false;
        for (const Ref<Command>& command : outbox_commands_) {
          earliest = std::min(earliest, command->deadline_ms);
        }
      }
    }
    if (earliest != kNever) arm_deadline(earliest);
    if (fd_ >= 0 && !sending_.empty() && (state_ == State::ready || state_ == State::greeting)) {
      write_some();
    }
    if (state_ == State::ready) offer_idle();
  } catch (const std::bad_alloc&) {
    lose(out_of_memory());
  }
}

// False when the connection was lost.
bool Connection::write_some() {
  bool blocked = false;
  while (!sending_.empty() && !blocked) {
    iovec vectors[kMaxVectors];
    int n = sending_.vectors(vectors, kMaxVectors);
    size_t written = 0;
    if (tls_) {
      switch (tls_->write(vectors[0].iov_base, vectors[0].iov_len, &written)) {
        case TlsSession::IoResult::ok:
          break;
        case TlsSession::IoResult::want_read:  // renegotiation: the read side drives it
        case TlsSession::IoResult::want_write:
          blocked = true;
          break;
        default:
          lose(tls_->error());
          return false;
      }
    } else {
      msghdr message{};
      message.msg_iov = vectors;
      message.msg_iovlen = static_cast<size_t>(n);
      ssize_t rc = sendmsg(fd_, &message, MSG_NOSIGNAL);
      if (rc < 0) {
        if (errno == EINTR) continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
          int reason = errno;
          // The peer may have said why before it closed: "max number of clients reached".
          if (state_ == State::greeting && read_some() && state_ != State::greeting) return false;
          if (state_ == State::waiting || state_ == State::closed) return false;
          lose(or_greeting_error(
              Error::system(PULSE_ERR_DISCONNECTED, "connection lost while writing", reason)));
          return false;
        }
        blocked = true;
      } else {
        written = static_cast<size_t>(rc);
      }
    }
    if (written > 0) {
      sending_.consume(written);
      written_bytes_ += written;
      host_.counters().bytes_sent.fetch_add(written, std::memory_order_relaxed);
      host_.counters().writes.fetch_add(1, std::memory_order_relaxed);
    }
  }
  want_write_ = !sending_.empty();
  update_watch();
  // Room again: what waits in the outbox may follow.
  if (!want_write_ && buffered() > 0) host_.want_turn();
  return true;
}

void Connection::update_watch() {
  watch_.start(Watch::kReadable | (want_write_ ? Watch::kWritable : 0));
}

// --- receiving -------------------------------------------------------------

void Connection::on_io(int events) {
  try {
    switch (state_) {
      case State::connecting:
        connected();
        return;
      case State::securing:
        secure();
        return;
      case State::greeting:
      case State::ready:
        // Replies first: they may explain why writing would fail.
        if ((events & Watch::kReadable) != 0 && !read_some()) return;
        if ((events & Watch::kWritable) != 0 && fd_ >= 0) write_some();
        return;
      default:
        return;
    }
  } catch (const std::bad_alloc&) {
    lose(out_of_memory());
  }
}

// False when the connection was lost.
bool Connection::read_some() {
  char chunk[kReadChunk];
  size_t budget = kReadBudget;
  while (budget > 0) {
    size_t got = 0;
    bool again = false;
    if (tls_) {
      switch (tls_->read(chunk, sizeof chunk, &got)) {
        case TlsSession::IoResult::ok:
          break;
        case TlsSession::IoResult::want_read:
          again = true;
          break;
        case TlsSession::IoResult::want_write:
          want_write_ = true;
          update_watch();
          again = true;
          break;
        case TlsSession::IoResult::eof:
          break;
        case TlsSession::IoResult::error:
          lose(tls_->error());
          return false;
      }
    } else {
      ssize_t rc = recv(fd_, chunk, sizeof chunk, 0);
      if (rc < 0) {
        if (errno == EINTR) continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
          lose(or_greeting_error(Error::system(PULSE_ERR_DISCONNECTED, "connection lost", errno)));
          return false;
        }
        again = true;
      } else {
        got = static_cast<size_t>(rc);
      }
    }
    if (again) return true;
    if (got == 0) {
      lose(or_greeting_error(Error(PULSE_ERR_DISCONNECTED, "the server closed the connection",
                                   PULSE_ERROR_RETRIABLE)));
      return false;
    }
    if (!take_direct()) return false;
    budget -= std::min(budget, got);
    last_heard_ms_ = monotonic_ms();
    host_.counters().bytes_received.fetch_add(got, std::memory_order_relaxed);
    for (size_t at = 0; at < got; at += kParsed) {
      Error error = parser_.feed(chunk + at, std::min(kParsed, got - at));
      const ReplyNode* nodes = nullptr;
      size_t count = 0;
      while (error.ok() && parser_.next(&error, &nodes, &count)) {
        Reply reply(nodes, count, parser_.slab());
        handle_reply(reply);
        if (state_ != State::ready && state_ != State::greeting) return false;
      }
      if (!error.ok()) {
        lose(error);
        return false;
      }
    }
    if (takes_parts()) {
      handle_part();
      budget = std::min(budget, kPartsBudget);
    }
    // A short read emptied the socket; TLS may hold more inside.
    if (!tls_ && got < sizeof chunk) return true;
  }
  return true;
}

// Takes a message of a channel; false for all else.
bool Connection::take_message(Reply reply) noexcept {
  if (role_ != Role::subscribe || reply.next().elements() != 3 || reply.next().text != "message") {
    return false;
  }
  const std::string_view channel = reply.next().text;
  const std::string_view payload = reply.next().text;
  try {
    listener_->connection_message(channel, payload);
  } catch (const std::bad_alloc&) {
    lose(out_of_memory());  // whoever missed it learns that something is missing
  }
  return true;
}

void Connection::handle_reply(Reply& reply) {
  if (take_message(reply)) return;
  if (slots_.empty()) {
    const ReplyNode& node = reply.peek();
    // A server that is full or shuts down speaks without being asked.
    lose(node.is_error()
             ? server_error(node.text)
             : Error(PULSE_ERR_PROTOCOL, "a reply that nobody asked for", PULSE_ERROR_RETRIABLE));
    return;
  }
  Ref<Command> command = std::move(slots_.front().command);
  slots_.pop_front();
  if (slots_.size() > kAhead) prefetch_for_writing(slots_[kAhead].command.get(), kCommandBytes);
  try {
    if (!reply.peek().is_error()) {
      command->replied(reply);
    } else {
      std::string_view text = reply.peek().text;
      host_.counters().errors_replied.fetch_add(1, std::memory_order_relaxed);
      if (command->script() != nullptr && !command->eval && text.substr(0, 8) == "NOSCRIPT") {
        // It did not run: the server wants the text.
        command->eval = true;
        Error error = submit(command);
        if (!error.ok()) command->failed(error);
      } else {
        command->failed(server_error(text));
      }
    }
  } catch (const std::bad_alloc&) {
    fail(*command, out_of_memory(PULSE_ERROR_OUTCOME_UNKNOWN));
  }
  if (state_ == State::greeting && greeting_left_ == 0) {
    if (greeting_error_.ok()) {
      become_ready();
    } else {
      lose(greeting_error_);
    }
  }
}

bool Connection::takes_parts() const {
  return !slots_.empty() && slots_.front().command->takes_parts();
}

void Connection::handle_part() {
  const ReplyNode* nodes = nullptr;
  size_t count = 0;
  parser_.take_part(&nodes, &count);
  if (count == 0) return;
  Reply reply(nodes, count, parser_.slab());
  const Ref<Command> command = slots_.front().command;
  command->part(reply);
}

// --- deadlines -------------------------------------------------------------

// What has come counts, also when the loop had no time to read it: it calls timers first.
void Connection::hear() {
  if (state_ == State::greeting || state_ == State::ready) on_io(Watch::kReadable);
}

void Connection::check_attempt() noexcept {
  hear();
  if (state_ == State::ready || state_ == State::waiting) return;
  lose(state_ == State::securing
           ? Error(PULSE_ERR_CONNECT,
                   "no TLS handshake within connect_timeout_ms: is it a TLS port?",
                   PULSE_ERROR_RETRIABLE)
           : Error(PULSE_ERR_CONNECT, "no connection within connect_timeout_ms",
                   PULSE_ERROR_RETRIABLE));
}

void Connection::arm_deadline(int64_t deadline_ms) {
  if (deadline_ms >= next_deadline_ms_ || state_ == State::closed) return;
  next_deadline_ms_ = deadline_ms;
  deadline_timer_.start(deadline_ms - monotonic_ms());
}

// Until when something has to be heard; kNever where no answer is due.
int64_t Connection::patient_until_ms() const {
  const int64_t patience = host_.server_config().command_timeout_ms;
  if (state_ != State::ready || slots_.empty() || patience < 0) return kNever;
  const Slot& oldest = slots_.front();
  const int64_t due = std::max(oldest.sent_ms, last_heard_ms_) + patience;
  // A command that blocks at the server has a deadline beyond its blocking time, so the
  // connection as a whole is judged by its oldest command's.
  const int64_t deadline = oldest.command->deadline_ms;
  return deadline == kNever ? due : std::max(due, deadline);
}

// Fails commands whose deadline has passed, and gives up a connection on which nothing was
// heard for the whole command timeout although an answer is due.
void Connection::check_deadlines() noexcept {
  try {
    next_deadline_ms_ = kNever;
    withdraw_idle();
    if (!take_direct()) return;
    if (patient_until_ms() <= monotonic_ms()) hear();
    int64_t earliest = patient_until_ms();
    if (earliest <= monotonic_ms()) {
      lose(Error(PULSE_ERR_DISCONNECTED, "no reply within command_timeout_ms",
                 PULSE_ERROR_RETRIABLE));
      return;
    }
    drop_abandoned();
    {
      std::lock_guard<AdaptiveMutex> lock(mutex_);
      for (const Ref<Command>& command : outbox_commands_) {
        earliest = std::min(earliest, command->deadline_ms);
      }
    }
    arm_deadline(earliest);
    // While it is in use, the timer goes on: callers write only where it watches.
    const int64_t patience = host_.server_config().command_timeout_ms;
    if (state_ == State::ready && patience >= 0 && last_heard_ms_ + patience > monotonic_ms()) {
      arm_deadline(monotonic_ms() + patience);
    }
  } catch (const std::bad_alloc&) {
    arm_deadline(monotonic_ms() + 1000);
  }
}

}  // namespace pulseengine
