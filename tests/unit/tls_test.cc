// TLS sessions against an OpenSSL server in the same thread, over a socket pair.
#include "redis/tls.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef PULSE_HAVE_TLS

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <filesystem>
#include <memory>
#include <string>

namespace pulseengine {
namespace {

using IoResult = TlsSession::IoResult;

struct Identity {
  EVP_PKEY* key = nullptr;
  X509* certificate = nullptr;
  ~Identity() {
    EVP_PKEY_free(key);
    X509_free(certificate);
  }
};

EVP_PKEY* make_key() {
  EVP_PKEY* key = nullptr;
  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nullptr);
  EVP_PKEY_keygen_init(context);
  EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context, NID_X9_62_prime256v1);
  EVP_PKEY_keygen(context, &key);
  EVP_PKEY_CTX_free(context);
  return key;
}

void add_extension(X509* certificate, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  ASSERT_NE(extension, nullptr);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// A certificate signed by `issuer` (null: by itself, as a CA), valid until
// `seconds` from now.
std::unique_ptr<Identity> make_identity(const std::string& name, const std::string& alt_names,
                                        const Identity* issuer, long seconds = 3600) {
  static long serial = 1;
  auto identity = std::make_unique<Identity>();
  identity->key = make_key();
  X509* x = identity->certificate = X509_new();
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
  X509_gmtime_adj(X509_getm_notBefore(x), -7200);
  X509_gmtime_adj(X509_getm_notAfter(x), seconds);
  X509_set_pubkey(x, identity->key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(x, X509_get_subject_name(issuer != nullptr ? issuer->certificate : x));
  add_extension(x, NID_basic_constraints, issuer != nullptr ? "CA:FALSE" : "critical,CA:TRUE");
  if (!alt_names.empty()) add_extension(x, NID_subject_alt_name, alt_names);
  X509_sign(x, issuer != nullptr ? issuer->key : identity->key, EVP_sha256());
  return identity;
}

class Tls : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/pulse-tls-XXXXXX";
    directory_ = mkdtemp(name);
    authority_ = make_identity("Test CA", "", nullptr);
    save("ca.pem", authority_->certificate, nullptr);
    server_context_ = SSL_CTX_new(TLS_server_method());
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds_), 0);
    url_.scheme = Url::Scheme::tls;
    url_.host = "redis.test";
    url_.ca = path("ca.pem").c_str();
  }
  void TearDown() override {
    session_.reset();
    SSL_free(server_);
    SSL_CTX_free(server_context_);
    close_server();
    close(fds_[0]);
    std::filesystem::remove_all(directory_);
  }

  std::string path(const std::string& name) { return directory_ + "/" + name; }

  void save(const std::string& name, X509* certificate, EVP_PKEY* key,
            const char* passphrase = nullptr) {
    FILE* file = fopen(path(name).c_str(), "w");
    ASSERT_NE(file, nullptr);
    if (certificate != nullptr) PEM_write_X509(file, certificate);
    if (key != nullptr) {
      PEM_write_PrivateKey(file, key, passphrase != nullptr ? EVP_aes_128_cbc() : nullptr, nullptr,
                           0, nullptr, const_cast<char*>(passphrase));
    }
    fclose(file);
  }

  void serve(const Identity& identity) {
    SSL_CTX_use_certificate(server_context_, identity.certificate);
    SSL_CTX_use_PrivateKey(server_context_, identity.key);
    server_ = SSL_new(server_context_);
    SSL_set_fd(server_, fds_[1]);
    SSL_set_accept_state(server_);
  }
  void serve(const std::string& alt_names = "DNS:redis.test") {
    serve(*make_identity("server", alt_names, authority_.get()));
  }

  void close_server() {
    if (fds_[1] >= 0) close(fds_[1]);
    fds_[1] = -1;
  }

  // Alternates between the two sides until the client's result is final.
  IoResult connect() {
    Ref<TlsContext> context;
    Error error = TlsContext::create(url_, &context);
    EXPECT_TRUE(error.ok()) << error.message();
    error = TlsSession::create(context, fds_[0], &session_);
    EXPECT_TRUE(error.ok()) << error.message();
    for (int i = 0; i < 100; ++i) {
      IoResult result = session_->handshake();
      if (result != IoResult::want_read) return result;
      SSL_do_handshake(server_);
      ERR_clear_error();
    }
    return IoResult::want_read;
  }

  // The reason why connect() failed.
  std::string refusal() {
    EXPECT_EQ(connect(), IoResult::error);
    EXPECT_EQ(session_->error().code(), PULSE_ERR_TLS);
    EXPECT_EQ(ERR_peek_error(), 0u);
    return std::string(session_->error().message());
  }

  std::string bad_context() {
    Ref<TlsContext> context;
    Error error = TlsContext::create(url_, &context);
    EXPECT_EQ(error.code(), PULSE_ERR_TLS);
    EXPECT_FALSE(context);
    EXPECT_EQ(ERR_peek_error(), 0u);
    return std::string(error.message());
  }

  // What the client reads next.
  IoResult receive(std::string* text) {
    char data[4096];
    size_t n = 0;
    IoResult result = session_->read(data, sizeof data, &n);
    text->assign(data, n);
    return result;
  }

  std::string directory_;
  std::unique_ptr<Identity> authority_;
  SSL_CTX* server_context_ = nullptr;
  SSL* server_ = nullptr;
  int fds_[2] = {-1, -1};
  Url url_;
  Owned<TlsSession> session_;
};

