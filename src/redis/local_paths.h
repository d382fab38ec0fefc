// Where a private server of `local:` keeps its things.  Used by the library and by
// the helper pulseengine-local, which does not link to it: no heap, no other
// file of the library.
//
//   <directory>/          mode 0700, of this user: the server's data
//     lock                flock: held as long as a helper or a server lives here
//     socket              symbolic link to the socket of the server that runs
//     server.log
//   <socket directory>/<hash of the directory>.sock
//
// The default directory is $XDG_STATE_HOME/pulseengine/local, the socket directory
// $XDG_RUNTIME_DIR/pulseengine, else /tmp/pulse-<uid>.
#ifndef PULSE_REDIS_LOCAL_PATHS_H
#define PULSE_REDIS_LOCAL_PATHS_H

#include <climits>
#include <string_view>

namespace pulseengine {

struct LocalPaths {
  char directory[PATH_MAX];  // canonical: one directory has one server however it is spelled
  char socket[108];          // of a server that would be started now
};

struct LocalProblem {
  int system_errno;  // 0 = the text says it all
  char text[200];
};

// `directory` empty = the default one.  With `create` the directories are made
// where they are missing; without, a missing one is a problem with ENOENT, and
// out->directory says which.
// Refuses directories of other users, and those that others can enter.
bool find_local_paths(std::string_view directory, bool create, LocalPaths* out,
                      LocalProblem* problem);

// The socket of the server that runs, as far as the directory knows, else that of
// `paths`.
void current_local_socket(const LocalPaths& paths, char (&socket)[108]);

// Makes `path` (its parent exists), or accepts it when it is a directory, not a
// link, and belongs to this user; nobody else can enter it afterwards.
bool make_private_directory(const char* path, LocalProblem* problem);

}  // namespace pulseengine

#endif
