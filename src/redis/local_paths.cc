#include "redis/local_paths.h"

#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace pulseengine {
namespace {

constexpr mode_t kOthers = S_IRWXG | S_IRWXO;

bool fail(LocalProblem* problem, int system_errno, const char* what, const char* path) {
  problem->system_errno = system_errno;
  // Long paths are cut: the end of a sentence matters more than that of a path.
  snprintf(problem->text, sizeof problem->text, "%.110s %s", path, what);
  return false;
}

// A variable that holds an absolute path, else null.  In a set-uid program: null.
const char* path_variable(const char* name) {
  const char* value = secure_getenv(name);
  return value != nullptr && value[0] == '/' ? value : nullptr;
}

bool default_directory(char (&out)[PATH_MAX], LocalProblem* problem) {
  int n;
  if (const char* state = path_variable("XDG_STATE_HOME")) {
    n = snprintf(out, sizeof out, "%s/pulseengine/local", state);
  } else {
    const char* home = path_variable("HOME");
    passwd entry;
    passwd* found = nullptr;
    char buffer[4096];
    if (home == nullptr && getpwuid_r(geteuid(), &entry, buffer, sizeof buffer, &found) == 0 &&
        found != nullptr) {
      home = found->pw_dir;
    }
    if (home == nullptr || home[0] != '/') {
      return fail(problem, 0, "is not set and there is no XDG_STATE_HOME", "HOME");
    }
    n = snprintf(out, sizeof out, "%s/.local/state/pulseengine/local", home);
  }
  if (n < static_cast<int>(sizeof out)) return true;
  return fail(problem, ENAMETOOLONG, "is too long", out);
}

// `what`: is told of one that cannot be created.
bool make_parents(char* path, const char* what, LocalProblem* problem) {
  for (char* slash = strchr(path + 1, '/'); slash != nullptr; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    bool made = mkdir(path, 0700) == 0;
    if (!made) {
      int failure = errno;
      struct stat status;
      // Whatever mkdir says of one that exists (EEXIST, EROFS, EACCES...).
      made = stat(path, &status) == 0;
      if (!made) fail(problem, failure, what, path);
    }
    *slash = '/';
    if (!made) return false;
  }
  return true;
}

bool is_empty(const char* path) {
  DIR* directory = opendir(path);
  if (directory == nullptr) return false;
  bool empty = true;
  while (const dirent* entry = readdir(directory)) {
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) empty = false;
  }
  closedir(directory);
  return empty;
}

// The data directory: may be reached through links, but is this user's alone.
bool find_directory(std::string_view wanted, bool create, char (&out)[PATH_MAX],
                    LocalProblem* problem) {
  char path[PATH_MAX];
  if (wanted.empty()) {
    if (!default_directory(path, problem)) return false;
  } else {
    if (wanted.size() >= sizeof path)
      return fail(problem, ENAMETOOLONG, "is too long", "directory");
    memcpy(path, wanted.data(), wanted.size());
    path[wanted.size()] = '\0';
  }
  if (create) {
    const char* what = wanted.empty()
                           ? "cannot be created (set XDG_STATE_HOME, or use local:///directory)"
                           : "cannot be created";
    if (!make_parents(path, what, problem)) return false;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) return fail(problem, errno, what, path);
  }
  struct stat status;
  if (realpath(path, out) == nullptr || stat(out, &status) != 0) {
    fail(problem, errno, "cannot be opened", path);
    snprintf(out, PATH_MAX, "%s", path);
    return false;
  }
  if (!S_ISDIR(status.st_mode)) return fail(problem, 0, "is not a directory", path);
  if (status.st_uid != geteuid()) return fail(problem, 0, "belongs to another user", path);
  if ((status.st_mode & kOthers) != 0) {
    // Somebody's other files may need these rights.
    if (!create || !is_empty(out) || chmod(out, 0700) != 0) {
      return fail(problem, 0, "is open to other users (chmod 700 it, or use another one)", path);
    }
  }
  return true;
}

// 64-bit FNV-1a.
uint64_t hash(const char* text) {
  uint64_t h = 0xcbf29ce484222325u;
  for (; *text != '\0'; ++text) h = (h ^ static_cast<unsigned char>(*text)) * 0x100000001b3u;
  return h;
}

// $XDG_RUNTIME_DIR when it is what it should be: under sudo it can be another user's.
bool runtime_directory(char* out, size_t size) {
  const char* value = path_variable("XDG_RUNTIME_DIR");
  struct stat status;
  if (value == nullptr || stat(value, &status) != 0 || !S_ISDIR(status.st_mode) ||
      status.st_uid != geteuid() || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return false;
  }
  // Room for "/0123456789abcdef.sock".
  return snprintf(out, size, "%s/pulseengine", value) + 22 <= 107;
}

}  // namespace

bool make_private_directory(const char* path, LocalProblem* problem) {
  if (mkdir(path, 0700) != 0 && errno != EEXIST) {
    return fail(problem, errno, "cannot be created", path);
  }
  // O_NOFOLLOW: in a directory like /tmp others can put a link where this one should be.
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  const bool closed_to_us = fd < 0 && errno == EACCES;  // as that of another user is
  struct stat status {};
  const bool known = fd >= 0 && fstat(fd, &status) == 0;
  bool good = false;
  if (closed_to_us || (known && status.st_uid != geteuid())) {
    fail(problem, 0, "belongs to another user", path);
  } else if (fd < 0) {
    fail(problem, 0, "is a link or a file, not a directory", path);
  } else if (!known) {
    fail(problem, errno, "cannot be opened", path);
  } else if ((status.st_mode & kOthers) != 0 && fchmod(fd, 0700) != 0) {
    fail(problem, errno, "is open to other users", path);
  } else {
    good = true;
  }
  if (fd >= 0) close(fd);
  return good;
}

bool find_local_paths(std::string_view directory, bool create, LocalPaths* out,
                      LocalProblem* problem) {
  if (!find_directory(directory, create, out->directory, problem)) return false;
  char sockets[80];
  if (!runtime_directory(sockets, sizeof sockets)) {
    snprintf(sockets, sizeof sockets, "/tmp/pulse-%lu", static_cast<unsigned long>(geteuid()));
  }
  snprintf(out->socket, sizeof out->socket, "%s/%016llx.sock", sockets,
           static_cast<unsigned long long>(hash(out->directory)));
  return !create || make_private_directory(sockets, problem);
}

void current_local_socket(const LocalPaths& paths, char (&socket)[108]) {
  char link[PATH_MAX + 8];
  snprintf(link, sizeof link, "%s/socket", paths.directory);
  char target[108];
  ssize_t n = readlink(link, target, sizeof target);
  // A longer one would have been cut.
  bool usable = n > 0 && n < static_cast<ssize_t>(sizeof target) && target[0] == '/';
  if (usable) target[n] = '\0';
  snprintf(socket, sizeof socket, "%s", usable ? target : paths.socket);
}

}  // namespace pulseengine
