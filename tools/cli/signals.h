// SIGINT and SIGTERM as a request to close, and SIGCHLD, both as a readable descriptor.
#ifndef TOOLS_CLI_SIGNALS_H
#define TOOLS_CLI_SIGNALS_H

namespace cli {

class Signals {
 public:
  // Catches the signals and ignores SIGPIPE.  A second SIGINT or SIGTERM, a second or more after
  // the first, ends the program on the spot.  To be called once, before any other thread starts.
  static void install();

  // Readable after each caught signal until `drain`.
  static int fd();
  static void drain();

  static bool stop_requested();

  // Whether a child has ended since the last call.
  static bool take_child_ended();

  // For the command that `sink --exec` runs: killed too when the program ends on the spot.
  static void set_child(int process_group);
};

}  // namespace cli

#endif
