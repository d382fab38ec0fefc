// How the parts of a node send what the host asks for.  Included by node*.cc only.
#ifndef PULSE_POOL_NODE_CALL_H
#define PULSE_POOL_NODE_CALL_H

#include "pool/node.h"

namespace pulseengine {

// The command of a call.
template <class Format, class Done>
class PoolCommand final : public Command {
 public:
  PoolCommand(Ref<PoolNode> node, Ref<PoolCall> call, const Script* script, bool repeatable,
              Format format, Done done)
      : node_(std::move(node)),
        call_(std::move(call)),
        script_(script),
        repeatable_(repeatable),
        format_(std::move(format)),
        done_(std::move(done)) {}
  void format(CommandWriter& w) override { format_(w, eval); }
  void replied(Reply& reply) override {
    try {
      done_(*call_, Error(), &reply);
    } catch (const std::bad_alloc&) {
      call_->complete(Error(PULSE_ERR_NO_MEMORY, "out of memory", PULSE_ERROR_OUTCOME_UNKNOWN));
    }
  }
  void failed(const Error& error) override {
    done_(*call_, error, nullptr);
    call_->complete(error);
  }
  bool repeatable() const override { return repeatable_; }
  bool abandoned() const override { return call_->completed(); }
  const Script* script() const override { return script_; }
  void sent() override { call_->sent_any = true; }

 private:
  const Ref<PoolNode> node_;
  const Ref<PoolCall> call_;
  const Script* const script_;
  const bool repeatable_;
  Format format_;
  Done done_;
};

template <class Format, class Done>
Error PoolNode::start_call(Ref<PoolCall> call, int64_t timeout_ms, Ref<Signal> signal,
                           const Script* script, bool repeatable, size_t bytes, Format format,
                           Done done, Ref<Operation>* out) {
  if (closed()) return Error(PULSE_ERR_CLOSED, "the node is closed", PULSE_ERROR_NEVER_SENT);
  Connection& connection = engine_->connection_for(names_.pool_stream);
  Error error = engine_->admit(connection, bytes);
  if (!error.ok()) return error;
  call->set_signal(std::move(signal));
  using Sent = PoolCommand<Format, Done>;
  Ref<Sent> command = make_ref<Sent>(Ref<PoolNode>::share(this), call, script, repeatable,
                                     std::move(format), std::move(done));
  error = engine_->accept(*call, timeout_ms);
  if (!error.ok()) return error;
  try {
    error = connection.submit(std::move(command));
  } catch (const std::bad_alloc&) {
    error = Error(PULSE_ERR_NO_MEMORY, "out of memory", PULSE_ERROR_NEVER_SENT);
  }
  if (!error.ok()) {
    engine_->reject(*call);
    return error;
  }
  *out = std::move(call);
  return {};
}

}  // namespace pulseengine

#endif
