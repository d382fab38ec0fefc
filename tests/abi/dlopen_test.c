/* A plugin host: the library is loaded with RTLD_GLOBAL, used, and closed while its thread runs.
 * It must stay mapped (-z nodelete), and be there again at once when it is loaded again.
 *
 * usage: dlopen_test LIBRARY */
#include <dlfcn.h>
#include <pulseengine/pulse.h>
#include <stdio.h>
#include <string.h>

static int cases = 0;
static int failures = 0;

static void check(int right, const char* name) {
  ++cases;
  if (!right) ++failures;
  printf("%sok %d %s\n", right ? "" : "not ", cases, name);
  fflush(stdout);
}

/* ISO C has no conversion from void* to a function pointer. */
static void find(void* library, const char* name, void* function, size_t size) {
  void* symbol = dlsym(library, name);
  memcpy(function, &symbol, size);
}

#define FIND(library, function) find(library, #function, &function##_found, sizeof function##_found)

int main(int argc, char** argv) {
  pulse_status (*pulse_engine_open_found)(const pulse_engine_options*, pulse_engine**,
                                          pulse_error*) = NULL;
  pulse_status (*pulse_engine_close_wait_found)(pulse_engine*, int64_t, pulse_error*) = NULL;
  void (*pulse_engine_unref_found)(pulse_engine*) = NULL;
  pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
  pulse_engine* first = NULL;
  pulse_engine* second = NULL;
  void* library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL) : NULL;

  check(library != NULL, "it loads with RTLD_NOW and RTLD_GLOBAL");
  if (library == NULL) {
    printf("# %s\n1..%d\n", dlerror(), cases);
    return 1;
  }
  FIND(library, pulse_engine_open);
  FIND(library, pulse_engine_close_wait);
  FIND(library, pulse_engine_unref);
  options.url = "unix:///nonexistent/pulse.sock";
  check(pulse_engine_open_found(&options, &first, NULL) == PULSE_OK &&
            pulse_engine_open_found(&options, &second, NULL) == PULSE_OK,
        "two engines open");
  check(dlclose(library) == 0, "it closes while their threads run");
  check(dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD) != NULL, "it is still there");
  check(pulse_engine_close_wait_found(first, 60000, NULL) == PULSE_OK &&
            pulse_engine_close_wait_found(second, 60000, NULL) == PULSE_OK,
        "both engines close");
  pulse_engine_unref_found(first);
  pulse_engine_unref_found(second);
  printf("1..%d\n", cases);
  return failures > 0;
}