void expect_has(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

TEST_F(Tls, TalksBothWays) {
  serve();
  ASSERT_EQ(connect(), IoResult::ok);
  size_t n = 0;
  ASSERT_EQ(session_->write("hello", 5, &n), IoResult::ok);
  EXPECT_EQ(n, 5u);
  char data[16];
  ASSERT_EQ(SSL_read(server_, data, sizeof data), 5);
  EXPECT_EQ(std::string(data, 5), "hello");
  std::string text;
  EXPECT_EQ(receive(&text), IoResult::want_read);
  ASSERT_EQ(SSL_write(server_, "world", 5), 5);
  EXPECT_EQ(receive(&text), IoResult::ok);
  EXPECT_EQ(text, "world");
  EXPECT_EQ(receive(&text), IoResult::want_read);
  EXPECT_STREQ(SSL_get_servername(server_, TLSEXT_NAMETYPE_host_name), "redis.test");
}

TEST_F(Tls, FullSocketWantsWriteAndLosesNothing) {
  serve();
  ASSERT_EQ(connect(), IoResult::ok);
  std::string sent, received;
  std::string data(100000, 'x');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>('a' + i % 23);
  IoResult result = IoResult::ok;
  while (result == IoResult::ok) {
    size_t offset = sent.size() % data.size(), n = 0;
    result = session_->write(data.data() + offset, data.size() - offset, &n);
    sent.append(data, offset, n);
    ASSERT_LT(sent.size(), 100000000u);
  }
  ASSERT_EQ(result, IoResult::want_write);
  char buffer[8192];
  int got;
  // The same bytes again, from another address and with more behind them.
  while ((got = SSL_read(server_, buffer, sizeof buffer)) > 0) received.append(buffer, got);
  size_t offset = sent.size() % data.size(), n = 0;
  std::string moved = data.substr(offset) + data;
  ASSERT_EQ(session_->write(moved.data(), moved.size(), &n), IoResult::ok);
  sent.append(moved, 0, n);
  while ((got = SSL_read(server_, buffer, sizeof buffer)) > 0) received.append(buffer, got);
  EXPECT_TRUE(received == sent);
}

TEST_F(Tls, NoTls11) {
  SSL_CTX_set_min_proto_version(server_context_, TLS1_VERSION);
  SSL_CTX_set_max_proto_version(server_context_, TLS1_1_VERSION);
  SSL_CTX_set_cipher_list(server_context_, "ALL:@SECLEVEL=0");
  serve();
  expect_has(refusal(), "version");
}

TEST_F(Tls, Tls12Works) {
  SSL_CTX_set_max_proto_version(server_context_, TLS1_2_VERSION);
  serve();
  EXPECT_EQ(connect(), IoResult::ok);
}

TEST_F(Tls, UnknownAuthority) {
  auto other = make_identity("Other CA", "", nullptr);
  serve(*make_identity("server", "DNS:redis.test", other.get()));
  expect_has(refusal(), "unable to get local issuer certificate");
}

TEST_F(Tls, SystemAuthoritiesDoNotKnowIt) {
  url_.ca.clear();
  serve();
  expect_has(refusal(), "certificate is refused");
}

TEST_F(Tls, SelfSigned) {
  serve(*make_identity("server", "DNS:redis.test", nullptr));
  expect_has(refusal(), "self");
}

TEST_F(Tls, Expired) {
  serve(*make_identity("server", "DNS:redis.test", authority_.get(), -60));
  expect_has(refusal(), "certificate has expired");
}

TEST_F(Tls, WrongName) {
  serve("DNS:other.test,IP:10.1.2.3,DNS:more.test");
  std::string said = refusal();
  expect_has(said, "hostname mismatch");
  expect_has(said, "redis.test expected");
  expect_has(said, "other.test, 10.1.2.3, more.test");
}

TEST_F(Tls, CommonNameOfAnotherHostWithoutAltNames) {
  serve("");
  expect_has(refusal(), "no name at all");
}

TEST_F(Tls, Wildcard) {
  url_.host = "redis.cache.test";
  serve("DNS:*.cache.test");
  EXPECT_EQ(connect(), IoResult::ok);
}

TEST_F(Tls, PartialWildcardRefused) {
  url_.host = "redis.cache.test";
  serve("DNS:r*.cache.test");
  expect_has(refusal(), "hostname mismatch");
}

TEST_F(Tls, TrailingDot) {
  url_.host = "redis.test.";
  serve();
  EXPECT_EQ(connect(), IoResult::ok);
}

TEST_F(Tls, SniIsTheNameThatIsVerified) {
  url_.host = "10.0.0.1";
  url_.sni = "redis.test";
  serve();
  EXPECT_EQ(connect(), IoResult::ok);
  EXPECT_STREQ(SSL_get_servername(server_, TLSEXT_NAMETYPE_host_name), "redis.test");
}

TEST_F(Tls, IpAddress) {
  url_.host = "127.0.0.1";
  serve("IP:127.0.0.1");
  EXPECT_EQ(connect(), IoResult::ok);
  EXPECT_EQ(SSL_get_servername(server_, TLSEXT_NAMETYPE_host_name), nullptr);
}

TEST_F(Tls, Ipv6AddressWithZone) {
  url_.host = "fe80::1%eth0";
  serve("IP:fe80::1");
  EXPECT_EQ(connect(), IoResult::ok);
}

TEST_F(Tls, WrongIpAddress) {
  url_.host = "127.0.0.1";
  serve("IP:127.0.0.2,DNS:127.0.0.1");
  std::string said = refusal();
  expect_has(said, "IP address mismatch");
  expect_has(said, "127.0.0.2");
}

TEST_F(Tls, VerifyCaIgnoresTheName) {
  url_.verify = Url::Verify::ca;
  serve("DNS:other.test");
  EXPECT_EQ(connect(), IoResult::ok);
}

TEST_F(Tls, VerifyCaStillNeedsTheAuthority) {
  url_.verify = Url::Verify::ca;
  serve(*make_identity("server", "DNS:redis.test", nullptr));
  refusal();
}

TEST_F(Tls, VerifyNoneTakesAnything) {
  url_.verify = Url::Verify::none;
  serve(*make_identity("server", "DNS:other.test", nullptr, -60));
  EXPECT_EQ(connect(), IoResult::ok);
}

TEST_F(Tls, ClientCertificate) {
  auto client = make_identity("client", "", authority_.get());
  save("both.pem", client->certificate, client->key);
  save("key.pem", nullptr, client->key);
  url_.cert = path("both.pem").c_str();
  for (const std::string& key : {std::string(), path("key.pem")}) {
    url_.key = key.c_str();
    X509_STORE_add_cert(SSL_CTX_get_cert_store(server_context_), authority_->certificate);
    SSL_CTX_set_verify(server_context_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    SSL_free(server_);
    close_server();
    close(fds_[0]);
    session_.reset();
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds_), 0);
    serve();
    ASSERT_EQ(connect(), IoResult::ok);
    EXPECT_EQ(SSL_do_handshake(server_), 1) << "the server takes the certificate";
  }
}

