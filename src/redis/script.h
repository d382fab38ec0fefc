// Lua scripts: their text, built in from .lua files, and their SHA-1.
#ifndef PULSE_REDIS_SCRIPT_H
#define PULSE_REDIS_SCRIPT_H

#include <string_view>

namespace pulseengine {

struct Script {
  std::string_view name;  // of the file, without ".lua"
  std::string_view text;
  std::string_view sha1;  // 40 hexadecimal digits, computed by the build
};

// Generated from src/**/*.lua by tools/embed_lua.py; one per file:
//   #include "scripts.h"  ->  pulseengine::scripts::<file_name>

}  // namespace pulseengine

#endif
