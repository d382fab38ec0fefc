// The engine's subscriptions to channels, all on one connection.
#ifndef PULSE_ENGINE_SUBSCRIPTIONS_H
#define PULSE_ENGINE_SUBSCRIPTIONS_H

#include "engine/engine.h"

namespace pulseengine {

// Who follows a channel.  Loop thread.
class ChannelListener : public virtual RefCounted {
 public:
  // From here on every message comes.  Again after each loss.
  virtual void subscribed() = 0;
  // The server does not allow it; it is not tried again on this connection.
  virtual void subscription_refused(const Error& error) = 0;
  // Messages may be missed from here on; subscribed() follows when it is back.
  virtual void subscription_lost(const Error& error) = 0;
  // The text is valid during the call.
  virtual void message(std::string_view text) = 0;
};

// One per engine, made when the first listener comes.  Loop thread.
class Subscriptions final : public EngineAttachment, ConnectionListener {
 public:
  // Throws bad_alloc when it has to be made.
  static Subscriptions& of(Engine& engine);

  // Throws bad_alloc, with no effect then.
  void add(const String& channel, Ref<ChannelListener> listener);
  // Nothing of it is called any more.  No effect for strangers.
  void remove(const String& channel, ChannelListener& listener) noexcept;

  // Calls done(error) when all messages that the server had published before now were given to
  // their listeners; with an error when that cannot be known, because the connection was lost or
  // did not take the question within timeout_ms.  An answer that got lost on the way is noticed
  // with the next one: whoever waits asks again.  `owner` is kept alive meanwhile.  False, and done
  // is not called, while there is no connection.
  template <class Owner, class Done>
  bool after_published(Owner* owner, int64_t timeout_ms, Done done) {
    if (!up_) return false;
    const int64_t number = ++pings_;
    auto ping = [number](CommandWriter& writer, bool) { writer.command("PING", number); };
    auto answered = [this, number, done = std::move(done)](const Error& error,
                                                           Reply* reply) mutable {
      done(error.ok() ? check_pong(*reply, number) : error);
    };
    auto command =
        make_call(owner, nullptr, false, timeout_ms, std::move(ping), std::move(answered));
    return connection_->submit(std::move(command)).ok();
  }

  void flush() noexcept override;

  explicit Subscriptions(Engine& engine) : engine_(engine) {}
  ~Subscriptions() override;

 private:
  using Listeners = Vector<Ref<ChannelListener>>;

  void connection_ready(Connection& connection) override;
  void connection_lost(Connection& connection, const Error& error) override;
  void connection_message(std::string_view channel, std::string_view payload) override;

  void subscribe(const String& channel, const Ref<ChannelListener>& listener);
  void subscribe_all();
  // An error, and the connection is given up, if this is the answer to something else.
  Error check_pong(Reply& reply, int64_t number);
  Error lose_answers();
  // Calls f(channel, listener) for all, who may come and go meanwhile.
  template <class F>
  void for_all(F f);

  Engine& engine_;
  Owned<Connection> connection_;
  bool up_ = false;
  bool subscribe_again_ = false;  // memory was short
  int64_t pings_ = 0;
  Map<String, Listeners> channels_;
};

}  // namespace pulseengine

#endif
