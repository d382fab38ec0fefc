#include "report.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

namespace job {

void Reporter::flush() {
  const char* data = reinterpret_cast<const char*>(records_.data());
  size_t left = records_.size() * sizeof(Record);
  while (left > 0) {
    const ssize_t n = write(fd_, data, left);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error(std::string("the coordinator is gone: ") + strerror(errno));
    data += n;
    left -= static_cast<size_t>(n);
  }
  records_.clear();
}

bool ReportReader::read(std::vector<Record>* records) {
  char bytes[65536];
  ssize_t n;
  do {
    n = ::read(fd_, bytes, sizeof bytes);
  } while (n < 0 && errno == EINTR);
  if (n <= 0) return false;  // what is left in rest_ was cut by the end of the process
  rest_.append(bytes, static_cast<size_t>(n));
  size_t used = 0;
  for (; rest_.size() - used >= sizeof(Record); used += sizeof(Record)) {
    Record record;
    memcpy(&record, rest_.data() + used, sizeof record);
    records->push_back(record);
  }
  rest_.erase(0, used);
  return true;
}

}  // namespace job
