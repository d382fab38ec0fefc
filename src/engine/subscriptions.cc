#include "engine/subscriptions.h"

#include <algorithm>
#include <charconv>

namespace pulseengine {

Subscriptions::~Subscriptions() {
  if (connection_) connection_->close(Error(PULSE_ERR_CLOSED, "the engine is closed"));
}

Subscriptions& Subscriptions::of(Engine& engine) {
  Owned<EngineAttachment>& attachment = engine.attachment(Engine::kSubscriptions);
  if (!attachment) attachment = make_owned<Subscriptions>(engine);
  return static_cast<Subscriptions&>(*attachment);
}

void Subscriptions::add(const String& channel, Ref<ChannelListener> listener) {
  if (!connection_) {
    connection_ = engine_.router().new_subscribe_connection(channel, this);
    connection_->open();
  }
  Listeners& listeners = channels_[channel];
  listeners.push_back(listener);
  if (!up_) return;
  try {
    subscribe(channel, listener);
  } catch (const std::bad_alloc&) {
    listeners.pop_back();
    throw;
  }
}

void Subscriptions::remove(const String& channel, ChannelListener& listener) noexcept {
  auto at = channels_.find(channel);
  if (at == channels_.end()) return;
  Listeners& listeners = at->second;
  auto found = std::find_if(listeners.begin(), listeners.end(),
                            [&](const Ref<ChannelListener>& l) { return l.get() == &listener; });
  if (found == listeners.end()) return;
  Ref<ChannelListener> keep = std::move(*found);
  listeners.erase(found);
  if (!listeners.empty()) return;
  if (up_) {
    try {
      auto name = [channel](CommandWriter& w, bool) { w.command("UNSUBSCRIBE", channel); };
      (void)connection_->submit(make_call(keep.get(), nullptr, false,
                                          engine_.config().command_timeout_ms, std::move(name),
                                          [](const Error&, Reply*) {}));
    } catch (const std::bad_alloc&) {
      // Its messages go on to come, and to nobody.
    }
  }
  channels_.erase(at);
  engine_.want_turn();
}

void Subscriptions::subscribe(const String& channel, const Ref<ChannelListener>& listener) {
  auto name = [channel](CommandWriter& w, bool) { w.command("SUBSCRIBE", channel); };
  auto done = [this, channel, l = listener.get()](const Error& error, Reply* reply) {
    if (!error.ok() && (error.flags() & PULSE_ERROR_SERVER) == 0) return;  // the connection went
    if (error.ok() && (reply->next().elements() != 3 || reply->next().text != "subscribe")) {
      (void)lose_answers();
      return;
    }
    auto at = channels_.find(channel);
    if (at == channels_.end()) return;
    const Listeners& listeners = at->second;
    if (std::none_of(listeners.begin(), listeners.end(),
                     [&](const Ref<ChannelListener>& other) { return other.get() == l; })) {
      return;  // gone meanwhile
    }
    if (error.ok()) {
      l->subscribed();
    } else {
      l->subscription_refused(error);
    }
  };
  (void)connection_->submit(make_call(listener.get(), nullptr, false,
                                      engine_.config().command_timeout_ms, std::move(name),
                                      std::move(done)));
}

// What comes in the place of an answer that got lost: the connection goes on, as some proxies
// manage, but what else is missing cannot be known.
Error Subscriptions::lose_answers() {
  Error error(PULSE_ERR_PROTOCOL, "an answer to a subscription's connection got lost",
              PULSE_ERROR_RETRIABLE);
  connection_->lose(error);
  return error;
}

Error Subscriptions::check_pong(Reply& reply, int64_t number) {
  const ReplyNode& head = reply.next();  // ["pong", number]; without a subscription the number
  if (head.elements() == 2) reply.next();
  const std::string_view text = head.elements() == 2 ? reply.next().text : head.text;
  int64_t got = 0;
  std::from_chars(text.data(), text.data() + text.size(), got);
  return got == number ? Error() : lose_answers();
}

template <class F>
void Subscriptions::for_all(F f) {
  Vector<std::pair<String, Ref<ChannelListener>>> all;
  for (const auto& [channel, listeners] : channels_) {
    for (const Ref<ChannelListener>& listener : listeners) all.emplace_back(channel, listener);
  }
  for (const auto& [channel, listener] : all) f(channel, listener);
}

void Subscriptions::subscribe_all() {
  subscribe_again_ = true;
  for_all([this](const String& channel, const Ref<ChannelListener>& listener) {
    subscribe(channel, listener);
  });
  subscribe_again_ = false;
}

void Subscriptions::connection_ready(Connection&) {
  up_ = true;
  subscribe_all();
}

void Subscriptions::connection_lost(Connection&, const Error& error) {
  up_ = false;
  for_all([&](const String&, const Ref<ChannelListener>& listener) {
    listener->subscription_lost(error);
  });
}

void Subscriptions::connection_message(std::string_view channel, std::string_view payload) {
  auto at = channels_.find(channel);
  if (at == channels_.end()) return;
  for (size_t i = 0; i < at->second.size(); i++) {
    Ref<ChannelListener> listener = at->second[i];
    listener->message(payload);
  }
}

void Subscriptions::flush() noexcept {
  if (channels_.empty() && connection_) {
    up_ = false;
    connection_->close(Error(PULSE_ERR_CLOSED, "nobody listens any more"));
    connection_.reset();
    return;
  }
  if (!subscribe_again_ || !up_) return;
  try {
    subscribe_all();
  } catch (const std::bad_alloc&) {
    engine_.want_turn();
  }
}

}  // namespace pulseengine
