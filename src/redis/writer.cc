#include "redis/writer.h"

namespace pulseengine {
namespace {
// From here on a reference costs less than a copy.
constexpr size_t kReferenceFrom = size_t{16} * 1024;
}  // namespace

void CommandWriter::arg_id(uint64_t ms, uint64_t seq) {
  char text[48];
  auto end = std::to_chars(text, text + 20, ms);  // the digits of 2^64
  *end.ptr = '-';
  end = std::to_chars(end.ptr + 1, text + sizeof text, seq);
  arg(std::string_view(text, static_cast<size_t>(end.ptr - text)));
}

void CommandWriter::as_eval(std::string_view command, const Script& script) {
  // "*N\r\n$7\r\nEVALSHA\r\n$40\r\n<sha1>\r\n", then what stays as it is.
  size_t count_end = command.find("\r\n") + 2;
  constexpr std::string_view kName = "$7\r\nEVALSHA\r\n$40\r\n";
  size_t rest = count_end + kName.size() + script.sha1.size() + 2;
  raw(command.substr(0, count_end));
  arg("EVAL");
  arg(script.text);
  raw(command.substr(rest));
}

void CommandWriter::arg(const Ref<Bytes>& bytes) {
  if (bytes->view().size() < kReferenceFrom) {
    arg(bytes->view());
    return;
  }
  prefixed('$', bytes->view().size());
  out_.append(bytes);
  out_.append("\r\n");
}

}  // namespace pulseengine
