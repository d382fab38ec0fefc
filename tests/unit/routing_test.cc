// Which worker a job belongs to: what other nodes compute, and how jobs move when workers come and
// go.
#include "pool/routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace pulseengine {
namespace {

constexpr size_t kJobs = 10000;
constexpr size_t kMostWorkers = 64;

std::string job_name(size_t i) { return "job" + std::to_string(i); }

// Identifiers as nodes give them: the time, then what looks random.
std::string worker_name(size_t i) {
  char text[32];
  const uint64_t random = (i + 1) * 0x9E3779B97F4A7C15;
  std::snprintf(text, sizeof text, "01M83VSC%02zuZ%015llX", i % 100,
                static_cast<unsigned long long>(random >> 4));
  return text;
}

const std::vector<uint64_t>& job_crcs() {
  static const std::vector<uint64_t> crcs = [] {
    std::vector<uint64_t> all;
    for (size_t i = 0; i < kJobs; i++) all.push_back(crc64(job_name(i)));
    return all;
  }();
  return crcs;
}

// Worker of each job, by name: an index into all that ever were.
using Routes = std::vector<size_t>;

Routes rendezvous_routes(const std::vector<size_t>& workers) {
  Vector<uint64_t> seeds;
  for (size_t w : workers) seeds.push_back(rendezvous_seed(worker_name(w)));
  Routes routes;
  for (uint64_t crc : job_crcs()) routes.push_back(workers[rendezvous_route(crc, seeds)]);
  return routes;
}

Routes jump_routes(size_t workers) {
  Routes routes;
  for (uint64_t crc : job_crcs()) routes.push_back(jump_route(crc, workers));
  return routes;
}

size_t moves(const Routes& before, const Routes& after) {
  size_t count = 0;
  for (size_t i = 0; i < before.size(); i++) count += before[i] != after[i] ? 1 : 0;
  return count;
}

std::vector<size_t> first_workers(size_t count) {
  std::vector<size_t> workers;
  for (size_t i = 0; i < count; i++) workers.push_back(i);
  return workers;
}

// Pearson's test: with jobs thrown at random the sum is near n - 1, and its standard deviation is
// the root of twice that.
void expect_even(const Routes& routes, size_t n) {
  std::vector<size_t> counts(n);
  for (size_t route : routes) {
    ASSERT_LT(route, n);
    counts[route]++;
  }
  const double expected = static_cast<double>(routes.size()) / static_cast<double>(n);
  double sum = 0;
  for (size_t count : counts) {
    const double off = static_cast<double>(count) - expected;
    sum += off * off / expected;
  }
  const double freedom = static_cast<double>(n - 1);
  EXPECT_LE(sum, freedom + 5 * std::sqrt(2 * freedom) + 1e-9) << n << " workers";
}

// --- what Go computes -----------------------------------------------------------------

TEST(Routing, CrcAndJumpAreThoseOfGo) {
  constexpr size_t kWorkers[] = {1, 2, 3, 4, 7, 10, 64, 1000, 1000000};
  struct Vector {
    std::string_view key;
    uint64_t crc;
    size_t routes[9];
  };
  // Printed by a Go program with hash/crc64.
  const Vector vectors[] = {
      {"", 0x0000000000000000, {0, 0, 0, 0, 0, 0, 0, 0, 0}},
      {"a", 0x330284772e652b05, {0, 0, 0, 0, 0, 9, 36, 820, 174246}},
      {"123456789", 0x995dc9bbdf1939fa, {0, 0, 0, 0, 4, 4, 62, 703, 66360}},
      {"job0", 0x6a6d15b1f07868d2, {0, 0, 0, 0, 5, 5, 17, 180, 797042}},
      {"job1", 0xd943590ff3df37bd, {0, 0, 2, 2, 2, 2, 2, 692, 615772}},
      {"job2", 0x9ee923e65838c889, {0, 0, 0, 3, 5, 9, 32, 157, 81881}},
      {"job3", 0x2dc76f585b9f97e6, {0, 0, 2, 2, 6, 6, 6, 461, 557884}},
      {"k1", 0x5b124df1b1a7e767, {0, 0, 0, 0, 0, 7, 58, 877, 900247}},
      {std::string_view("\0", 1), 0x1fada17364673f59, {0, 0, 0, 0, 0, 8, 10, 823, 460779}},
      {"\xff\xff\xff\xff\xff\xff\xff\xff", UINT64_MAX, {0, 1, 2, 2, 2, 9, 10, 313, 589430}},
      {"01M83VSCS3GK8JREXRDK1J0KZR", 0xcf902d8f7a47944a, {0, 1, 2, 3, 4, 9, 63, 207, 161229}},
      {"user:42/mail", 0xbaa2b1e7b11edaf9, {0, 0, 2, 2, 5, 5, 5, 981, 938362}},
      {"the quick brown fox jumps over the lazy dog",
       0x1f2616aa2c2bb398,
       {0, 0, 0, 0, 6, 8, 8, 205, 143076}},
  };
  for (const Vector& v : vectors) {
    EXPECT_EQ(crc64(v.key), v.crc) << v.key;
    for (size_t i = 0; i < 9; i++) {
      EXPECT_EQ(jump_route(v.crc, kWorkers[i]), v.routes[i]) << v.key << " of " << kWorkers[i];
    }
  }
  uint64_t sum = 0;
  for (uint64_t crc : job_crcs()) {
    for (size_t n = 1; n <= kMostWorkers; n++) sum = sum * 31 + jump_route(crc, n);
  }
  EXPECT_EQ(sum, 8067799652999090874U);
}

// --- rendezvous ----------------------------------------------------------------------------

TEST(Routing, RendezvousIsAsDocumented) {
  // Computed from the header's words.
  const std::pair<const char*, uint64_t> workers[] = {
      {"01M83VSCS3GK8JREXRDK1J0KZR", 0x5acd90eeabf0a1b6},
      {"01M83VSCS41RYHA8J20A1WEA95", 0x80d552a37a0c0d91},
      {"01M83VSECKXAXXSMY6XX5GJHSW", 0x6902f997bf41302f},
      {"01M83VSTX53AWSR2NA83ESWE3G", 0x20ae4fd7606aaa6a},
      {"01M83VT1J5SGP5S4M3XMSEEFHZ", 0x945c743e643329ec}};
  Vector<uint64_t> seeds;
  for (const auto& [worker, seed] : workers) {
    EXPECT_EQ(rendezvous_seed(worker), seed);
    seeds.push_back(rendezvous_seed(worker));
  }
  const std::pair<const char*, size_t> routes[] = {
      {"", 4},     {"a", 1},    {"job0", 3},        {"job1", 3}, {"job2", 1},
      {"job3", 1}, {"job4", 4}, {"job5", 2},        {"job6", 3}, {"job7", 1},
      {"k1", 1},   {"k2", 2},   {"user:42/mail", 3}};
  for (const auto& [key, route] : routes) {
    EXPECT_EQ(rendezvous_route(crc64(key), seeds), route) << key;
  }
  uint64_t sum = 0;
  for (uint64_t crc : job_crcs()) sum = sum * 31 + rendezvous_route(crc, seeds);
  EXPECT_EQ(sum, 3084448259107827372U);
}

TEST(Routing, TheOrderOfTheListDoesNotMatterToRendezvous) {
  std::vector<size_t> workers = first_workers(20);
  const Routes routes = rendezvous_routes(workers);
  std::reverse(workers.begin(), workers.end());
  EXPECT_EQ(moves(routes, rendezvous_routes(workers)), 0U);
}

TEST(Routing, AmongEqualsTheFirstOneHasTheJob) {
  EXPECT_EQ(rendezvous_route(crc64("job"), {7, 7, 7}), 0U);
}

// --- evenness, moves ---------------------------------------------------------------------------

TEST(Routing, JobsAreSpreadEvenly) {
  for (size_t n = 1; n <= kMostWorkers; n++) {
    expect_even(jump_routes(n), n);
    expect_even(rendezvous_routes(first_workers(n)), n);
  }
}

// To the share of a worker, up to chance: 10 % of all jobs; and 10 % of that share on average.
void expect_few_moves(size_t moved, size_t workers, double* shares) {
  const double share = static_cast<double>(moved) / kJobs, fair = 1 / static_cast<double>(workers);
  EXPECT_LE(share, fair + 0.1) << workers;
  *shares += share / fair;
}

TEST(Routing, AWorkerThatJoinsOrLeavesMovesItsOwnJobsOnly) {
  double joins = 0, leaves = 0, jumps = 0;
  size_t count = 0;
  Routes jump_before = jump_routes(1);
  for (size_t n = 2; n <= kMostWorkers; n++, count++) {
    std::vector<size_t> workers = first_workers(n);
    const Routes routes = rendezvous_routes(workers);
    // The last one joins.
    workers.pop_back();
    const Routes before = rendezvous_routes(workers);
    for (size_t i = 0; i < kJobs; i++) ASSERT_TRUE(before[i] == routes[i] || routes[i] == n - 1);
    expect_few_moves(moves(before, routes), n, &joins);
    // One in the middle leaves.
    workers = first_workers(n);
    const size_t gone = n / 2;
    workers.erase(workers.begin() + static_cast<std::ptrdiff_t>(gone));
    const Routes after = rendezvous_routes(workers);
    for (size_t i = 0; i < kJobs; i++) ASSERT_TRUE(after[i] == routes[i] || routes[i] == gone);
    expect_few_moves(moves(routes, after), n, &leaves);

    const Routes jump = jump_routes(n);
    for (size_t i = 0; i < kJobs; i++) ASSERT_TRUE(jump_before[i] == jump[i] || jump[i] == n - 1);
    expect_few_moves(moves(jump_before, jump), n, &jumps);
    jump_before = jump;
  }
  const double all = static_cast<double>(count);
  for (double shares : {joins, leaves, jumps}) {
    EXPECT_LE(shares / all, 1.1);
    EXPECT_GE(shares / all, 0.9);
  }
}

TEST(Routing, ARollingReplacementMovesEachJobTwice) {
  std::vector<size_t> workers = first_workers(10);
  Routes routes = rendezvous_routes(workers);
  size_t moved = 0;
  auto changed = [&] {
    const Routes now = rendezvous_routes(workers);
    moved += moves(routes, now);
    routes = now;
  };
  for (size_t i = 0; i < 10; i++) {
    workers.erase(workers.begin());
    changed();
    workers.push_back(10 + i);
    changed();
  }
  EXPECT_LE(static_cast<double>(moved) / kJobs, 2.5);
  EXPECT_GE(static_cast<double>(moved) / kJobs, 1.5);
}

}  // namespace
}  // namespace pulseengine
