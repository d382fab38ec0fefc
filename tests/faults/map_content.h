// The content of a map, and a digest of it that changes with each key.
#ifndef PULSE_TESTS_FAULTS_MAP_CONTENT_H
#define PULSE_TESTS_FAULTS_MAP_CONTENT_H

#include <cstdint>
#include <map>
#include <string>

namespace faults {

// Fields with '=' or without a name are none of the map's.
inline bool is_map_field(const std::string& name) {
  return !name.empty() && name.find('=') == std::string::npos;
}

class MapContent {
 public:
  void set(const std::string& key, const std::string& value) {
    erase(key);
    values_[key] = value;
    digest_ += digest_of(key, value);
  }
  void erase(const std::string& key) {
    const auto found = values_.find(key);
    if (found == values_.end()) return;
    digest_ -= digest_of(key, found->second);
    values_.erase(found);
  }
  void clear() {
    values_.clear();
    digest_ = 0;
  }
  const std::map<std::string, std::string>& values() const { return values_; }
  uint64_t digest() const { return digest_; }

  // A content's digest is the sum of these.
  static uint64_t digest_of(const std::string& key, const std::string& value) {
    uint64_t hash = 14695981039346656037ull;
    const auto add = [&hash](unsigned char byte) { hash = (hash ^ byte) * 1099511628211ull; };
    for (size_t size = key.size(); size > 0; size >>= 8) add(static_cast<unsigned char>(size));
    for (const char c : key) add(static_cast<unsigned char>(c));
    for (const char c : value) add(static_cast<unsigned char>(c));
    hash ^= hash >> 32;
    hash *= 0x9E3779B97F4A7C15ull;
    return hash ^ (hash >> 29);
  }

 private:
  std::map<std::string, std::string> values_;
  uint64_t digest_ = 0;
};

}  // namespace faults

#endif
