#include "parser.h"

#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "commands.h"
#include "failure.h"
#include "help.h"
#include "man.h"

// Only the parser_*.cc and man.cc besides know CLI11, which takes long to compile.

namespace cli {
namespace {

void add_global_options(CLI::App* app, GlobalOptions* global) {
  const char* url = std::getenv("PULSE_URL");
  global->url = url && *url ? url : "local:";
  app->add_option("--url", global->url,
                  "The server: redis://[user[:password]@]host[:port][/db], rediss://..., "
                  "unix:///path[?db=n], local: or local:///directory (a private server, started "
                  "when needed). Default: $PULSE_URL, else local:")
      ->type_name("URL");
  app->add_option("--key-prefix", global->key_prefix,
                  "Goes before every key in the server, as in the engine's option of that name")
      ->type_name("P");
  app->add_option("--timeout", global->timeout,
                  "How long to wait for the connection and for each answer (default 10s)")
      ->type_name("D");
  app->add_flag("--verbose,-v", global->verbose, "Show the library's log on standard error");
  app->set_version_flag("--version", std::string("pulseengine ") + pulse_version_string(),
                        "Print the version");
}

// `arguments` outlives the parser.
void add_receive_options(CLI::App* verb, ReceiveArguments* arguments,
                         const std::string& from_help) {
  verb->add_option("--from", arguments->from, from_help)
      ->type_name("oldest|newest|ID|TIME")
      ->check(check_not_empty);
  CLI::Option* topic_option =
      verb->add_option("--topic", arguments->topic, "Only events with exactly this topic");
  topic_option->type_name("T");
  CLI::Option* pattern_option =
      verb->add_option("--pattern", arguments->pattern,
                       "Only events whose topic matches (RE2 syntax, not anchored)");
  pattern_option->type_name("RE")->excludes(topic_option);
  verb->add_option("--count", arguments->count, "End after this many events")
      ->type_name("N")
      ->check(check_count);
  // Seen, not "not empty": an empty topic is a topic.
  topic_option->each([arguments](const std::string&) { arguments->has_topic = true; });
  pattern_option->each([arguments](const std::string&) { arguments->has_pattern = true; });
}

void register_add(Commands* commands) {
  auto arguments = std::make_shared<AddArguments>();
  CLI::App* verb = commands->app->add_subcommand(
      "add",
      "Publish an event and print its id, {\"id\":\"1700000000000-0\"}; the id is null when "
      "--only-if-exists found no stream.");
  verb->add_option("STREAM", arguments->stream, "Name of the stream")->required();
  verb->add_option("NAME", arguments->name, "Name of the event")->required();
  CLI::Option* payload = verb->add_option(
      "PAYLOAD", arguments->payload,
      "The payload itself, '-' for all of standard input, '@file' for the bytes of a file; "
      "nothing is an empty payload. Write '--' before a payload that starts with '-'.");
  CLI::Option* topic = verb->add_option("--topic", arguments->topic, "Topic of the event");
  topic->type_name("T");
  verb->add_option("--header", arguments->headers,
                   "A header, as often as there are headers (at most 64)")
      ->type_name("K=V")
      ->allow_extra_args(false);
  verb->add_option("--max-len", arguments->max_len,
                   "Keep about this many events in the stream; 0 is the default of 1000, -1 keeps "
                   "all of them")
      ->type_name("N")
      ->check(check_whole_number);
  CLI::Option* ttl = verb->add_option("--ttl", arguments->ttl,
                                      "The stream expires this long after its first event");
  ttl->type_name("D")->check(check_not_empty);
  verb->add_option("--sliding-ttl", arguments->sliding_ttl,
                   "The stream expires this long after its last event")
      ->type_name("D")
      ->check(check_not_empty)
      ->excludes(ttl);
  verb->add_flag("--only-if-exists", arguments->only_if_exists, "Do not create the stream");
  verb->add_flag("--lines", arguments->lines,
                 "Publish each line of standard input (or @file) as an event of its own; ids are "
                 "printed in the order of the lines. Ends at the first line that fails.");
  verb->callback([=] {
    arguments->has_payload = payload->count() > 0;
    arguments->has_topic = topic->count() > 0;
    commands->run = [=] { return add(commands->global, *arguments); };
  });
}

void register_read(Commands* commands) {
  auto arguments = std::make_shared<ReadArguments>();
  CLI::App* verb = commands->app->add_subcommand(
      "read",
      "Print the events of a stream, each as a line. Prints {\"notice\":\"ready\"} once it "
      "receives. Ends after the newest event that existed at the start, unless it follows.");
  verb->add_option("STREAM", arguments->stream, "Name of the stream")->required();
  add_receive_options(
      verb, arguments.get(),
      "Where to start: the oldest event, the newest (only what is added from now on; "
      "follows), after an id, or at a time (RFC 3339 or Unix ms). Default: oldest, "
      "with --follow newest.");
  verb->add_flag("--follow,-f", arguments->follow,
                 "Go on with events as they are added, until SIGINT or SIGTERM");
  verb->callback([=] { commands->run = [=] { return read(commands->global, *arguments); }; });
}

void register_sink(Commands* commands) {
  auto arguments = std::make_shared<SinkArguments>();
  CLI::App* verb = commands->app->add_subcommand(
      "sink",
      "Join the group of consumers GROUP and print the events that are handed to this one, each "
      "as a line, until SIGINT or SIGTERM. Prints {\"notice\":\"ready\"} once it receives. At the "
      "end what is not acked is handed back to the others.");
  verb->add_option("STREAM", arguments->stream, "Name of the stream")->required();
  verb->add_option("GROUP", arguments->group, "Name of the group")->required();
  add_receive_options(
      verb, arguments.get(),
      "Where the group starts if it does not exist yet: the oldest event, the newest "
      "(only what is added from now on), after an id, or at a time (RFC 3339 or Unix "
      "ms). Default: newest.");
  CLI::Option* ack = verb->add_flag(
      "--ack",
      "Ack an event after its line was written (default). What was not acked when its "
      "consumer died is handed out again.");
  CLI::Option* leave = verb->add_flag("--leave", arguments->leave, "Never ack");
  CLI::Option* no_ack = verb->add_flag(
      "--no-ack", arguments->no_ack,
      "The server takes events as handled when it hands them out: none comes twice, and those "
      "under way are lost when this process dies");
  leave->excludes(ack);
  no_ack->excludes(ack);
  no_ack->excludes(leave);
  verb->add_option("--grace", arguments->grace,
                   "How long a consumer may be gone before its events are handed to others "
                   "(default 20s); the same for all of a group")
      ->type_name("D")
      ->check(check_not_empty);
  CLI::Option* command = verb->add_option(
      "--exec", arguments->command,
      "Run this with sh for each event, one at a time, the payload on standard input and PULSE_ID, "
      "PULSE_STREAM, PULSE_NAME, PULSE_TOPIC, PULSE_DELIVERIES in the environment; its output goes "
      "to standard error. Exit status 0 acks the event, and its line is printed. Else it is handed "
      "out again after a while, at first 250 ms, then twice as long each time, up to 30 s.");
  command->type_name("CMD")->check(check_not_empty);
  command->excludes(leave);
  command->excludes(no_ack);
  verb->callback([=] { commands->run = [=] { return sink(commands->global, *arguments); }; });
}

void register_stream(Commands* commands) {
  auto arguments = std::make_shared<StreamArguments>();
  CLI::App* stream = commands->app->add_subcommand("stream", "Look at and change a stream.");
  stream->require_subcommand(1);

  CLI::App* verb = stream->add_subcommand(
      "info",
      "Print length, ids, number of groups and time to live. A stream that does not exist "
      "is no error: \"exists\" is false.");
  verb->add_option("STREAM", arguments->stream, "Name of the stream")->required();
  verb->callback(
      [=] { commands->run = [=] { return stream_info(commands->global, *arguments); }; });

  verb =
      stream->add_subcommand("remove", "Delete events by id, and print how many of them existed.");
  verb->add_option("STREAM", arguments->stream, "Name of the stream")->required();
  verb->add_option("ID", arguments->ids, "Ids of events")->required();
  verb->callback(
      [=] { commands->run = [=] { return stream_remove(commands->global, *arguments); }; });

  verb = stream->add_subcommand("destroy", "Delete the stream with all its groups.");
  verb->add_option("STREAM", arguments->stream, "Name of the stream")->required();
  verb->callback(
      [=] { commands->run = [=] { return stream_destroy(commands->global, *arguments); }; });
}

void register_ping(Commands* commands) {
  CLI::App* verb = commands->app->add_subcommand(
      "ping", "Make one round trip to the server, and print how long it took and what it is.");
  verb->callback([=] { commands->run = [=] { return ping(commands->global); }; });
}

void register_local(Commands* commands) {
  CLI::App* local = commands->app->add_subcommand(
      "local", "Look at or stop the private server that local: URLs start.");
  local->require_subcommand(1);
  CLI::App* verb = local->add_subcommand(
      "status",
      "Print whether the server runs, its socket, version and number of clients. Does "
      "not start it.");
  verb->callback([=] { commands->run = [=] { return local_status(commands->global); }; });
  verb = local->add_subcommand("stop", "Stop the server; its data stays.");
  verb->callback([=] { commands->run = [=] { return local_stop(commands->global); }; });
}

// The word that stands where a verb should, if that is what is wrong.
std::string unknown_verb(const CLI::App& app) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  const bool takes_verbs = !at->get_subcommands([](const CLI::App*) { return true; }).empty();
  const std::vector<std::string> left = app.remaining(true);
  if (!takes_verbs || left.empty() || left.front()[0] == '-') return {};
  return left.front();
}

// The group ("stream") that was named without one of its verbs, if that is what is wrong.
const CLI::App* group_without_verb(const CLI::App& app) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  const bool takes_verbs = !at->get_subcommands([](const CLI::App*) { return true; }).empty();
  return at != &app && takes_verbs && at->remaining(true).empty() ? at : nullptr;
}

