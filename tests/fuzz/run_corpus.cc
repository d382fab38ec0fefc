// Runs a fuzz target over the files of a directory, each also cut short at every length and with
// single bytes changed: usage: fuzz_corpus_<name> DIRECTORY
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

void run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    std::ifstream file(entry.path(), std::ios::binary);
    std::string input{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    run(input);
    const size_t step = input.size() / 100 + 1;
    for (size_t i = 0; i < input.size(); i += step) {
      run(input.substr(0, i));
      for (char change : {'\x01', '\x80', '\x7f'}) {
        std::string changed = input;
        changed[i] = static_cast<char>(changed[i] ^ change);
        run(changed);
      }
    }
    ++files;
  }
  std::printf("%d files\n", files);
  return files > 0 ? 0 : 1;
}
