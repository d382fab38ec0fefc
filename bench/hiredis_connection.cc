#include "hiredis_connection.h"

#include "failure.h"

namespace bench {
namespace {

redisContext* connect(const Place& place) {
  switch (place.transport()) {
    case Transport::unix_socket:
      return redisConnectUnix(ts_server_socket(place.server()));
    case Transport::tcp:
      return redisConnect("127.0.0.1", ts_server_port(place.server()));
    case Transport::tls:
      break;
  }
  throw Unavailable("hiredis without TLS is no reference here");
}

}  // namespace

HiredisConnection::HiredisConnection(const Place& place) : context_(connect(place), redisFree) {
  require(context_ != nullptr && context_->err == 0, "hiredis cannot connect");
}

HiredisReply HiredisConnection::checked(void* reply) {
  require(reply != nullptr, std::string("hiredis: ") + context_->errstr);
  HiredisReply owned(static_cast<redisReply*>(reply));
  require(owned->type != REDIS_REPLY_ERROR,
          std::string("hiredis: ") + (owned->str ? owned->str : ""));
  return owned;
}

HiredisReply HiredisConnection::command(const Arguments& arguments) {
  return checked(
      redisCommandArgv(context_.get(), arguments.count(), arguments.texts(), arguments.sizes()));
}

HiredisReply HiredisConnection::command(std::vector<const char*>& texts,
                                        const std::vector<size_t>& sizes) {
  return checked(
      redisCommandArgv(context_.get(), static_cast<int>(texts.size()), texts.data(), sizes.data()));
}

void HiredisConnection::append(const Arguments& arguments) {
  require(redisAppendCommandArgv(context_.get(), arguments.count(), arguments.texts(),
                                 arguments.sizes()) == REDIS_OK,
          "hiredis cannot append");
}

HiredisReply HiredisConnection::reply() {
  void* reply = nullptr;
  if (redisGetReply(context_.get(), &reply) != REDIS_OK) reply = nullptr;
  return checked(reply);
}

}  // namespace bench
