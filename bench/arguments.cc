#include "arguments.h"

#include <algorithm>
#include <cstdlib>

#include "failure.h"
#include "workload.h"

namespace bench {

const char kUsage[] =
    "usage: bench [WORKLOAD...] [--quick] [--json FILE] [--transport unix|tcp|tls] [--pin]\n"
    "             [--write-docs DIRECTORY] [--list] [--groups N] [--slice SECONDS]\n"
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

void parse_workload(const std::string& word, Options* options) {
  const auto& all = workloads();
  const bool known = std::any_of(
      all.begin(), all.end(), [&](const Workload& workload) { return is_called(workload, word); });
  require(known, "there is no workload " + word + "; --list tells which there are");
  options->workloads.push_back(word);
}

}  // namespace

Options parse_arguments(int argc, char** argv) {
  Options options;
  double groups = 0, slice = 0;
  for (Parser parser(argc, argv); parser.more();) {
    const std::string& word = parser.next();
    if (word == "--quick") {
      options.quick = true;
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
    } else if (word == "--compare") {
      options.compare_old = parser.value(word);
      options.compare_new = parser.value(word);
    } else if (!word.empty() && word[0] == '-') {
      throw Failure("unknown option " + word);
    } else {
      parse_workload(word, &options);
    }
  }
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
