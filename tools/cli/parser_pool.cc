// The command line of the verbs of worker pools.

#include <memory>
#include <string>

#include "commands.h"

namespace cli {
namespace {

using Run = int (*)(const GlobalOptions&, const PoolArguments&);

std::string check_retries(const std::string& text) {
  const std::string wrong = check_whole_number(text);
  if (!wrong.empty()) return wrong;
  return text[0] == '-' ? "write a number from 0 on" : "";
}

std::string check_workers(const std::string& text) {
  const bool fits = check_count(text).empty() && text.size() <= 5 && std::stoul(text) <= 10000;
  return fits ? "" : "write a number from 1 to 10000";
}

std::string check_routing(const std::string& text) {
  return text == "jump" || text == "rendezvous" ? "" : "write jump or rendezvous";
}

// Puts the verbs together; all of them share one set of arguments.
class PoolVerbs {
 public:
  explicit PoolVerbs(Commands* commands)
      : commands_(commands), arguments_(std::make_shared<PoolArguments>()) {}

  PoolArguments* arguments() { return arguments_.get(); }

  CLI::App* add(const std::string& name, const std::string& help, Run run) {
    CLI::App* verb = commands_->app->add_subcommand(name, help);
    verb->callback([commands = commands_, arguments = arguments_, run] {
      commands->run = [=] { return run(commands->global, *arguments); };
    });
    verb->add_option("POOL", arguments_->pool, "Name of the pool")->required();
    verb->add_option("--ttl", arguments_->ttl,
                     "A worker or node that is silent for so long is dead (default 30s); the same "
                     "for all of a pool")
        ->type_name("D")
        ->check(check_not_empty);
    verb->add_option("--grace", arguments_->grace,
                     "A node that routes jobs is replaced after this, and a dispatch given up "
                     "after twice as long (default 20s); the same for all of a pool")
        ->type_name("D")
        ->check(check_not_empty);
    verb->add_option("--routing", arguments_->routing,
                     "How jobs find their worker: jump, as the Go library, or rendezvous, which "
                     "moves fewer of them when workers change (default jump); the same for all of "
                     "a pool")
        ->type_name("jump|rendezvous")
        ->check(check_routing);
    return verb;
  }

  // Its key, and perhaps a payload.
  CLI::App* add_keyed(const std::string& name, const std::string& help, Run run, bool payload) {
    CLI::App* verb = add(name, help, run);
    verb->add_option("KEY", arguments_->key, "The key of the job: not empty, without '='")
        ->required();
    if (payload) {
      verb->add_option("PAYLOAD", arguments_->payload,
                       "The payload itself, '-' for all of standard input, '@file' for the bytes "
                       "of a file; nothing is an empty payload. Write '--' before a payload that "
                       "starts with '-'.");
    }
    return verb;
  }

 private:
  Commands* commands_;
  std::shared_ptr<PoolArguments> arguments_;
};

constexpr char kLooksIn[] =
    " To see it, the tool joins the pool as a node without workers, which routes jobs, too, while "
    "it is there; a pool that does not exist is made.";

}  // namespace

void register_pool(Commands* commands) {
  PoolVerbs verbs(commands);
  PoolArguments* arguments = verbs.arguments();

  CLI::App* verb = verbs.add(
      "worker",
      "Take part in a worker pool, and run the jobs that come here until SIGINT or SIGTERM; then "
      "they go on elsewhere. Prints {\"event\":\"start\",\"key\":\"k\",\"payload\":\"p\","
      "\"worker\":ID,\"node\":ID} and so on, the events being ready, start, stop, notify, moved "
      "(to another worker) and closed. Without --exec it accepts every job, and just prints.",
      pool_worker);
  verb->add_option("--workers", arguments->workers, "How many workers (default 1)")
      ->type_name("N")
      ->check(check_workers);
  CLI::Option* command = verb->add_option(
      "--exec", arguments->command,
      "Run this with sh for each job, all at the same time, the payload on standard input and "
      "PULSE_POOL, PULSE_KEY, PULSE_WORKER, PULSE_NODE in the environment, and PULSE_REQUEUED=1 "
      "when the job ran elsewhere before; its output goes to standard error. Exit status 0 ends "
      "the job. Another one is a failure: it is started again after a while, at first 250 ms, then "
      "twice as long each time, up to 30 s. When the job is stopped or moves, its process group "
      "gets SIGTERM, and SIGKILL if it is still there after 10 s. If the tool itself dies, so do "
      "its jobs' processes.");
  command->type_name("CMD")->check(check_not_empty);
  verb->add_option("--retries", arguments->retries,
                   "How often a command that fails is started again here; then the job ends. "
                   "Default: no limit.")
      ->type_name("N")
      ->check(check_retries)
      ->needs(command);

  verbs.add_keyed(
      "dispatch",
      "Start a job in a pool, and print what has become of it, {\"result\":\"started\","
      "\"error\":null,\"ms\":1.5}. The result is started, refused, exists, full (too many wait), "
      "no_pool, shutting_down or unknown (no answer: it may start all the same); the exit status "
      "is 0 only for started.",
      pool_dispatch, true);
  verbs.add_keyed("stop",
                  "Stop a job. The result is requested when its worker will be told; a job that "
                  "does not exist is no error.",
                  pool_stop, false);
  verbs.add_keyed("notify",
                  "Send something to the worker that has a job. The result is requested when its "
                  "worker will be told; a job that does not exist is no error.",
                  pool_notify, true);

  verb = verbs.add("jobs",
                   std::string("Print the jobs of a pool, each as a line, {\"key\":\"k\",\"state\":"
                               "\"owned\",\"worker\":ID,\"node\":ID}. A job is owned, or waiting "
                               "while no worker has it.") +
                       kLooksIn,
                   pool_jobs);
  verb->add_flag("--watch", arguments->watch,
                 "Then print each change, until SIGINT or SIGTERM: lines have \"change\", which is "
                 "added, changed or removed");

  verbs.add("workers", std::string("Print the workers of a pool, each as a line.") + kLooksIn,
            pool_workers);
  verbs.add(
      "nodes",
      std::string("Print the nodes of a pool, each as a line, this one not among them.") + kLooksIn,
      pool_nodes);

  verb = verbs.add(
      "ticker",
      "Take part in a ticker of a pool until SIGINT or SIGTERM; the others go on then. Of all who "
      "take part one gets each tick, and prints {\"event\":\"tick\",\"name\":\"n\",\"time_us\":"
      "1767225600000000,\"missed\":0}; the other events are ready, changed (another interval) and "
      "closed. The tool joins the pool as a node without workers, which routes jobs, too.",
      pool_ticker);
  verb->add_option("NAME", arguments->key, "The ticker: not empty, without '='")->required();
  verb->add_option("INTERVAL", arguments->interval,
                   "From 1ms on, such as 1.5s; the ticker gets it if it has another one");
  verb->add_flag("--catch-up", arguments->catch_up,
                 "When ticks were missed, one comes at once, not just the next one in time");
  verb->add_flag(
      "--stop", arguments->stop,
      "Stop the ticker for all, and print whether there was one; INTERVAL is not needed");

  verbs.add("shutdown",
            std::string("End all jobs of a pool and all its nodes, and remove what it has in the "
                        "server. Waits for the nodes, for up to two minutes; \"silent_nodes\" is "
                        "how many did not answer.") +
                kLooksIn,
            pool_shutdown);
}

}  // namespace cli
