#!/usr/bin/env python3
"""Writes a header with the Lua scripts named on the command line and their SHA-1.

usage: embed_lua.py OUTPUT FILE.lua...
"""
import hashlib
import pathlib
import sys


def strip(text):
    """The script without comment lines and indentation: it travels to every server."""
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("--")) + "\n"


def main():
    output, files = sys.argv[1], sys.argv[2:]
    parts = ['// Made by tools/embed_lua.py.\n#ifndef PULSE_SCRIPTS_H\n#define PULSE_SCRIPTS_H\n\n'
             '#include "redis/script.h"\n\nnamespace pulseengine::scripts {\n']
    for name in sorted(files):
        path = pathlib.Path(name)
        text = strip(path.read_text())
        sha1 = hashlib.sha1(text.encode()).hexdigest()
        parts.append(f'inline constexpr Script {path.stem}{{"{path.stem}", R"lua({text})lua", "{sha1}"}};\n')
    parts.append('}  // namespace pulseengine::scripts\n\n#endif\n')
    pathlib.Path(output).write_text("\n".join(parts))


if __name__ == "__main__":
    main()
