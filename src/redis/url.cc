#include "redis/url.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>

namespace pulseengine {
namespace {

constexpr size_t kMaxUrl = 8192;
constexpr int64_t kMaxDb = INT32_MAX;

Error invalid(std::string_view what) { return Error::make(PULSE_ERR_INVALID, 0, "url: {}", what); }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Takes `prefix` (lower case) off the front of *text, whatever its case.
bool take_prefix(std::string_view* text, std::string_view prefix) {
  if (text->size() < prefix.size()) return false;
  for (size_t i = 0; i < prefix.size(); ++i) {
    if (lower((*text)[i]) != prefix[i]) return false;
  }
  text->remove_prefix(prefix.size());
  return true;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// `part` is the name of this part of the URL for the message.
Error decode(std::string_view text, std::string_view part, String* out) {
  out->clear();
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      int high = i + 1 < text.size() ? hex_digit(text[i + 1]) : -1;
      int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) {
        return Error::make(PULSE_ERR_INVALID, 0,
                           "url: {}: '%' is not followed by two hexadecimal digits", part);
      }
      c = static_cast<char>(high * 16 + low);
      if (c == '\0') return Error::make(PULSE_ERR_INVALID, 0, "url: {}: NUL byte", part);
      i += 2;
    }
    out->push_back(c);
  }
  return {};
}

bool parse_number(std::string_view text, int64_t min, int64_t max, int64_t* out) {
  int64_t value = 0;
  if (text.empty() || text[0] == '-') return false;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size()) return false;
  if (value < min || value > max) return false;
  *out = value;
  return true;
}

Error parse_db(std::string_view text, int64_t* db) {
  if (parse_number(text, 0, kMaxDb, db)) return {};
  return Error::make(PULSE_ERR_INVALID, 0, "url: db: not a number from 0 to {}", kMaxDb);
}

Error parse_port(std::string_view text, uint16_t* port) {
  int64_t value = 0;
  if (!parse_number(text, 1, 65535, &value)) {
    return invalid("port: not a number from 1 to 65535");
  }
  *port = static_cast<uint16_t>(value);
  return {};
}

// An IPv6 address with or without a zone ("fe80::1%eth0").
bool is_ipv6(const String& text) {
  String address = text.substr(0, text.find('%'));
  in6_addr ignored;
  return inet_pton(AF_INET6, address.c_str(), &ignored) == 1;
}

Error parse_host(std::string_view text, Url* url) {
  std::string_view port;
  bool has_port = false;
  if (!text.empty() && text[0] == '[') {
    size_t end = text.find(']');
    if (end == text.npos) return invalid("host: '[' without ']'");
    Error error = decode(text.substr(1, end - 1), "host", &url->host);
    if (!error.ok()) return error;
    if (!is_ipv6(url->host)) return invalid("host: not an IPv6 address between the brackets");
    text.remove_prefix(end + 1);
    has_port = !text.empty();
    if (has_port && text[0] != ':') return invalid("host: neither ':' nor the end after ']'");
    if (has_port) port = text.substr(1);
  } else {
    size_t colon = text.find(':');
    has_port = colon != text.npos;
    if (has_port) port = text.substr(colon + 1);
    if (port.find(':') != port.npos) {
      return invalid("host: more than one ':' (an IPv6 address goes into brackets)");
    }
    Error error = decode(text.substr(0, colon), "host", &url->host);
    if (!error.ok()) return error;
    if (url->host.empty()) return invalid("host: missing");
    auto forbidden = [](char c) {
      return static_cast<unsigned char>(c) <= ' ' || c == 0x7f ||
             std::string_view("/\\?#@[]:<>\"%").find(c) != std::string_view::npos;
    };
    if (std::any_of(url->host.begin(), url->host.end(), forbidden)) {
      return invalid("host: has a character that no host name has");
    }
  }
  return has_port ? parse_port(port, &url->port) : Error();
}

// [user[:password]@]host[:port]
Error parse_authority(std::string_view text, Url* url) {
  size_t at = text.rfind('@');
  if (at != text.npos) {
    std::string_view login = text.substr(0, at);
    size_t colon = login.find(':');
    Error error = decode(login.substr(0, colon), "user", &url->user);
    if (error.ok() && colon != login.npos) {
      error = decode(login.substr(colon + 1), "password", &url->password);
    }
    if (!error.ok()) return error;
    text.remove_prefix(at + 1);
  }
  return parse_host(text, url);
}

