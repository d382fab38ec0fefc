// Certificates of the moment, made with the openssl program.

#include <cstdlib>

#include "internal.h"

namespace ts {
namespace {

bool run(std::vector<std::string> words) {
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  argv.push_back(nullptr);
  char* errors = nullptr;
  const int status =
      ts_run(argv.data(), nullptr, nullptr, 0, nullptr, nullptr, &errors, TS_DEADLINE_MS);
  if (status != 0) complain("openssl %s: %s", words[1].c_str(), errors != nullptr ? errors : "");
  free(errors);
  return status == 0;
}

bool write_text(const std::string& path, const std::string& text) {
  FILE* file = fopen(path.c_str(), "we");
  if (file == nullptr) return false;
  const bool written = fputs(text.c_str(), file) >= 0;
  return fclose(file) == 0 && written;
}

bool make_authority(const std::string& stem, const std::string& name) {
  return run({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
              "-nodes", "-days", "2", "-subj", "/CN=" + name, "-keyout", stem + ".key", "-out",
              stem + ".pem"});
}

bool make_signed(const std::string& directory, const std::string& name,
                 const std::string& extensions) {
  const std::string stem = directory + "/" + name;
  const std::string authority = directory + "/ca";
  return write_text(stem + ".ext", extensions) &&
         run({"openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
              "-subj", "/CN=" + name, "-keyout", stem + ".key", "-out", stem + ".csr"}) &&
         run({"openssl", "x509", "-req", "-in", stem + ".csr", "-CA", authority + ".pem", "-CAkey",
              authority + ".key", "-CAcreateserial", "-days", "2", "-extfile", stem + ".ext",
              "-out", stem + ".pem"});
}

}  // namespace

bool make_certificates(const std::string& directory, const std::string& names) {
  if (find_program("openssl").empty()) {
    complain("no openssl program: install the package openssl");
    return false;
  }
  return make_authority(directory + "/ca", "test authority") &&
         make_authority(directory + "/other_ca", "other authority") &&
         make_signed(directory, "server",
                     "subjectAltName=" + names + "\nextendedKeyUsage=serverAuth\n") &&
         make_signed(directory, "client", "extendedKeyUsage=clientAuth\n");
}

}  // namespace ts
