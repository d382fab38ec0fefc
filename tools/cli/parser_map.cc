// The command line of `pulseengine map`.

#include <memory>
#include <string>

#include "commands.h"

namespace cli {
namespace {

using Run = int (*)(const GlobalOptions&, const MapArguments&);

// Puts the verbs together; all of them share one set of arguments.
class MapVerbs {
 public:
  explicit MapVerbs(Commands* commands)
      : commands_(commands), arguments_(std::make_shared<MapArguments>()) {
    app_ = commands->app->add_subcommand(
        "map", "Read, change and watch a replicated map: a hash with a copy in every process.");
    app_->add_option("NAME", arguments_->map, "Name of the map")->required();
    app_->require_subcommand(1);
  }

  MapArguments* arguments() { return arguments_.get(); }

  CLI::App* add(const std::string& name, const std::string& help, Run run) {
    CLI::App* verb = app_->add_subcommand(name, help);
    verb->callback([commands = commands_, arguments = arguments_, run] {
      commands->run = [=] { return run(commands->global, *arguments); };
    });
    return verb;
  }

  // One that writes.
  CLI::App* add_write(const std::string& name, const std::string& help, Run run) {
    CLI::App* verb = add(name, help, run);
    CLI::Option* ttl = verb->add_option("--ttl", arguments_->ttl,
                                        "The map expires this long after its first write");
    ttl->type_name("D")->check(check_not_empty);
    verb->add_option("--sliding-ttl", arguments_->sliding_ttl,
                     "The map expires this long after its last write")
        ->type_name("D")
        ->check(check_not_empty)
        ->excludes(ttl);
    return verb;
  }

  void key(CLI::App* verb) {
    verb->add_option("KEY", arguments_->key, "The key: not empty, without '='")->required();
  }

  void value(CLI::App* verb) {
    verb->add_option("VALUE", arguments_->value,
                     "The value itself, '-' for all of standard input, '@file' for the bytes of a "
                     "file. Write '--' before a value that starts with '-'.")
        ->required();
  }

  void test(CLI::App* verb) {
    verb->add_option("TEST", arguments_->test, "The value that the key must have")->required();
  }

  void items(CLI::App* verb, bool required) {
    // With extra arguments CLI11 would take "[a,b]" for two of them, without them only as many as
    // are expected.
    verb->add_option("ITEM", arguments_->items, "Items of the list")
        ->required(required)
        ->expected(CLI::detail::expected_max_vector_size - 1, CLI::detail::expected_max_vector_size)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->allow_extra_args(false);
  }

 private:
  Commands* commands_;
  std::shared_ptr<MapArguments> arguments_;
  CLI::App* app_;
};

void register_reads(MapVerbs* verbs) {
  MapArguments* arguments = verbs->arguments();
  CLI::App* verb = verbs->add(
      "get",
      "Print the value of a key, {\"value\":\"v\",\"existed\":true,\"rev\":7}; null when the key "
      "is not there.",
      map_get);
  verbs->key(verb);
  verb->add_flag("--list", arguments->list, "The value is a list: print its items as \"values\"");

  verbs->add("keys", "Print all keys, {\"rev\":7,\"keys\":[\"k\"]}.", map_keys);

  verb = verbs->add(
      "dump",
      "Print the whole map, {\"state\":\"synced\",\"rev\":7,\"map\":{\"k\":\"v\"}}. If the map "
      "cannot be copied, the state says so, and \"reason\" why.",
      map_dump);
  verb->add_flag("--wait-synced", arguments->wait_synced,
                 "Print only what is in step with the server, or fail after --timeout");

  verbs->add("state", "Print state, revision, number of keys, bytes and time to live of the map.",
             map_state);
}

void register_watch(MapVerbs* verbs) {
  MapArguments* arguments = verbs->arguments();
  CLI::App* verb = verbs->add(
      "watch",
      "Print the content of the map, then each change, until SIGINT or SIGTERM. Lines of state say "
      "when all was told: {\"state\":\"synced\",\"rev\":7,\"reason\":null}. After an interruption "
      "come the differences, as set and delete.",
      map_watch);
  CLI::Option* key = verb->add_option("--key", arguments->key, "Only this key");
  key->type_name("KEY");
  CLI::Option* prefix =
      verb->add_option("--prefix", arguments->prefix, "Only keys that begin like this");
  prefix->type_name("P")->excludes(key);
  key->each([arguments](const std::string&) { arguments->has_key = true; });
  prefix->each([arguments](const std::string&) { arguments->has_prefix = true; });
  verb->add_option("--count", arguments->count, "End after this many changes")
      ->type_name("N")
      ->check(check_count);
  verb->add_option("--max-unnoticed", arguments->max_unnoticed,
                   "How long a lost update may stay unnoticed (default 5s)")
      ->type_name("D")
      ->check(check_not_empty);
}

void register_writes(MapVerbs* verbs) {
  MapArguments* arguments = verbs->arguments();
  CLI::App* verb = verbs->add_write(
      "set",
      "Set a key, and print what it had, {\"previous\":null,\"existed\":false,\"updated\":true,"
      "\"rev\":7}.",
      map_set);
  verbs->key(verb);
  verbs->value(verb);

  verb = verbs->add_write("setnx",
                          "Set a key if it is not there. \"updated\" tells whether it was set.",
                          map_set_if_absent);
  verbs->key(verb);
  verbs->value(verb);

  verb = verbs->add_write("cas",
                          "Set a key if its value is TEST. A key that is not there never matches.",
                          map_compare_and_set);
  verbs->key(verb);
  verbs->test(verb);
  verbs->value(verb);

  verb = verbs->add_write(
      "incr",
      "Add to an integer, and print the new value, {\"value\":5,\"updated\":true,\"rev\":7}.",
      map_increment);
  verbs->key(verb);
  verb->add_option("DELTA", arguments->delta, "What to add (default 1)");

  verb = verbs->add_write(
      "append",
      "Append items to a list, and print it, {\"values\":[\"a\"],\"updated\":true,\"rev\":7}.",
      map_append);
  verbs->key(verb);
  verbs->items(verb, false);

  verb = verbs->add_write("append-unique", "Append those items that the list does not have.",
                          map_append_unique);
  verbs->key(verb);
  verbs->items(verb, true);

  verb = verbs->add_write(
      "remove",
      "Remove each occurrence of the items from a list, and the key with the last of them.",
      map_remove);
  verbs->key(verb);
  verbs->items(verb, true);

  verb = verbs->add_write("del", "Delete a key, and print what it had.", map_delete);
  verbs->key(verb);

  verb = verbs->add_write("cad", "Delete a key if its value is TEST.", map_compare_and_delete);
  verbs->key(verb);
  verbs->test(verb);

  verb = verbs->add_write("reset", "Empty the map.", map_reset);
  verb->add_option("--if", arguments->conditions,
                   "Only if this key has this value; as often as there are conditions")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);

  verbs->add_write("destroy", "Empty the map, and tell all who follow it that it is given up.",
                   map_destroy);
}

}  // namespace

void register_map(Commands* commands) {
  MapVerbs verbs(commands);
  register_reads(&verbs);
  register_writes(&verbs);
  register_watch(&verbs);
}

}  // namespace cli
