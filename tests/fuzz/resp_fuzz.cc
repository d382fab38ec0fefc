// Whatever a server sends: the parser neither crashes nor keeps more than the limit allows, and
// gives the same replies however the bytes were cut.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "redis/reply_parser.h"
#include "redis/server_info.h"
#include "streaming/message.h"

using namespace pulseengine;

namespace {

constexpr int64_t kMax = 64 * 1024;

// Walks the reply as the handlers do, and writes it down.
void walk(const ReplyNode* nodes, size_t count, const Ref<Slab>& slab, std::string* out) {
  Reply skipped(nodes, count, slab);
  skipped.skip();
  if (!skipped.peek().is_nil()) abort();  // one reply, and nothing behind it
  Reply reply(nodes, count, slab);
  for (size_t i = 0; i < count; i++) {
    const ReplyNode& node = reply.next();
    out->push_back(static_cast<char>('0' + static_cast<int>(node.type)));
    out->append(node.text);
    out->append(std::to_string(node.integer));
    if (node.is_error()) server_error(node.text);
    if (node.is_text()) ServerInfo::parse(node.text);
  }
  Reply entries(nodes, count, slab);
  size_t left = entries.next().elements();
  Vector<pulse_header> headers;
  for (; left > 0 && !entries.peek().is_nil(); left--) {
    Message message;
    parse_entry(entries, &message, &headers);
  }
}

std::string parse(const uint8_t* data, size_t size, size_t portion) {
  ReplyParser parser(kMax);
  parser.reset();
  std::string seen;
  Error error;
  for (size_t at = 0; at < size && error.ok(); at += portion) {
    error = parser.feed(reinterpret_cast<const char*>(data) + at, std::min(portion, size - at));
    const ReplyNode* nodes = nullptr;
    size_t count = 0;
    while (error.ok() && parser.next(&error, &nodes, &count))
      walk(nodes, count, parser.slab(), &seen);
  }
  return seen + (error.ok() ? "" : "!");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Beyond the limit it depends on the portions when that is noticed.
  if (size > static_cast<size_t>(kMax) / 64) {
    parse(data, size, 1000);
    return 0;
  }
  std::string whole = parse(data, size, std::max<size_t>(size, 1));
  if (parse(data, size, 1) != whole || parse(data, size, 7) != whole) abort();
  return 0;
}
