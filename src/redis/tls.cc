#include "redis/tls.h"

#ifdef PULSE_HAVE_TLS

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace pulseengine {
namespace {

Error tls_error(std::string_view what) { return Error::make(PULSE_ERR_TLS, 0, "TLS: {}", what); }

Error closed_by_peer() {
  return Error(PULSE_ERR_DISCONNECTED, "TLS: the server closed the connection",
               PULSE_ERROR_RETRIABLE);
}

// The innermost reason on the thread's error queue, which it empties.
Error take_openssl_error(std::string_view what) {
  unsigned long code = ERR_peek_last_error();
  bool no_memory = ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
  const char* reason = ERR_reason_error_string(code);
  char text[128];
  if (reason == nullptr) {
    // System errors have no reason text in OpenSSL 3.
    ERR_error_string_n(code, text, sizeof text);
    reason = text;
  }
  Error error = Error::make(no_memory ? PULSE_ERR_NO_MEMORY : PULSE_ERR_TLS, 0, "TLS: {}: {}", what,
                            code != 0 ? reason : "unknown reason");
  ERR_clear_error();
  return error;
}

// `content`: what the file should hold.
Error file_error(std::string_view parameter, const String& path, std::string_view content) {
  // All that OpenSSL says then is "PEM lib".
  if (ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_PEM_LIB) {
    ERR_clear_error();
    return Error::make(PULSE_ERR_TLS, 0, "TLS: {} {}: no {} that can be read", parameter, path,
                       content);
  }
  String what(parameter);
  what.append(" ").append(path);
  return take_openssl_error(what);
}

// OpenSSL itself says only "system lib" of a file that is not there.
Error check_readable(std::string_view parameter, const String& path) {
  if (path.empty() || access(path.c_str(), R_OK) == 0) return {};
  String what("TLS: ");
  what.append(parameter).append(" ").append(path);
  return Error::system(PULSE_ERR_TLS, what, errno, 0);
}

// Without it OpenSSL would ask on the terminal.
int no_passphrase(char*, int, int, void*) { return -1; }

long bio_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

// "a.example, b.example": what the certificate is for.
String names_of(X509* certificate) {
  String names;
  auto* list = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(list) && names.size() < 100; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(list, i);
    char address[INET6_ADDRSTRLEN];
    std::string_view text;
    if (name->type == GEN_DNS) {
      text = {reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
              static_cast<size_t>(ASN1_STRING_length(name->d.dNSName))};
    } else if (name->type == GEN_IPADD) {
      int family = ASN1_STRING_length(name->d.iPAddress) == 4 ? AF_INET : AF_INET6;
      if (family == AF_INET6 && ASN1_STRING_length(name->d.iPAddress) != 16) continue;
      text = inet_ntop(family, ASN1_STRING_get0_data(name->d.iPAddress), address, sizeof address);
    }
    if (text.empty()) continue;
    if (!names.empty()) names += ", ";
    // The peer chose these bytes.
    for (char c : text.substr(0, 64)) names += c > ' ' && c < 0x7f ? c : '?';
  }
  GENERAL_NAMES_free(list);
  return names.empty() ? String("no name at all") : names;
}

}  // namespace

Error TlsContext::create(const Url& url, Ref<TlsContext>* out) {
  Ref<TlsContext> context = make_ref<TlsContext>();
  ERR_clear_error();
  Error error = context->load(url);
  ERR_clear_error();
  if (error.ok()) *out = std::move(context);
  return error;
}