TEST_F(Tls, MissingClientCertificateIsReported) {
  SSL_CTX_set_verify(server_context_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  serve();
  // In TLS 1.3 the client is ready before the server looks.
  ASSERT_EQ(connect(), IoResult::ok);
  SSL_do_handshake(server_);
  std::string text;
  ASSERT_EQ(receive(&text), IoResult::error);
  expect_has(std::string(session_->error().message()), "certificate required");
}

TEST_F(Tls, BadFiles) {
  url_.ca = path("absent.pem").c_str();
  expect_has(bad_context(), "ca " + path("absent.pem") + ": No such file");
  url_.ca = path("ca.pem").c_str();
  url_.cert = path("absent.pem").c_str();
  expect_has(bad_context(), "cert " + path("absent.pem") + ": No such file");
  url_.cert = path("ca.pem").c_str();
  expect_has(bad_context(), "key " + path("ca.pem") + ": no private key");
  auto other = make_identity("other", "", nullptr);
  save("other.pem", nullptr, other->key);
  url_.key = path("other.pem").c_str();
  expect_has(bad_context(), "mismatch");
  FILE* file = fopen(path("rubbish.pem").c_str(), "w");
  fputs("rubbish", file);
  fclose(file);
  url_.ca = path("rubbish.pem").c_str();
  expect_has(bad_context(), "rubbish.pem");
  url_.ca = path("ca.pem").c_str();
  url_.cert = path("rubbish.pem").c_str();
  expect_has(bad_context(), "cert " + path("rubbish.pem") + ": no certificate that can be read");
}

// Instead of asking for the passphrase on the host's terminal.
TEST_F(Tls, KeyWithPassphraseIsRefused) {
  auto client = make_identity("client", "", authority_.get());
  save("client.pem", client->certificate, client->key, "secret");
  url_.cert = path("client.pem").c_str();
  expect_has(bad_context(), "key " + path("client.pem") + ": no private key (without passphrase)");
}

TEST_F(Tls, CaDirectory) {
  char hash[32];
  snprintf(hash, sizeof hash, "%08lx.0", X509_subject_name_hash(authority_->certificate));
  std::filesystem::create_directory(path("cas"));
  std::filesystem::copy_file(path("ca.pem"), path("cas") + "/" + hash);
  url_.ca = path("cas").c_str();
  serve();
  EXPECT_EQ(connect(), IoResult::ok);
}

TEST_F(Tls, PlainServer) {
  serve();
  ASSERT_EQ(write(fds_[1], "-ERR Protocol error\r\n", 21), 21);
  expect_has(refusal(), "does not speak TLS");
}

TEST_F(Tls, ClosedInHandshake) {
  serve();
  shutdown(fds_[1], SHUT_WR);
  EXPECT_EQ(connect(), IoResult::error);
  EXPECT_EQ(session_->error().code(), PULSE_ERR_DISCONNECTED);
  EXPECT_EQ(session_->error().flags(), PULSE_ERROR_RETRIABLE);
  EXPECT_EQ(session_->handshake(), IoResult::error);
}

TEST_F(Tls, EndOfConnection) {
  for (bool polite : {true, false}) {
    serve();
    ASSERT_EQ(connect(), IoResult::ok);
    SSL_do_handshake(server_);
    ASSERT_EQ(SSL_write(server_, "last", 4), 4);
    if (polite) SSL_shutdown(server_);
    close_server();
    std::string text;
    EXPECT_EQ(receive(&text), IoResult::ok);
    EXPECT_EQ(text, "last");
    EXPECT_EQ(receive(&text), IoResult::eof) << polite;
    EXPECT_EQ(session_->error().code(), PULSE_ERR_DISCONNECTED) << polite;
    EXPECT_EQ(ERR_peek_error(), 0u);
    session_.reset();
    SSL_free(server_);
    server_ = nullptr;
    close(fds_[0]);
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds_), 0);
  }
}

