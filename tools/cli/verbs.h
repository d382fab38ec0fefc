// The verbs of the tool, and the arguments that they take.  How these come from the command line is
// the parser's business.
#ifndef TOOLS_CLI_VERBS_H
#define TOOLS_CLI_VERBS_H

#include <cstdint>
#include <string>
#include <vector>

namespace cli {

// The options in front of every verb.
struct GlobalOptions {
  std::string url;
  std::string key_prefix;
  std::string timeout = "10s";
  bool verbose = false;
};

struct AddArguments {
  std::string stream;
  std::string name;
  std::string payload;
  bool has_payload = false;
  std::string topic;
  bool has_topic = false;
  std::vector<std::string> headers;
  int64_t max_len = 0;
  std::string ttl;
  std::string sliding_ttl;
  bool only_if_exists = false;
  bool lines = false;
};

// What `read` and `sink` have in common.
struct ReceiveArguments {
  std::string stream;
  std::string from;
  std::string topic;
  std::string pattern;
  bool has_topic = false;
  bool has_pattern = false;
  uint64_t count = 0;  // 0 = no limit
};

struct ReadArguments : ReceiveArguments {
  bool follow = false;
};

struct SinkArguments : ReceiveArguments {
  std::string group;
  std::string grace;
  std::string command;
  bool leave = false;
  bool no_ack = false;
};

struct StreamArguments {
  std::string stream;
  std::vector<std::string> ids;
};

// Of all verbs of maps; each has its part of them.
struct MapArguments {
  std::string map;
  std::string key;
  std::string value;
  std::string test;
  std::vector<std::string> items;
  std::vector<std::string> conditions;  // KEY=VALUE
  std::string delta = "1";
  std::string ttl;
  std::string sliding_ttl;
  std::string max_unnoticed;
  std::string prefix;
  bool has_key = false;
  bool has_prefix = false;
  bool list = false;
  bool wait_synced = false;
  uint64_t count = 0;  // 0 = no limit
};

// Of all verbs of pools; each has its part of them.
struct PoolArguments {
  std::string pool;
  std::string key;
  std::string payload;
  std::string ttl;
  std::string grace;
  std::string routing = "jump";
  std::string interval;
  std::string command;
  uint64_t workers = 1;
  int64_t retries = -1;  // -1 = no limit
  bool watch = false;
  bool stop = false;
  bool catch_up = false;
};

// Each returns the exit code, or throws a Failure.
int add(const GlobalOptions& global, const AddArguments& arguments);
int read(const GlobalOptions& global, ReadArguments arguments);
int sink(const GlobalOptions& global, SinkArguments arguments);
int stream_info(const GlobalOptions& global, const StreamArguments& arguments);
int stream_remove(const GlobalOptions& global, const StreamArguments& arguments);
int stream_destroy(const GlobalOptions& global, const StreamArguments& arguments);
int map_get(const GlobalOptions& global, const MapArguments& arguments);
int map_keys(const GlobalOptions& global, const MapArguments& arguments);
int map_dump(const GlobalOptions& global, const MapArguments& arguments);
int map_state(const GlobalOptions& global, const MapArguments& arguments);
int map_watch(const GlobalOptions& global, const MapArguments& arguments);
int map_set(const GlobalOptions& global, const MapArguments& arguments);
int map_set_if_absent(const GlobalOptions& global, const MapArguments& arguments);
int map_compare_and_set(const GlobalOptions& global, const MapArguments& arguments);
int map_increment(const GlobalOptions& global, const MapArguments& arguments);
int map_append(const GlobalOptions& global, const MapArguments& arguments);
int map_append_unique(const GlobalOptions& global, const MapArguments& arguments);
int map_remove(const GlobalOptions& global, const MapArguments& arguments);
int map_delete(const GlobalOptions& global, const MapArguments& arguments);
int map_compare_and_delete(const GlobalOptions& global, const MapArguments& arguments);
int map_reset(const GlobalOptions& global, const MapArguments& arguments);
int map_destroy(const GlobalOptions& global, const MapArguments& arguments);
int pool_worker(const GlobalOptions& global, const PoolArguments& arguments);
int pool_dispatch(const GlobalOptions& global, const PoolArguments& arguments);
int pool_stop(const GlobalOptions& global, const PoolArguments& arguments);
int pool_notify(const GlobalOptions& global, const PoolArguments& arguments);
int pool_shutdown(const GlobalOptions& global, const PoolArguments& arguments);
int pool_jobs(const GlobalOptions& global, const PoolArguments& arguments);
int pool_workers(const GlobalOptions& global, const PoolArguments& arguments);
int pool_ticker(const GlobalOptions& global, const PoolArguments& arguments);
int pool_nodes(const GlobalOptions& global, const PoolArguments& arguments);
int ping(const GlobalOptions& global);
int local_status(const GlobalOptions& global);
int local_stop(const GlobalOptions& global);

}  // namespace cli

#endif