Error TlsContext::load(const Url& url) {
  for (const auto& [parameter, path] :
       {std::pair{"ca", &url.ca}, std::pair{"cert", &url.cert}, std::pair{"key", &url.key}}) {
    Error error = check_readable(parameter, *path);
    if (!error.ok()) return error;
  }
  verify_ = url.verify;
  name_ = url.sni.empty() ? url.host : url.sni;
  if (!name_.empty() && name_.back() == '.') name_.pop_back();
  in6_addr ignored;
  String address = name_.substr(0, name_.find('%'));
  name_is_ip_ = inet_pton(AF_INET, address.c_str(), &ignored) == 1 ||
                inet_pton(AF_INET6, address.c_str(), &ignored) == 1;
  if (name_is_ip_) name_ = std::move(address);

  ssl_context_ = SSL_CTX_new(TLS_client_method());
  // No index of the process is taken for its type: there are only 127.
  socket_method_ = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "pulse socket");
  if (ssl_context_ == nullptr || socket_method_ == nullptr) return take_openssl_error("set-up");
  BIO_meth_set_read(socket_method_, TlsSession::bio_read);
  BIO_meth_set_write(socket_method_, TlsSession::bio_write);
  BIO_meth_set_ctrl(socket_method_, bio_control);

  if (SSL_CTX_set_min_proto_version(ssl_context_, TLS1_2_VERSION) != 1) {
    return take_openssl_error("TLS 1.2");
  }
  SSL_CTX_set_options(ssl_context_, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(ssl_context_, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                     SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(ssl_context_, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_default_passwd_cb(ssl_context_, no_passphrase);
  SSL_CTX_set_verify(ssl_context_, verify_ == Url::Verify::none ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                     verify_ == Url::Verify::none ? nullptr : TlsSession::on_verify);

  if (!url.ca.empty()) {
    struct stat status;
    bool directory = stat(url.ca.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
    if (SSL_CTX_load_verify_locations(ssl_context_, directory ? nullptr : url.ca.c_str(),
                                      directory ? url.ca.c_str() : nullptr) != 1) {
      return file_error("ca", url.ca, "certificate");
    }
  } else if (verify_ != Url::Verify::none && SSL_CTX_set_default_verify_paths(ssl_context_) != 1) {
    return take_openssl_error("the system's CA certificates");
  }
  if (url.cert.empty()) return {};
  if (SSL_CTX_use_certificate_chain_file(ssl_context_, url.cert.c_str()) != 1) {
    return file_error("cert", url.cert, "certificate");
  }
  const String& key = url.key.empty() ? url.cert : url.key;
  // Fails also when the key is not that of the certificate.
  if (SSL_CTX_use_PrivateKey_file(ssl_context_, key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return file_error("key", key, "private key (without passphrase)");
  }
  return {};
}

TlsContext::~TlsContext() {
  SSL_CTX_free(ssl_context_);
  BIO_meth_free(socket_method_);
}

Error TlsSession::create(Ref<TlsContext> context, int fd, Owned<TlsSession>* out) {
  Owned<TlsSession> session(new TlsSession(std::move(context), fd));
  ERR_clear_error();
  Error error = session->prepare();
  ERR_clear_error();
  if (error.ok()) *out = std::move(session);
  return error;
}

TlsSession::TlsSession(Ref<TlsContext> context, int fd) : context_(std::move(context)), fd_(fd) {}

Error TlsSession::prepare() {
  ssl_ = SSL_new(context_->ssl_context_);
  BIO* bio = ssl_ != nullptr ? BIO_new(context_->socket_method_) : nullptr;
  if (bio == nullptr) return take_openssl_error("session");
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_app_data(ssl_, this);
  SSL_set_connect_state(ssl_);

  const String& name = context_->name_;
  bool ip = context_->name_is_ip_;
  if (!ip && SSL_set_tlsext_host_name(ssl_, name.c_str()) != 1) return take_openssl_error("sni");
  if (context_->verify_ != Url::Verify::full) return {};
  X509_VERIFY_PARAM* parameters = SSL_get0_param(ssl_);
  X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  int set = ip ? X509_VERIFY_PARAM_set1_ip_asc(parameters, name.c_str())
               : X509_VERIFY_PARAM_set1_host(parameters, name.data(), name.size());
  return set == 1 ? Error() : take_openssl_error("host name");
}

TlsSession::~TlsSession() {
  SSL_free(ssl_);
  ERR_clear_error();
}

int TlsSession::bio_read(BIO* bio, char* data, int size) {
  auto* session = static_cast<TlsSession*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  ssize_t n;
  do {
    n = recv(session->fd_, data, static_cast<size_t>(size), 0);
  } while (n < 0 && errno == EINTR);
  if (n > 0) return static_cast<int>(n);
  if (n == 0) {
    session->socket_eof_ = true;
  } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
    BIO_set_retry_read(bio);
  } else {
    session->socket_errno_ = errno;
  }
  return n == 0 ? 0 : -1;
}

int TlsSession::bio_write(BIO* bio, const char* data, int size) {
  auto* session = static_cast<TlsSession*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  ssize_t n;
  do {
    n = send(session->fd_, data, static_cast<size_t>(size), MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n >= 0) return static_cast<int>(n);
  if (errno == EAGAIN || errno == EWOULDBLOCK) {
    BIO_set_retry_write(bio);
  } else {
    session->socket_errno_ = errno;
  }
  return -1;
}

// Only looks on, to keep what the refused certificate was: OpenSSL forgets it.
int TlsSession::on_verify(int accepted, X509_STORE_CTX* store) {
  if (accepted == 1) return 1;
  auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* session = static_cast<TlsSession*>(SSL_get_app_data(ssl));
  // Called by C code: nothing may be thrown through it.
  try {
    session->note_refusal(store);
  } catch (const std::bad_alloc&) {
    session->refusal_ = Error(PULSE_ERR_NO_MEMORY, "TLS: out of memory");
  }
  return 0;
}

void TlsSession::note_refusal(X509_STORE_CTX* store) {
  int reason = X509_STORE_CTX_get_error(store);
  X509* certificate = X509_STORE_CTX_get_current_cert(store);
  std::string_view expected = context_->name_;
  if (certificate != nullptr &&
      (reason == X509_V_ERR_HOSTNAME_MISMATCH || reason == X509_V_ERR_IP_ADDRESS_MISMATCH)) {
    refusal_ = Error::make(PULSE_ERR_TLS, 0, "TLS: {}: {} expected, the certificate is for {}",
                           X509_verify_cert_error_string(reason), expected,
                           std::string_view(names_of(certificate)));
    return;
  }
  int depth = X509_STORE_CTX_get_error_depth(store);
  refusal_ = Error::make(PULSE_ERR_TLS, 0, "TLS: the server's certificate is refused: {}{}",
                         X509_verify_cert_error_string(reason), depth > 0 ? " (its issuer)" : "");
}

TlsSession::IoResult TlsSession::handshake() {
  if (failed_) return IoResult::error;
  ERR_clear_error();
  return finish(SSL_do_handshake(ssl_), true);
}

TlsSession::IoResult TlsSession::read(void* data, size_t size, size_t* n) {
  *n = 0;
  if (failed_) return IoResult::error;
  ERR_clear_error();
  return finish(SSL_read_ex(ssl_, data, size, n), false);
}

TlsSession::IoResult TlsSession::write(const void* data, size_t size, size_t* n) {
  *n = 0;
  if (failed_) return IoResult::error;
  if (size == 0) return IoResult::ok;
  ERR_clear_error();
  return finish(SSL_write_ex(ssl_, data, size, n), false);
}

TlsSession::IoResult TlsSession::shutdown() {
  if (failed_) return IoResult::error;
  // OpenSSL refuses it in the middle of a handshake.
  if (SSL_in_init(ssl_)) return IoResult::ok;
  ERR_clear_error();
  int returned = SSL_shutdown(ssl_);
  // 0: sent, and the peer has not answered yet.
  return returned >= 0 ? IoResult::ok : finish(returned, false);
}

TlsSession::IoResult TlsSession::finish(int returned, bool in_handshake) {
  if (returned == 1) return IoResult::ok;
  IoResult result = IoResult::error;
  switch (SSL_get_error(ssl_, returned)) {
    case SSL_ERROR_WANT_READ:
      result = IoResult::want_read;
      break;
    case SSL_ERROR_WANT_WRITE:
      result = IoResult::want_write;
      break;
    case SSL_ERROR_ZERO_RETURN:
      error_ = closed_by_peer();
      result = IoResult::eof;
      break;
    default:
      failed_ = true;
      // A cut connection without TLS' own good-bye: RESP shows by itself whether a reply is
      // complete, so that nothing is gained by an error.
      if (socket_eof_ && socket_errno_ == 0 && !in_handshake) {
        result = IoResult::eof;
        error_ = closed_by_peer();
      } else {
        explain(in_handshake);
      }
  }
  ERR_clear_error();
  return result;
}

void TlsSession::explain(bool in_handshake) {
  unsigned long code = ERR_peek_error();
  if (!refusal_.ok()) {
    error_ = refusal_;
  } else if (socket_errno_ != 0) {
    error_ = Error::system(PULSE_ERR_DISCONNECTED, "TLS", socket_errno_);
  } else if (socket_eof_ && in_handshake) {
    error_ =
        Error(PULSE_ERR_DISCONNECTED, "TLS: the server closed the connection during the handshake",
              PULSE_ERROR_RETRIABLE);
  } else if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
             ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER) {
    error_ = tls_error("the server does not speak TLS on this port (wrong version number)");
  } else {
    error_ = take_openssl_error(in_handshake ? "handshake" : "connection");
  }
}

}  // namespace pulseengine

#else  // no TLS in this build

namespace pulseengine {
namespace {

Error unsupported() {
  return Error(PULSE_ERR_UNSUPPORTED, "rediss://: this build of the library has no TLS");
}

}  // namespace

Error TlsContext::create(const Url&, Ref<TlsContext>*) { return unsupported(); }
Error TlsContext::load(const Url&) { return unsupported(); }
TlsContext::~TlsContext() = default;

Error TlsSession::create(Ref<TlsContext>, int, Owned<TlsSession>*) { return unsupported(); }
TlsSession::~TlsSession() = default;
TlsSession::IoResult TlsSession::handshake() { return IoResult::error; }
TlsSession::IoResult TlsSession::read(void*, size_t, size_t* n) {
  *n = 0;
  return IoResult::error;
}
TlsSession::IoResult TlsSession::write(const void*, size_t, size_t* n) {
  *n = 0;
  return IoResult::error;
}
TlsSession::IoResult TlsSession::shutdown() { return IoResult::error; }

}  // namespace pulseengine

#endif
