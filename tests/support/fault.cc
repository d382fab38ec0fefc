// The fault server: one thread, rules for what to answer.

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "fault_answers.h"
#include "internal.h"

namespace {

constexpr size_t kNoCut = SIZE_MAX;

// head, chunk * repeat, tail: made while it is sent, so that it may be larger than memory.
struct Bytes {
  std::string head;
  std::string chunk;
  uint64_t repeat = 0;
  std::string tail;
};

struct Output {
  Bytes bytes;
  int64_t due = 0;  // a time; not before it
  size_t cut = kNoCut;
  size_t sent = 0;
  bool never = false;
};

struct Client {
  int descriptor = -1;
  std::string input;
  std::deque<Output> outputs;
  bool dead = false;
};

// A part of a rule, with how often it still holds: -1 = for ever.
template <typename Value>
struct Part {
  Value value{};
  int times = 0;
};

struct Rule {
  Part<Bytes> answer;
  Part<bool> silence;
  Part<size_t> cut;
  Part<int64_t> delay;
};

}  // namespace

struct ts_fault {
  std::string directory;
  std::string url;
  int listener = -1;
  ts::Waker waker;
  std::thread thread;

  std::mutex mutex;  // guards what follows
  std::condition_variable turned;
  uint64_t turns = 0;
  bool stop = false;
  bool cut_everything = false;
  size_t split = 0;
  std::map<std::string, Rule> rules;
  std::map<std::string, uint64_t> counts;
  std::map<std::string, std::vector<std::string>> last;
  uint64_t commands = 0;
  uint64_t accepted = 0;
  std::list<Client> clients;
};

