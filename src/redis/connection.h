// One connection to the server: socket, TLS, greeting, pipelining, reconnecting.
//
// submit() may be called from any thread; everything else belongs to the loop
// thread.  Commands that were gathered since the last turn leave in one write,
// in the order of submit; where nothing else is under way, the caller of submit may
// write.  While there is no connection they wait.
#ifndef PULSE_REDIS_CONNECTION_H
#define PULSE_REDIS_CONNECTION_H

#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <mutex>

#include "base/adaptive_mutex.h"
#include "base/outbox_buffer.h"
#include "loop/loop.h"
#include "pulseengine/engine.h"
#include "redis/command.h"
#include "redis/config.h"
#include "redis/local_server.h"
#include "redis/reply_parser.h"
#include "redis/server_info.h"
#include "redis/tls.h"

namespace pulseengine {

class Connection;

// What the connections of one engine share.
class ConnectionHost {
 public:
  virtual Loop& loop() = 0;
  virtual const ServerConfig& server_config() const = 0;
  virtual ConnectionCounters& counters() = 0;
  virtual TlsContext* tls_context() = 0;  // null without TLS
  // Asks for flush() in the turn to come.  Any thread.
  virtual void want_turn() noexcept = 0;
  virtual void log(pulse_log_level level, std::string_view text) noexcept = 0;
  // Whether this thread may write a socket itself: not where the host says when that happens, and
  // not where the end of the turn comes soon.
  virtual bool callers_may_write() const = 0;
  // Guards what all threads put into the connections.
  virtual AdaptiveMutex& submit_mutex() = 0;
  // What the greeting learned of the server.
  virtual void server_seen(const ServerInfo& info) = 0;
  // Connections come and go; the host flushes those that exist once a turn.
  virtual void connection_opened(Connection& connection) = 0;
  virtual void connection_gone(Connection& connection) noexcept = 0;

 protected:
  ~ConnectionHost() = default;
};

class ConnectionListener {
 public:
  virtual void connection_ready(Connection& connection) = 0;
  // Lost, or an attempt to connect failed; it tries again by itself.  Commands
  // that could not be kept have failed already.
  virtual void connection_lost(Connection& connection, const Error& error) = 0;
  // A message of a channel that the connection subscribes to.
  virtual void connection_message(std::string_view /*channel*/, std::string_view /*payload*/) {}

 protected:
  ~ConnectionListener() = default;
};

class Connection : public Allocated {
 public:
  enum class State : uint8_t {
    idle,      // not opened yet
    starting,  // an attempt begins; or the local server is being started
    resolving,
    connecting,
    securing,  // TLS handshake
    greeting,  // AUTH, SELECT, CLIENT SETNAME ...
    ready,
    waiting,  // for the next attempt
    closed,
  };
  enum class Role : uint8_t {
    command,    // probes the server in its greeting
    read,       // for blocking reads; learns its client id
    subscribe,  // for SUBSCRIBE: messages come between the replies
  };

  Connection(ConnectionHost& host, Role role, ConnectionListener* listener);
  ~Connection();

  void open();
  // All commands fail with `error`.  Final.
  void close(const Error& error);

  // Queues the command.  Any thread.  Throws bad_alloc, with no effect then.
  // After close() PULSE_ERR_CLOSED is returned and nothing is called.
  Error submit(Ref<Command> command);
  // The same for many: next to each other, and all or none.
  Error submit_all(const Vector<Ref<Command>>& commands);
  // For those who have more to do under the same lock: while it lives, it holds submit_mutex().
  class Submission {
   public:
    explicit Submission(Connection& connection);
    ~Submission();
    Submission(const Submission&) = delete;
    Submission& operator=(const Submission&) = delete;
    // As above; the reference is taken over where it succeeds.
    Error submit(Ref<Command>& command);
    Error submit_all(const Vector<Ref<Command>>& commands);

   private:
    Connection& connection_;
    std::unique_lock<AdaptiveMutex> lock_;
    bool wake_ = false;
  };
  // Bytes that wait to be sent.  Any thread.
  size_t buffered() const { return buffered_.load(std::memory_order_relaxed); }
  // Nothing is under way, and what this thread submits now goes out at once.  It may have changed
  // when the answer is there.  Any thread.
  bool writes_at_once() const {
    return idle_fd_.load(std::memory_order_relaxed) >= 0 && buffered() == 0 &&
           host_.callers_may_write();
  }

