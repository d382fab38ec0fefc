// TLS over a non-blocking socket, with OpenSSL 1.1.1 and newer.
//
// The session reads and writes the socket through a BIO of its own: send() with
// MSG_NOSIGNAL, so that a peer that is gone never raises SIGPIPE in the host.
// Nothing of OpenSSL's process-wide state is changed; the thread's error queue is
// empty after each call.
//
// In a build without TLS, TlsContext::create answers PULSE_ERR_UNSUPPORTED and no
// session ever exists.
#ifndef PULSE_REDIS_TLS_H
#define PULSE_REDIS_TLS_H

#include <cstddef>

#include "base/alloc.h"
#include "base/error.h"
#include "base/ref.h"
#include "redis/url.h"

struct bio_method_st;
struct bio_st;
struct ssl_ctx_st;
struct ssl_st;
struct x509_store_ctx_st;

namespace pulseengine {

// What all connections to one server share: CAs, client certificate, and whose
// name the server must prove.  Immutable once created; any thread.
class TlsContext final : public RefCounted {
 public:
  // Reads the files that the URL names.  PULSE_ERR_TLS says which one is wrong.
  // The name that is asked for (SNI) and verified is `sni`, else the host.
  static Error create(const Url& url, Ref<TlsContext>* out);

 private:
  friend class TlsSession;
  TlsContext() = default;
  ~TlsContext() override;
  Error load(const Url& url);

  ssl_ctx_st* ssl_context_ = nullptr;
  bio_method_st* socket_method_ = nullptr;
  Url::Verify verify_ = Url::Verify::full;
  String name_;  // of the server, without trailing dot and IPv6 zone
  bool name_is_ip_ = false;

  template <class T, class... Args>
  friend Ref<T> make_ref(Args&&... args);
};

// One connection, client side.  Used by one thread at a time.  The descriptor stays
// the caller's: it must outlive the session and be non-blocking.
class TlsSession final : public Allocated {
 public:
  enum class IoResult {
    ok,
    want_read,   // call again when the socket is readable
    want_write,  // call again when the socket is writable
    eof,         // the peer closed the connection, with or without TLS saying so
    error        // see error(); the session is of no further use
  };

  static Error create(Ref<TlsContext> context, int fd, Owned<TlsSession>* out);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  IoResult handshake();
  // *n > 0 exactly when ok.  Data may wait inside the session while the socket is not
  // readable: read until the result is want_read.
  IoResult read(void* data, size_t size, size_t* n);
  // May write less than `size`.  After want_read or want_write the next call
  // must offer the same bytes again, at the same or another address, and may offer more.
  IoResult write(const void* data, size_t size, size_t* n);
  // Tells the peer; does not wait for its answer.
  IoResult shutdown();

  // Of the last result `error` or `eof`: PULSE_ERR_TLS with the reason, or
  // PULSE_ERR_DISCONNECTED when the socket failed or the peer closed it.
  const Error& error() const { return error_; }

 private:
  TlsSession(Ref<TlsContext> context, int fd);
  Error prepare();
  IoResult finish(int returned, bool in_handshake);
  void explain(bool in_handshake);
  void note_refusal(x509_store_ctx_st* store);

  static int bio_read(bio_st* bio, char* data, int size);
  static int bio_write(bio_st* bio, const char* data, int size);
  static int on_verify(int accepted, x509_store_ctx_st* store);
  friend class TlsContext;

  Ref<TlsContext> context_;
  ssl_st* ssl_ = nullptr;
  int fd_;
  int socket_errno_ = 0;     // of the send or recv that failed
  bool socket_eof_ = false;  // recv answered 0
  bool failed_ = false;
  Error error_;
  Error refusal_;  // why the peer's certificate was refused
};

}  // namespace pulseengine

#endif
