#include "fault_answers.h"

#include <cctype>
#include <cstdlib>
#include <map>

namespace ts {
namespace {

using Words = std::vector<std::string>;

const char kInfo[] =
    "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nprocess_id:1\r\n"
    "run_id:0123456789012345678901234567890123456789\r\n# Persistence\r\nloading:0\r\n"
    "# Replication\r\nrole:master\r\n";

std::string text(const std::string& bytes) {
  return "$" + std::to_string(bytes.size()) + "\r\n" + bytes + "\r\n";
}

std::string array(const std::vector<std::string>& items) {
  std::string result = "*" + std::to_string(items.size()) + "\r\n";
  for (const std::string& item : items) result += item;
  return result;
}

std::string error_unknown(const Words& words) {
  return "-ERR unknown command '" + words[0] + "', with args beginning with: \r\n";
}

std::string hello(const Words& words) {
  if (words.size() > 1 && words[1] != "2") return "-NOPROTO unsupported protocol version\r\n";
  return array({text("server"), text("redis"), text("version"), text("7.0.15"), text("proto"),
                ":2\r\n", text("id"), ":1\r\n", text("mode"), text("standalone"), text("role"),
                text("master"), text("modules"), "*0\r\n"});
}

std::string command_info(const Words& words) {
  if (words.size() < 2 || upper(words[1]) != "INFO") return error_unknown(words);
  std::vector<std::string> items;
  for (size_t i = 2; i < words.size(); ++i) {
    items.push_back(
        array({text(words[i]), ":-2\r\n", array({"+write\r\n"}), ":1\r\n", ":1\r\n", ":1\r\n"}));
  }
  return array(items);
}

std::string client(const Words& words, uint64_t number) {
  const std::string verb = words.size() > 1 ? upper(words[1]) : "";
  if (verb == "ID") return ":" + std::to_string(number) + "\r\n";
  if (verb == "KILL") return ":0\r\n";
  if (verb == "LIST" || verb == "INFO") return text("id=1 addr= name= cmd=client\n");
  return "+OK\r\n";
}

std::string script(const Words& words) {
  const std::string verb = words.size() > 1 ? upper(words[1]) : "";
  if (verb == "LOAD") return text(std::string(40, 'a'));
  if (verb == "EXISTS") return array(std::vector<std::string>(words.size() - 2, ":0\r\n"));
  return "+OK\r\n";
}

// One message per channel, as for subscribing one after the other.
std::string subscribed(const Words& words) {
  std::string kind = words[0];
  for (char& letter : kind) letter = static_cast<char>(tolower(static_cast<unsigned char>(letter)));
  std::string result;
  for (size_t i = 1; i < words.size(); ++i) {
    result += array({text(kind), text(words[i]), ":" + std::to_string(i) + "\r\n"});
  }
  return result;
}

std::string xinfo(const Words& words) {
  return words.size() > 1 && upper(words[1]) == "STREAM" ? "-ERR no such key\r\n" : "*0\r\n";
}

UsualAnswer blocking_read(const Words& words) {
  UsualAnswer answer;
  answer.bytes = "*-1\r\n";
  for (size_t i = 1; i + 1 < words.size(); ++i) {
    if (upper(words[i]) == "STREAMS") break;
    if (upper(words[i]) != "BLOCK") continue;
    answer.delay_ms = strtoll(words[i + 1].c_str(), nullptr, 10);
    answer.never = answer.delay_ms == 0;
  }
  return answer;
}

}  // namespace

std::string upper(const std::string& text) {
  std::string result = text;
  for (char& letter : result) {
    letter = static_cast<char>(toupper(static_cast<unsigned char>(letter)));
  }
  return result;
}

UsualAnswer usual_answer(const Words& words, uint64_t number) {
  static const std::map<std::string, std::string> kFixed = {
      {"AUTH", "+OK\r\n"},
      {"SELECT", "+OK\r\n"},
      {"XGROUP", "+OK\r\n"},
      {"CONFIG", "*0\r\n"},
      {"READONLY", "+OK\r\n"},
      {"XACK", ":1\r\n"},
      {"XDEL", ":1\r\n"},
      {"XLEN", ":0\r\n"},
      {"XTRIM", ":0\r\n"},
      {"DEL", ":1\r\n"},
      {"UNLINK", ":1\r\n"},
      {"EXISTS", ":0\r\n"},
      {"EXPIRE", ":1\r\n"},
      {"PEXPIRE", ":1\r\n"},
      {"PUBLISH", ":0\r\n"},
      {"XRANGE", "*0\r\n"},
      {"XREVRANGE", "*0\r\n"},
      {"XCLAIM", "*0\r\n"},
      {"XAUTOCLAIM", "*3\r\n$3\r\n0-0\r\n*0\r\n*0\r\n"},
      {"EVAL", "$-1\r\n"},
      {"EVALSHA", "-NOSCRIPT No matching script. Please use EVAL.\r\n"},
      {"ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"},
      {"TIME", "*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n"},
  };
  const std::string name = upper(words[0]);
  const auto fixed = kFixed.find(name);
  if (fixed != kFixed.end()) return {fixed->second};
  if (name == "XREAD" || name == "XREADGROUP") return blocking_read(words);
  if (name == "HELLO") return {hello(words)};
  if (name == "PING") return {words.size() > 1 ? text(words[1]) : "+PONG\r\n"};
  if (name == "ECHO" && words.size() > 1) return {text(words[1])};
  if (name == "INFO") return {text(kInfo)};
  if (name == "COMMAND") return {command_info(words)};
  if (name == "CLIENT") return {client(words, number)};
  if (name == "SCRIPT") return {script(words)};
  if (name == "XADD") return {text("1700000000000-" + std::to_string(number))};
  if (name == "XINFO") return {xinfo(words)};
  if (name == "XPENDING") {
    return {words.size() > 3 ? "*0\r\n" : "*4\r\n:0\r\n$-1\r\n$-1\r\n*-1\r\n"};
  }
  if (name == "SUBSCRIBE" || name == "PSUBSCRIBE" || name == "UNSUBSCRIBE" ||
      name == "PUNSUBSCRIBE") {
    return {subscribed(words)};
  }
  return {error_unknown(words)};
}

}  // namespace ts
