#include "redis_benchmark.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <sstream>

#include "failure.h"

namespace bench {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return tolower(c); });
  return text;
}

// That of Valkey where Redis' is missing.
std::string program() {
  const char* path = getenv("PATH");
  for (const std::string name : {"redis-benchmark", "valkey-benchmark"}) {
    std::istringstream folders(path == nullptr ? "" : path);
    for (std::string folder; std::getline(folders, folder, ':');) {
      const std::string file = folder + "/" + name;
      if (access(file.c_str(), X_OK) == 0) return file;
    }
  }
  throw Failure("there is no redis-benchmark and no valkey-benchmark");
}

// "...: 123456.78 requests per second, p50=...", after any number of lines of progress.
double parse_rate(const std::string& output) {
  const size_t end = output.rfind(" requests per second");
  require(end != std::string::npos, "redis-benchmark tells no rate: " + output);
  size_t start = end;
  while (start > 0 && (isdigit(static_cast<unsigned char>(output[start - 1])) != 0 ||
                       output[start - 1] == '.')) {
    --start;
  }
  return atof(output.c_str() + start);
}

}  // namespace

RedisBenchmark::RedisBenchmark(Place& place, int clients, int pipeline, Words command)
    : place_(place), clients_(clients), pipeline_(pipeline), command_(std::move(command)) {}

Sample RedisBenchmark::run(double seconds) {
  // It sends whole pipelines; when that is more than it was asked for it may take its end for a
  // lost connection.
  const double step = static_cast<double>(clients_) * pipeline_;
  const double wanted = rate_ == 0 ? 20000 : rate_ * seconds;
  const auto requests = static_cast<int64_t>(std::max(1.0, std::ceil(wanted / step)) * step);
  Words words = {program(), "-q",
                 "-n",      std::to_string(requests),
                 "-c",      std::to_string(clients_),
                 "-P",      std::to_string(pipeline_)};
  for (const std::string& word : place_.benchmark_options()) words.push_back(word);
  words.insert(words.end(), command_.begin(), command_.end());
  std::vector<const char*> arguments;
  for (const std::string& word : words) arguments.push_back(word.c_str());
  arguments.push_back(nullptr);

  const std::string name = lower(command_[0]);
  const int64_t before = place_.calls()[name];
  const double cpu = place_.cpu();
  char* output = nullptr;
  char* errors = nullptr;
  const int status =
      ts_run(arguments.data(), nullptr, nullptr, 0, &output, nullptr, &errors, 60000);
  Sample sample;
  sample.server_cpu = place_.cpu() - cpu;
  const std::string text = std::string(output) + errors;
  free(output);
  free(errors);
  require(status == 0 && text.find("rror") == std::string::npos, "redis-benchmark: " + text);
  rate_ = parse_rate(text);
  require(rate_ > 0, "redis-benchmark: " + text);
  sample.operations = static_cast<double>(place_.calls()[name] - before);
  require(sample.operations >= atof(words[3].c_str()), "redis-benchmark sent too little");
  sample.seconds = sample.operations / rate_;
  return sample;
}

}  // namespace bench
