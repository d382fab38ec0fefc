#include "arguments.h"

#include <algorithm>
#include <cstdlib>

#include "failure.h"
#include "scale.h"
#include "workload.h"

namespace bench {

const char kUsage[] =
    "usage: bench [WORKLOAD...] [--quick] [--json FILE] [--transport unix|tcp|tls] [--pin]\n"
    "             [--server PATH] [--appendonly] [--write-docs DIRECTORY] [--list] [--groups N]\n"
    "             [--slice SECONDS]\n"
    "       bench --scale [SERIES...] [the same options]\n"
    "       bench --beside PLAIN.json OTHER.json... [--write-docs DIRECTORY]\n"
    "       bench --compare OLD.json NEW.json\n";

namespace {

class Parser {
 public:
  Parser(int argc, char** argv) : words_(argv + 1, argv + argc) {}
  bool more() const { return at_ < words_.size(); }
  const std::string& next() { return words_[at_++]; }
  const std::string& value(const std::string& option) {
    require(more(), option + " needs a value");
    return next();
  }

 private:
  std::vector<std::string> words_;
  size_t at_ = 0;
};

Transport parse_transport(const std::string& text) {
  for (const Transport transport : {Transport::unix_socket, Transport::tcp, Transport::tls}) {
    if (text == transport_name(transport)) return transport;
  }
  throw Failure("--transport is unix, tcp or tls, not " + text);
}

double parse_positive(const std::string& option, const std::string& text) {
  char* end = nullptr;
  const double value = strtod(text.c_str(), &end);
  require(end != text.c_str() && *end == '\0' && value > 0 && value < 1000,
          option + " is a positive number, not " + text);
  return value;
}

void check_workload(const std::string& word, const Options& options) {
  const auto& all = workloads();
  const auto series = series_names();
  const bool known = options.scale ? std::any_of(series.begin(), series.end(),
                                                 [&](const auto& it) { return it.first == word; })
                                   : std::any_of(all.begin(), all.end(), [&](const Workload& it) {
                                       return is_called(it, word);
                                     });
  require(known, "there is no workload " + word + "; --list tells which there are");
}

}  // namespace

Options parse_arguments(int argc, char** argv) {
  Options options;
  double groups = 0, slice = 0;
  for (Parser parser(argc, argv); parser.more();) {
    const std::string& word = parser.next();
    if (word == "--quick") {
      options.quick = true;
    } else if (word == "--scale") {
      options.scale = true;
    } else if (word == "--pin") {
      options.pin = true;
    } else if (word == "--list") {
      options.list = true;
    } else if (word == "--help" || word == "-h") {
      options.help = true;
    } else if (word == "--json") {
      options.json = parser.value(word);
    } else if (word == "--write-docs") {
      options.documents = parser.value(word);
    } else if (word == "--transport") {
      options.transports = {parse_transport(parser.value(word))};
    } else if (word == "--groups") {
      groups = parse_positive(word, parser.value(word));
    } else if (word == "--slice") {
      slice = parse_positive(word, parser.value(word));
    } else if (word == "--server") {
      setenv("PULSE_TEST_SERVER", parser.value(word).c_str(), 1);
    } else if (word == "--appendonly") {
      options.append_only = true;
    } else if (word == "--beside") {
      options.beside = {parser.value(word)};
    } else if (word == "--compare") {
      options.compare_old = parser.value(word);
      options.compare_new = parser.value(word);
    } else if (!word.empty() && word[0] == '-') {
      throw Failure("unknown option " + word);
    } else if (!options.beside.empty()) {
      options.beside.push_back(word);
    } else {
      options.workloads.push_back(word);
    }
  }
  for (const std::string& word : options.workloads) check_workload(word, options);
  if (options.quick) options.plan = {3, 0.15};
  if (groups > 0) options.plan.groups = std::max(1, static_cast<int>(groups));
  if (slice > 0) options.plan.slice = slice;
  if (options.transports.empty()) {
    options.transports = {Transport::unix_socket};
    if (!options.quick) options.transports.push_back(Transport::tcp);
  }
  return options;
}

}  // namespace bench