int print_man(const CLI::App& app) {
  std::cout << man_page(app) << std::flush;
  return std::cout ? kExitOk : kExitFailed;
}

}  // namespace

std::function<int()> parse(int argc, char** argv) {
  // Both live on in the function that is returned.
  auto app = std::make_shared<CLI::App>(
      "Publishes and receives events of Pulse streams, reads, changes and watches replicated maps, "
      "and runs the jobs of worker pools, all of which live in a Redis or Valkey server. "
      "Prints JSON, one object to a line.",
      "pulseengine");
  auto commands = std::make_shared<Commands>(app.get());
  add_global_options(app.get(), &commands->global);
  bool man = false;
  app->add_flag("--man", man, "Print the man page")->group("");
  app->formatter(std::make_shared<HelpFormatter>());
  app->fallthrough();
  // One verb: the names of others are arguments then.
  app->require_subcommand(0, 1);
  register_add(commands.get());
  register_read(commands.get());
  register_sink(commands.get());
  register_stream(commands.get());
  register_map(commands.get());
  register_pool(commands.get());
  register_ping(commands.get());
  register_local(commands.get());
  try {
    app->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const std::string verb = unknown_verb(*app);
    if (!verb.empty()) throw Failure(kExitUsage, "unknown verb \"" + verb + "\"; see --help");
    if (error.get_exit_code() != 0) {
      if (const CLI::App* group = group_without_verb(*app)) {
        throw Failure(kExitUsage, group->get_name() + ": a verb is missing; see " +
                                      verb_path(*group) + " --help");
      }
      throw Failure(kExitUsage, std::string(error.what()) + "; see --help");
    }
    const int code = app->exit(error, std::cout, std::cerr);  // --help, --version
    return [code] { return code; };
  }
  if (man) return [app] { return print_man(*app); };
  if (!commands->run) throw Failure(kExitUsage, "a verb is missing; --help lists them");
  return [app, commands] { return commands->run(); };
}

}  // namespace cli