  // Gives up this connection: it connects again by itself.
  void lose(const Error& cause) noexcept;

  // Takes out of the queue what was given up, or whose deadline has passed.
  void drop_abandoned();
  // Writes what was submitted.  Once a turn.
  void flush() noexcept;

  State state() const { return state_; }
  bool ready() const { return state_ == State::ready; }
  int64_t client_id() const { return client_id_; }  // 0 when not known
  const Error& last_error() const { return last_error_; }

 private:
  struct Slot {
    Ref<Command> command;
    uint64_t start;  // offset of its first byte in all bytes of this connection
    int64_t sent_ms;
    bool greeting;
    bool kept = false;  // waits again, after a loss
  };
  struct Greeting;
  struct LoadScript;

  void enter(State next);
  void queue(Ref<Command>& command);
  void queue_script(const Command& command);
  template <class Add>
  Error submit_with(Add add, bool* wake);
  void attempt() noexcept;
  void start_local();
  void local_started();
  void forget_local();
  void connect_to_socket(const String& path);
  void connect_to(const sockaddr* address, socklen_t length);
  void try_next_address();
  void connected();
  void secure();
  void greet();
  void become_ready();
  Error or_greeting_error(const Error& error) const;
  void retry_later();
  void fail_all(const Error& error);
  void requeue_unanswered(const Error& cause);
  void load_scripts_again(Vector<Ref<Command>>& order, OutboxBuffer& buffer);
  void close_socket();
  bool begin_commands(Vector<Ref<Command>>& commands, int64_t now, uint32_t outcome,
                      int64_t* earliest);
  void offer_idle();
  void withdraw_idle();
  bool write_directly() noexcept;
  bool take_direct();
  void on_io(int events);
  bool read_some();
  bool write_some();
  bool take_message(Reply reply) noexcept;
  void handle_reply(Reply& reply);
  bool takes_parts() const;
  void handle_part();
  void update_watch();
  void hear();
  void check_attempt() noexcept;
  int64_t patient_until_ms() const;
  void check_deadlines() noexcept;
  void arm_deadline(int64_t deadline_ms);

  ConnectionHost& host_;
  const Role role_;
  ConnectionListener* const listener_;
  State state_ = State::idle;

  // Guarded by mutex_, the host's: commands that nobody has begun to send.
  AdaptiveMutex& mutex_;
  OutboxBuffer outbox_;
  Vector<Ref<Command>> outbox_commands_;
  Vector<const Script*> known_scripts_;  // loaded, or queued to be, on this connection
  bool accepting_ = true;
  std::atomic<bool> turn_wanted_{false};

  // What a caller has written itself, until the loop takes it over; see connection_direct.cc.
  Vector<Ref<Command>> direct_;
  OutboxBuffer direct_bytes_;  // that the socket did not take
  size_t direct_written_ = 0;
  int64_t direct_sent_us_ = 0;  // the last time

  std::atomic<size_t> buffered_{0};
  std::atomic<int> idle_fd_{-1};  // the socket while callers may write it; changed under mutex_
  std::atomic<bool> has_direct_{false};
  [[maybe_unused]] char apart_[64];  // what callers write is above

  // Loop thread.
  OutboxBuffer sending_;
  Deque<Slot> slots_;           // being sent or waiting for their reply, in order
  size_t since_idle_ = 0;       // commands begun since nothing was under way
  uint64_t queued_bytes_ = 0;   // of this connection's life, moved to sending_
  uint64_t written_bytes_ = 0;  // of them, given to the kernel
  ReplyParser parser_;
  int fd_ = -1;
  bool want_write_ = false;
  bool counted_open_ = false;
  int64_t client_id_ = 0;
  int64_t last_heard_ms_ = 0;
  int64_t backoff_ms_ = 0;
  size_t greeting_left_ = 0;
  Error greeting_error_;
  Error last_error_;
  ServerInfo seen_;
  Vector<sockaddr_storage> addresses_;
  size_t next_address_ = 0;
  Owned<TlsSession> tls_;
  Watch watch_;
  Watch local_watch_;
  int local_fd_ = -1;
  pid_t local_pid_ = -1;
  Timer attempt_timer_;  // back-off, and the connect timeout
  Timer deadline_timer_;
  int64_t next_deadline_ms_ = kNever;
  Resolver resolver_;
};

}  // namespace pulseengine

#endif
