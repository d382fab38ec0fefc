#include "measure.h"

#include <unistd.h>

#include <cstdio>

namespace bench {
namespace {

Sample both(const Sample& first, const Sample& second) {
  Sample sum;
  sum.operations = first.operations + second.operations;
  sum.seconds = first.seconds + second.seconds;
  sum.client_cpu = first.client_cpu + second.client_cpu;
  sum.server_cpu = first.server_cpu + second.server_cpu;
  sum.figure = (first.figure + second.figure) / 2;
  return sum;
}

Result make(const Row& row, const std::vector<Group>& groups, Figure of, bool with_reference) {
  std::vector<double> ours, references, ratios, client, server;
  for (const Group& group : groups) {
    ours.push_back(of(group.ours));
    client.push_back(group.ours.client_us());
    server.push_back(group.ours.server_us());
    if (!with_reference) continue;
    references.push_back(of(group.reference));
    ratios.push_back(ours.back() / references.back());
  }
  Result result;
  result.row = row;
  result.ours = quantile(ours, 0.5);
  if (with_reference) result.reference = quantile(references, 0.5);
  result.ratio = quartiles(with_reference ? ratios : ours);
  result.client_cpu_us = quantile(client, 0.5);
  result.server_cpu_us = quantile(server, 0.5);
  return result;
}

}  // namespace

Progress::Progress() : is_terminal_(isatty(STDERR_FILENO) != 0) {}

void Progress::begin(const std::string& what) {
  what_ = what;
  if (!is_terminal_) fprintf(stderr, "bench: %s\n", what_.c_str());
}

void Progress::step(int done, int all) {
  if (is_terminal_) fprintf(stderr, "\r\033[Kbench: %s, %d of %d", what_.c_str(), done, all);
}

void Progress::end() {
  if (is_terminal_) fprintf(stderr, "\r\033[K");
}

std::vector<Group> alternate(const Plan& plan, Progress& progress, Side& ours, Side& reference) {
  ours.run(plan.slice / 2);
  reference.run(plan.slice / 2);
  std::vector<Group> groups;
  for (int i = 0; i < plan.groups; ++i) {
    progress.step(i, plan.groups);
    const Sample first = ours.run(plan.slice);
    const Sample second = reference.run(plan.slice);
    const Sample third = reference.run(plan.slice);
    const Sample fourth = ours.run(plan.slice);
    groups.push_back({both(first, fourth), both(second, third)});
  }
  return groups;
}

std::vector<Group> repeat(const Plan& plan, Progress& progress, Side& ours) {
  ours.run(plan.slice / 2);
  std::vector<Group> groups;
  for (int i = 0; i < plan.groups; ++i) {
    progress.step(i, plan.groups);
    const Sample first = ours.run(plan.slice);
    groups.push_back({both(first, ours.run(plan.slice)), {}});
  }
  return groups;
}

double rate(const Sample& sample) { return sample.rate(); }
double client_us(const Sample& sample) { return sample.client_us(); }
double figure(const Sample& sample) { return sample.figure; }

Result compare(const Row& row, const std::vector<Group>& groups, Figure of) {
  return make(row, groups, of, true);
}

Result absolute(const Row& row, const std::vector<Group>& groups, Figure of) {
  return make(row, groups, of, false);
}

}  // namespace bench
