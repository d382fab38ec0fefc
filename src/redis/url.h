// Where the server is: the URLs of pulse_engine_options.url.
//
//   redis://[user[:password]@]host[:port][/db]
//   rediss://...          the same with TLS; parameters ca, cert, key, sni and
//                         verify=full|ca|none
//   unix:///path          parameters db, user, password
//   local:                a private server in the user's own directory
//   local:///directory    a private server there
//
// Everything is percent-decoded once.  User and password must write '/', '?' and
// '#' as %2F, %3F and %23; in a parameter '@' is %40.
#ifndef PULSE_REDIS_URL_H
#define PULSE_REDIS_URL_H

#include <cstdint>
#include <string_view>

#include "base/alloc.h"
#include "base/error.h"

namespace pulseengine {

struct Url {
  enum class Scheme { tcp, tls, unix_socket, local };
  enum class Verify { full, ca, none };

  Scheme scheme = Scheme::tcp;
  String host;  // without the brackets of an IPv6 address
  uint16_t port = 6379;
  String path;  // of the socket, or the directory of local: (empty = the default one)
  String user, password;
  int64_t db = 0;
  // TLS only.
  String ca, cert, key;  // files; `ca` may be a directory
  String sni;            // empty = the host
  Verify verify = Verify::full;
};

// Socket paths must fit into sockaddr_un::sun_path with their NUL.
inline constexpr size_t kMaxSocketPath = 107;

// PULSE_ERR_INVALID says which part is wrong.  Its message quotes nothing but
// names of parameters: in a broken URL any other part may be a password.
// *out is left alone on failure.
Error parse_url(std::string_view text, Url* out);

// The URL for logs: without the password, and without a user that stands alone
// (some write the password there).
String redacted(const Url& url);

}  // namespace pulseengine

#endif
