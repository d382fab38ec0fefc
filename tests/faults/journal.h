// Journals: what a worker process has seen, line by line, in a file that outlives the process.
//
// A line is a letter and words.  Publishers write
//   A key id        the add was acknowledged
//   U key status    it failed, and may have been executed
//   N key status    it failed, and was not executed
//   Q -             paused, and all adds have ended
// consumers and readers
//   Y consumer      receives from now on ("-" for readers)
//   H key id times  handled (written before the ack), and how often it was delivered so far
//   T key id times  taken, but not handled: consumers that hold events
//   K id, O id      the ack was confirmed; it was refused, the event belongs to another consumer
//   F id status     the ack failed otherwise; it is sent again
//   G after before count, L id, R id, D -, C -, X -, E status   the notices, see event.h
// and all of them Z status when they have closed.
#ifndef PULSE_TESTS_FAULTS_JOURNAL_H
#define PULSE_TESTS_FAULTS_JOURNAL_H

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace faults {

class JournalWriter {
 public:
  explicit JournalWriter(const std::string& path);
  ~JournalWriter();
  JournalWriter(const JournalWriter&) = delete;
  JournalWriter& operator=(const JournalWriter&) = delete;

  __attribute__((format(printf, 2, 3))) void line(const char* format, ...);
  // All lines so far reach the file; a SIGKILL takes nothing of them away.
  void flush();

 private:
  int fd_;
  std::string text_;
};

// Reads what was added to a journal since the last call, whole lines only.
class JournalReader {
 public:
  using Words = std::vector<std::string>;

  explicit JournalReader(std::string path) : path_(std::move(path)) {}
  ~JournalReader();
  JournalReader(const JournalReader&) = delete;
  JournalReader& operator=(const JournalReader&) = delete;

  void read(const std::function<void(const Words&)>& each);

 private:
  const std::string path_;
  int fd_ = -1;
  std::string rest_;
  Words words_;  // of one line
};

}  // namespace faults

#endif
