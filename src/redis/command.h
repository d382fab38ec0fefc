// A command on its way to the server and back.
#ifndef PULSE_REDIS_COMMAND_H
#define PULSE_REDIS_COMMAND_H

#include "base/clock.h"
#include "base/ref.h"
#include "redis/reply.h"
#include "redis/script.h"
#include "redis/writer.h"

namespace pulseengine {

// The connection holds a reference from submit until one of replied() and
// failed() was called, which happens exactly once, on the loop thread.
class Command : public virtual RefCounted {
 public:
  // Writes the command.  Called by submit on the submitting thread, under the
  // connection's lock; and again, on the loop thread, when it is sent anew: after a lost connection
  // if repeatable(), or after NOSCRIPT (then eval is set).
  virtual void format(CommandWriter& writer) = 0;
  // Any reply but an error.
  virtual void replied(Reply& reply) = 0;
  // A long reply may come in parts: part() gets what there is, replied() the last one.  The parts
  // hold whole elements, behind the header of the array in the first one.
  virtual bool takes_parts() const { return false; }
  virtual void part(Reply&) {}
  // An error reply, a lost connection (flags tell NEVER_SENT from
  // OUTCOME_UNKNOWN), a deadline, or the connection was closed.
  virtual void failed(const Error& error) = 0;

  // Sending twice does no harm, and format() can be called again.
  virtual bool repeatable() const { return false; }
  // Nobody wants it any more: not to be sent if that has not happened yet.
  virtual bool abandoned() const { return false; }
  // The script that format() calls, through CommandWriter::script().
  virtual const Script* script() const { return nullptr; }
  // It was handed to the socket, or is about to be.  The loop thread, or the one that submits.
  virtual void sent() {}

  int64_t deadline_ms = kNever;  // monotonic; for commands that are no operations
  uint64_t length = 0;           // of the formatted command; set by the connection
  bool eval = false;             // the script's text is to be sent
};

// A command made of two functions: format(CommandWriter&, bool eval) and
// done(const Error&, Reply*), where the reply is null exactly if the error is not ok.  `owner`
// is kept alive meanwhile.
template <class Owner, class Format, class Done>
class CallCommand final : public Command {
 public:
  CallCommand(Ref<Owner> owner, const Script* script, bool repeatable, Format format, Done done)
      : owner_(std::move(owner)),
        script_(script),
        repeatable_(repeatable),
        format_(std::move(format)),
        done_(std::move(done)) {}
  void format(CommandWriter& writer) override { format_(writer, eval); }
  void replied(Reply& reply) override { done_(Error(), &reply); }
  void failed(const Error& error) override { done_(error, nullptr); }
  bool repeatable() const override { return repeatable_; }
  const Script* script() const override { return script_; }

 private:
  Ref<Owner> owner_;
  const Script* script_;
  bool repeatable_;
  Format format_;
  Done done_;
};

template <class Owner, class Format, class Done>
Ref<Command> make_call(Owner* owner, const Script* script, bool repeatable, int64_t timeout_ms,
                       Format format, Done done) {
  auto* command = new CallCommand<Owner, Format, Done>(Ref<Owner>::share(owner), script, repeatable,
                                                       std::move(format), std::move(done));
  command->deadline_ms = deadline_after(timeout_ms);
  return Ref<Command>::adopt(command);
}

}  // namespace pulseengine

#endif