// SIGPIPE would end this program.
TEST_F(Tls, WriteToClosedPeer) {
  serve();
  ASSERT_EQ(connect(), IoResult::ok);
  close_server();
  size_t n = 0;
  EXPECT_EQ(session_->write("x", 1, &n), IoResult::error);
  EXPECT_EQ(n, 0u);
  EXPECT_EQ(session_->error().code(), PULSE_ERR_DISCONNECTED);
  EXPECT_EQ(session_->error().system_errno(), EPIPE);
  EXPECT_EQ(session_->shutdown(), IoResult::error);
}

TEST_F(Tls, ShutdownTellsThePeer) {
  serve();
  ASSERT_EQ(connect(), IoResult::ok);
  SSL_do_handshake(server_);
  EXPECT_EQ(session_->shutdown(), IoResult::ok);
  char byte;
  int returned = SSL_read(server_, &byte, 1);
  EXPECT_EQ(SSL_get_error(server_, returned), SSL_ERROR_ZERO_RETURN);
}

// A host's own leftovers on the error queue must not look like a failure.
TEST_F(Tls, StaleErrorsOfTheHost) {
  serve();
  ASSERT_EQ(connect(), IoResult::ok);
  ERR_put_error(ERR_LIB_USER, 0, 1, __FILE__, __LINE__);
  std::string text;
  EXPECT_EQ(receive(&text), IoResult::want_read);
}

// More than there are BIO types in a process.
TEST_F(Tls, ManyContexts) {
  for (int i = 0; i < 300; ++i) {
    Ref<TlsContext> context;
    Error error = TlsContext::create(url_, &context);
    ASSERT_TRUE(error.ok()) << error.message();
  }
}

}  // namespace
}  // namespace pulseengine

#else

namespace pulseengine {
namespace {

TEST(Tls, UnsupportedInThisBuild) {
  Url url;
  url.scheme = Url::Scheme::tls;
  Ref<TlsContext> context;
  EXPECT_EQ(TlsContext::create(url, &context).code(), PULSE_ERR_UNSUPPORTED);
  EXPECT_FALSE(context);
}

}  // namespace
}  // namespace pulseengine

#endif