namespace {

using Words = std::vector<std::string>;

// The names a rule may have for this command, the longest first.
std::vector<std::string> names_of(const Words& words) {
  std::vector<std::string> names;
  if (words.size() > 1) names.push_back(ts::upper(words[0]) + " " + ts::upper(words[1]));
  names.push_back(ts::upper(words[0]));
  names.emplace_back("*");
  return names;
}

// The part of the rule with the longest name, and counts its use.  False when there is none.
template <typename Value>
bool use(ts_fault* fault, const std::vector<std::string>& names, Part<Value> Rule::*part,
         Value* value) {
  for (const std::string& name : names) {
    const auto rule = fault->rules.find(name);
    if (rule == fault->rules.end() || (rule->second.*part).times == 0) continue;
    Part<Value>& found = rule->second.*part;
    *value = found.value;
    if (found.times > 0) --found.times;
    return true;
  }
  return false;
}

// One command from the input; false when it is not complete yet.  What is no command at all kills
// the connection, as in the real server.
bool parse(Client* client, Words* words) {
  const std::string& input = client->input;
  const auto line_end = [&](size_t from) { return input.find("\r\n", from); };
  size_t at = line_end(0);
  if (at == std::string::npos) return false;
  if (input[0] != '*') {
    client->dead = true;
    return false;
  }
  const long count = strtol(input.c_str() + 1, nullptr, 10);
  at += 2;
  for (long i = 0; i < count; ++i) {
    const size_t end = line_end(at);
    if (end == std::string::npos) return false;
    const size_t size = strtoul(input.c_str() + at + 1, nullptr, 10);
    if (input.size() < end + 2 + size + 2) return false;
    words->push_back(input.substr(end + 2, size));
    at = end + 2 + size + 2;
  }
  client->input.erase(0, at);
  return true;
}

void answer(ts_fault* fault, Client* client, const Words& words) {
  const std::vector<std::string> names = names_of(words);
  ++fault->commands;
  for (const std::string& name : names) {
    ++fault->counts[name];
    fault->last[name] = words;
  }
  Output output;
  const ts::UsualAnswer usual = ts::usual_answer(words, fault->commands);
  int64_t delay = 0;
  if (!use(fault, names, &Rule::answer, &output.bytes)) {
    output.bytes.head = usual.bytes;
    output.never = usual.never;
    delay = usual.delay_ms;
  }
  use(fault, names, &Rule::silence, &output.never);
  use(fault, names, &Rule::cut, &output.cut);
  use(fault, names, &Rule::delay, &delay);
  output.due = ts_now_ms() + delay;
  client->outputs.push_back(std::move(output));
}

void take_in(ts_fault* fault, Client* client) {
  char buffer[65536];
  for (;;) {
    const ssize_t got = recv(client->descriptor, buffer, sizeof buffer, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (got <= 0) {
      client->dead = true;
      return;
    }
    client->input.append(buffer, static_cast<size_t>(got));
  }
  for (Words words; parse(client, &words); words.clear()) {
    if (!words.empty()) answer(fault, client, words);
  }
}

// The next bytes to send, without taking them off.
std::string next_bytes(const Bytes& bytes) {
  constexpr size_t kEnough = 64 * 1024;
  std::string result = bytes.head;
  uint64_t left = bytes.repeat;
  for (; left > 0 && result.size() < kEnough; --left) result += bytes.chunk;
  if (left == 0) result += bytes.tail;
  return result;
}

// Takes `count` bytes off the front.
void take_off(Bytes* bytes, size_t count) {
  while (count > 0) {
    if (bytes->head.empty() && bytes->repeat > 0) {
      const uint64_t whole = bytes->chunk.empty()
                                 ? bytes->repeat
                                 : std::min<uint64_t>(bytes->repeat, count / bytes->chunk.size());
      bytes->repeat -= whole;
      count -= static_cast<size_t>(whole) * bytes->chunk.size();
      if (count == 0) break;
      if (bytes->repeat > 0) {
        bytes->head = bytes->chunk;
        --bytes->repeat;
      }
    }
    std::string* front = bytes->head.empty() ? &bytes->tail : &bytes->head;
    const size_t part = std::min(count, front->size());
    front->erase(0, part);
    count -= part;
  }
}

bool is_empty(const Bytes& bytes) {
  return bytes.head.empty() && (bytes.repeat == 0 || bytes.chunk.empty()) && bytes.tail.empty();
}

// What the client has not read yet (unix), or not acknowledged (TCP).
bool has_unread(int descriptor) {
  int unread = 0;
  return ioctl(descriptor, SIOCOUTQ, &unread) == 0 && unread > 0;
}

// Sends what is due.  False when it must wait for the socket.
void put_out(ts_fault* fault, Client* client) {
  while (!client->outputs.empty() && !client->dead) {
    Output& output = client->outputs.front();
    if (output.never || output.due > ts_now_ms()) return;
    if (output.cut != kNoCut && output.sent >= output.cut) {
      client->dead = true;
      return;
    }
    if (is_empty(output.bytes)) {
      client->outputs.pop_front();
      continue;
    }
    if (fault->split > 0 && has_unread(client->descriptor)) return;
    const std::string bytes = next_bytes(output.bytes);
    size_t size = bytes.size();
    if (fault->split > 0) size = std::min(size, fault->split);
    if (output.cut != kNoCut) size = std::min(size, output.cut - output.sent);
    const ssize_t sent = send(client->descriptor, bytes.data(), size, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno != EAGAIN && errno != EINTR) client->dead = true;
      return;
    }
    output.sent += static_cast<size_t>(sent);
    take_off(&output.bytes, static_cast<size_t>(sent));
  }
}

void accept_all(ts_fault* fault) {
  for (;;) {
    const int descriptor = accept4(fault->listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (descriptor < 0) return;
    const int on = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ++fault->accepted;
    fault->clients.emplace_back();
    fault->clients.back().descriptor = descriptor;
  }
}

// How long to wait for what is to be sent later, in milliseconds; -1 = nothing is.
int timeout_of(const ts_fault* fault) {
  int64_t result = -1;
  for (const Client& client : fault->clients) {
    if (client.outputs.empty() || client.outputs.front().never) continue;
    int64_t wait = std::max<int64_t>(client.outputs.front().due - ts_now_ms(), 0);
    // A full socket is waited for by POLLOUT; a piece not read yet has no event to wait for.
    if (wait == 0 && fault->split == 0) continue;
    if (result < 0 || wait < result) result = wait;
  }
  return static_cast<int>(std::min<int64_t>(result, INT_MAX));
}

std::vector<pollfd> poll_set(const ts_fault* fault) {
  std::vector<pollfd> items = {{fault->waker.descriptor(), POLLIN, 0},
                               {fault->listener, POLLIN, 0}};
  for (const Client& client : fault->clients) {
    short events = POLLIN;
    const bool due = !client.outputs.empty() && !client.outputs.front().never &&
                     client.outputs.front().due <= ts_now_ms();
    if (due && fault->split == 0) events |= POLLOUT;
    items.push_back({client.descriptor, events, 0});
  }
  return items;
}

void turn(ts_fault* fault) {
  accept_all(fault);
  for (auto client = fault->clients.begin(); client != fault->clients.end();) {
    if (!fault->cut_everything) {
      take_in(fault, &*client);
      put_out(fault, &*client);
    }
    if (!client->dead && !fault->cut_everything) {
      ++client;
      continue;
    }
    close(client->descriptor);
    client = fault->clients.erase(client);
  }
  fault->cut_everything = false;
  ++fault->turns;
  fault->turned.notify_all();
}

void loop(ts_fault* fault) {
  ts::block_signals();
  std::unique_lock<std::mutex> lock(fault->mutex);
  while (!fault->stop) {
    turn(fault);
    std::vector<pollfd> items = poll_set(fault);
    const int timeout = timeout_of(fault);
    lock.unlock();
    poll(items.data(), items.size(), timeout);
    fault->waker.drain();
    lock.lock();
  }
  for (const Client& client : fault->clients) close(client.descriptor);
  close(fault->listener);
}

// Changes the orders, and waits until the thread has seen them.
void order(ts_fault* fault, const std::function<void()>& change) {
  std::unique_lock<std::mutex> lock(fault->mutex);
  change();
  const uint64_t seen = fault->turns;
  fault->waker.wake();
  fault->turned.wait(lock, [&] { return fault->turns > seen; });
}

template <typename Value>
void set(ts_fault* fault, const char* name, Part<Value> Rule::*part, Value value, int times) {
  order(fault, [&] {
    fault->rules[ts::upper(name)].*part = {std::move(value), times > 0 ? times : -1};
  });
}

ts_fault* start(std::unique_ptr<ts_fault> fault) {
  if (fault->listener < 0) {
    ts::remove_directory(fault->directory);
    return nullptr;
  }
  fault->thread = std::thread([raw = fault.get()] { loop(raw); });
  return fault.release();
}

}  // namespace

extern "C" {

ts_fault* ts_fault_start(void) {
  auto fault = std::make_unique<ts_fault>();
  fault->directory = ts::make_directory();
  if (fault->directory.empty()) return nullptr;
  const std::string path = fault->directory + "/fault.sock";
  fault->listener = ts::listen_unix(path);
  fault->url = "unix://" + ts::encode_url(path, true);
  return start(std::move(fault));
}

ts_fault* ts_fault_start_tcp(void) {
  auto fault = std::make_unique<ts_fault>();
  int port = 0;
  fault->listener = ts::listen_tcp(&port);
  fault->url = "redis://127.0.0.1:" + std::to_string(port);
  return start(std::move(fault));
}

void ts_fault_free(ts_fault* fault) {
  if (fault == nullptr) return;
  {
    std::lock_guard<std::mutex> lock(fault->mutex);
    fault->stop = true;
  }
  fault->waker.wake();
  fault->thread.join();
  ts::remove_directory(fault->directory);
  delete fault;
}

const char* ts_fault_url(const ts_fault* fault) { return fault->url.c_str(); }

void ts_fault_answer(ts_fault* fault, const char* name, const void* data, size_t size, int times) {
  Bytes bytes;
  bytes.head.assign(static_cast<const char*>(data), size);
  set(fault, name, &Rule::answer, std::move(bytes), times);
}

void ts_fault_answer_text(ts_fault* fault, const char* name, const char* text, int times) {
  ts_fault_answer(fault, name, text, strlen(text), times);
}

void ts_fault_answer_repeated(ts_fault* fault, const char* name, const char* head,
                              const void* chunk, size_t size, uint64_t repeat, const char* tail,
                              int times) {
  Bytes bytes;
  bytes.head = head;
  bytes.chunk.assign(static_cast<const char*>(chunk), size);
  bytes.repeat = repeat;
  bytes.tail = tail;
  set(fault, name, &Rule::answer, std::move(bytes), times);
}

void ts_fault_silence(ts_fault* fault, const char* name, int times) {
  set(fault, name, &Rule::silence, true, times);
}

void ts_fault_delay(ts_fault* fault, const char* name, int64_t milliseconds) {
  set(fault, name, &Rule::delay, milliseconds, 0);
}

void ts_fault_cut(ts_fault* fault, const char* name, size_t bytes, int times) {
  set(fault, name, &Rule::cut, bytes, times);
}

void ts_fault_split(ts_fault* fault, size_t bytes) {
  order(fault, [&] { fault->split = bytes; });
}

void ts_fault_clear(ts_fault* fault, const char* name) {
  order(fault, [&] { fault->rules.erase(ts::upper(name)); });
}

void ts_fault_send(ts_fault* fault, const void* data, size_t size) {
  order(fault, [&] {
    for (Client& client : fault->clients) {
      Output output;
      output.bytes.head.assign(static_cast<const char*>(data), size);
      // Before what waits, unless that has begun: else it would come in the middle of an answer.
      const bool begun = !client.outputs.empty() && client.outputs.front().sent > 0;
      client.outputs.insert(client.outputs.begin() + (begun ? 1 : 0), std::move(output));
    }
  });
}

void ts_fault_cut_all(ts_fault* fault) {
  order(fault, [&] { fault->cut_everything = true; });
}

uint64_t ts_fault_count(ts_fault* fault, const char* name) {
  std::lock_guard<std::mutex> lock(fault->mutex);
  const auto found = fault->counts.find(ts::upper(name));
  return found != fault->counts.end() ? found->second : 0;
}

int ts_fault_wait_count(ts_fault* fault, const char* name, uint64_t count, int64_t deadline_ms) {
  struct Wait {
    ts_fault* fault;
    const char* name;
    uint64_t count;
  } wait{fault, name, count};
  const auto reached = [](void* context) -> int {
    const Wait* waiting = static_cast<Wait*>(context);
    return ts_fault_count(waiting->fault, waiting->name) >= waiting->count;
  };
  return ts_wait_until(reached, &wait, deadline_ms);
}

char* ts_fault_last(ts_fault* fault, const char* name, size_t word, size_t* size) {
  std::lock_guard<std::mutex> lock(fault->mutex);
  const auto found = fault->last.find(ts::upper(name));
  if (found == fault->last.end() || word >= found->second.size()) return nullptr;
  const std::string& text = found->second[word];
  char* copy = static_cast<char*>(malloc(text.size() + 1));
  if (copy == nullptr) return nullptr;
  memcpy(copy, text.c_str(), text.size() + 1);
  if (size != nullptr) *size = text.size();
  return copy;
}

int ts_fault_connections(ts_fault* fault) {
  std::lock_guard<std::mutex> lock(fault->mutex);
  return static_cast<int>(fault->clients.size());
}

uint64_t ts_fault_accepted(ts_fault* fault) {
  std::lock_guard<std::mutex> lock(fault->mutex);
  return fault->accepted;
}

}  // extern "C"