// One parameter: where its value goes, and which schemes know it.
struct Parameter {
  std::string_view name;
  String Url::*value;  // null: db and verify, which are no strings
  bool tls;            // else of unix:
  bool may_be_empty;
};

constexpr Parameter kParameters[] = {
    {"ca", &Url::ca, true, false},     {"cert", &Url::cert, true, false},
    {"key", &Url::key, true, false},   {"sni", &Url::sni, true, false},
    {"verify", nullptr, true, false},  {"db", nullptr, false, false},
    {"user", &Url::user, false, true}, {"password", &Url::password, false, true},
};
constexpr size_t kParameterCount = sizeof kParameters / sizeof kParameters[0];

Error set_parameter(const Parameter& parameter, std::string_view raw, Url* url) {
  String text;
  String* value = parameter.value != nullptr ? &(url->*parameter.value) : &text;
  Error error = decode(raw, parameter.name, value);
  if (!error.ok()) return error;
  if (value->empty() && !parameter.may_be_empty) {
    return Error::make(PULSE_ERR_INVALID, 0, "url: parameter {} is empty", parameter.name);
  }
  if (parameter.name == "db") return parse_db(text, &url->db);
  if (parameter.name == "verify") {
    if (text == "full") {
      url->verify = Url::Verify::full;
    } else if (text == "ca") {
      url->verify = Url::Verify::ca;
    } else if (text == "none") {
      url->verify = Url::Verify::none;
    } else {
      return invalid("parameter verify: not full, ca or none");
    }
  }
  return {};
}

// Whatever does not look like a name is not repeated, nor anything behind a
// password: it may be the other half of one that holds an '&'.
Error unknown_parameter(std::string_view name, bool behind_password) {
  auto plain = [](char c) { return (lower(c) >= 'a' && lower(c) <= 'z') || c == '_' || c == '-'; };
  if (behind_password || name.empty() || name.size() > 32 ||
      !std::all_of(name.begin(), name.end(), plain)) {
    return invalid("a parameter is unknown, or '&' in a parameter is not written as %26");
  }
  return Error::make(PULSE_ERR_INVALID, 0, "url: parameter {} is unknown", name);
}

// name=value&...
Error parse_parameters(std::string_view query, Url* url) {
  bool seen[kParameterCount] = {};
  while (!query.empty()) {
    size_t end = std::min(query.find('&'), query.size());
    std::string_view item = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    size_t equals = item.find('=');
    std::string_view name = item.substr(0, equals);
    const Parameter* known =
        std::find_if(kParameters, kParameters + kParameterCount,
                     [name](const Parameter& parameter) { return parameter.name == name; });
    if (known == kParameters + kParameterCount)
      return unknown_parameter(name, !url->password.empty());
    if (url->scheme != (known->tls ? Url::Scheme::tls : Url::Scheme::unix_socket)) {
      return Error::make(PULSE_ERR_INVALID, 0, "url: parameter {} is only for {}", known->name,
                         known->tls ? "rediss://" : "unix://");
    }
    if (equals == item.npos) {
      return Error::make(PULSE_ERR_INVALID, 0, "url: parameter {} has no value", name);
    }
    bool* again = &seen[known - kParameters];
    if (*again) return Error::make(PULSE_ERR_INVALID, 0, "url: parameter {} is there twice", name);
    *again = true;
    Error error = set_parameter(*known, item.substr(equals + 1), url);
    if (!error.ok()) return error;
  }
  if (!url->key.empty() && url->cert.empty()) return invalid("parameter key needs cert");
  return {};
}

Error parse_path(std::string_view text, std::string_view what, String* path) {
  if (text.size() < 2 || text[0] != '/') return invalid(what);
  return decode(text, "path", path);
}

