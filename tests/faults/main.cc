// Faults with real processes, through the C API.  The program is its own worker: see worker.h.
#include <gtest/gtest.h>

#include <cstring>

#include "worker.h"

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "--worker") == 0) return faults::run_worker(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