Error parse(std::string_view text, Url* url) {
  if (text.size() > kMaxUrl)
    return Error::make(PULSE_ERR_INVALID, 0, "url: over {} bytes", kMaxUrl);
  auto control = [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; };
  if (std::any_of(text.begin(), text.end(), control)) {
    return invalid("has a control character");
  }
  bool network = true;
  if (take_prefix(&text, "redis://")) {
    url->scheme = Url::Scheme::tcp;
  } else if (take_prefix(&text, "rediss://")) {
    url->scheme = Url::Scheme::tls;
  } else if (take_prefix(&text, "unix://")) {
    url->scheme = Url::Scheme::unix_socket;
    network = false;
  } else if (take_prefix(&text, "local:")) {
    url->scheme = Url::Scheme::local;
    network = false;
  } else {
    return invalid("does not begin with redis://, rediss://, unix:// or local:");
  }
  if (text.find('#') != text.npos) return invalid("'#' must be written as %23");

  size_t question = std::min(text.find('?'), text.size());
  std::string_view query = text.substr(std::min(question + 1, text.size()));
  text = text.substr(0, question);
  Error error;
  if (network) {
    size_t slash = std::min(text.find('/'), text.size());
    std::string_view db = text.substr(slash);
    if (db.find('@') != db.npos || query.find('@') != query.npos) {
      return invalid(
          "in user and password '/' and '?' must be written as %2F and %3F, "
          "in a parameter '@' as %40");
    }
    error = parse_authority(text.substr(0, slash), url);
    if (error.ok() && db.size() > 1) error = parse_db(db.substr(1), &url->db);
  } else if (url->scheme == Url::Scheme::unix_socket) {
    error = parse_path(text, "not unix:/// with the path of a socket", &url->path);
    if (error.ok() && url->path.size() > kMaxSocketPath) {
      error = Error::make(PULSE_ERR_INVALID, 0, "url: the socket's path is over {} bytes",
                          kMaxSocketPath);
    }
  } else if (!text.empty()) {
    static constexpr std::string_view kWrong = "neither local: nor local:///directory";
    if (!take_prefix(&text, "//")) return invalid(kWrong);
    error = parse_path(text, kWrong, &url->path);
  }
  return error.ok() ? parse_parameters(query, url) : error;
}

void append_encoded(String* out, std::string_view text, std::string_view also_plain) {
  for (char c : text) {
    bool letter = lower(c) >= 'a' && lower(c) <= 'z';
    bool digit = c >= '0' && c <= '9';
    if (letter || digit || std::string_view("-._~").find(c) != std::string_view::npos ||
        also_plain.find(c) != std::string_view::npos) {
      out->push_back(c);
    } else {
      fmt::format_to(std::back_inserter(*out), "%{:02X}", static_cast<unsigned char>(c));
    }
  }
}

// Appends ?name=value, or &name=value.
void append_parameter(String* out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  out->push_back(out->find('?') == String::npos ? '?' : '&');
  out->append(name);
  out->push_back('=');
  append_encoded(out, value, "/:*");
}

void append_network(String* out, const Url& url) {
  if (!url.password.empty()) {
    append_encoded(out, url.user, "");
    out->append(":***@");
  } else if (!url.user.empty()) {
    out->append("***@");
  }
  bool brackets = url.host.find(':') != String::npos;
  if (brackets) out->push_back('[');
  append_encoded(out, url.host, ":");
  if (brackets) out->push_back(']');
  fmt::format_to(std::back_inserter(*out), ":{}", url.port);
  if (url.db != 0) fmt::format_to(std::back_inserter(*out), "/{}", url.db);
}

}  // namespace

Error parse_url(std::string_view text, Url* out) {
  Url url;
  Error error = parse(text, &url);
  if (error.ok()) *out = std::move(url);
  return error;
}

String redacted(const Url& url) {
  String out;
  switch (url.scheme) {
    case Url::Scheme::tcp:
      out = "redis://";
      append_network(&out, url);
      break;
    case Url::Scheme::tls:
      out = "rediss://";
      append_network(&out, url);
      append_parameter(&out, "ca", url.ca);
      append_parameter(&out, "cert", url.cert);
      append_parameter(&out, "key", url.key);
      append_parameter(&out, "sni", url.sni);
      if (url.verify == Url::Verify::ca) append_parameter(&out, "verify", "ca");
      if (url.verify == Url::Verify::none) append_parameter(&out, "verify", "none");
      break;
    case Url::Scheme::unix_socket:
      out = "unix://";
      append_encoded(&out, url.path, "/");
      if (url.db != 0) {
        char digits[24];
        auto end = std::to_chars(digits, digits + sizeof digits, url.db).ptr;
        append_parameter(&out, "db", {digits, static_cast<size_t>(end - digits)});
      }
      // A user that stands alone may be the password.
      if (!url.user.empty())
        append_parameter(&out, "user", url.password.empty() ? "***" : url.user);
      if (!url.password.empty()) append_parameter(&out, "password", "***");
      break;
    case Url::Scheme::local:
      out = "local:";
      if (!url.path.empty()) {
        out += "//";
        append_encoded(&out, url.path, "/");
      }
      break;
  }
  return out;
}

}  // namespace pulseengine
