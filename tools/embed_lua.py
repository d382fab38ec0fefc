#!/usr/bin/env python3
"""Writes a header with the Lua scripts named on the command line and their SHA-1.

usage: embed_lua.py OUTPUT SCRIPT.lua... [--include FILE.lua...]

A line "-- include NAME.lua" of a script, or of a file that it includes, stands for the text of that
file, which must be one of those behind --include.  In each script the first such line counts.
"""
import hashlib
import pathlib
import re
import sys

DIRECTIVE = re.compile(r"--\s*include\b\s*(.*)")


def fail(message):
    sys.exit(f"embed_lua.py: {message}")


def by_name(files):
    paths = {}
    for path in map(pathlib.Path, files):
        if paths.setdefault(path.name, path) != path:
            fail(f"two files are called {path.name}: {paths[path.name]} and {path}")
    return paths


def expand(path, includes, done, within):
    """The lines of a file without indentation, with those of the files that it includes."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        line = line.strip()
        directive = DIRECTIVE.fullmatch(line)
        if not directive:
            yield line
            continue
        name = directive.group(1)
        if name not in includes:
            fail(f"{path}:{number}: no file to include is called {name or 'so'}")
        if name in within:
            fail(f"{path}:{number}: {name} includes itself")
        if name not in done:
            done.add(name)
            yield from expand(includes[name], includes, done, within + [name])


def strip(lines):
    """The script without comment lines: it travels to every server."""
    return "\n".join(line for line in lines if line and not line.startswith("--")) + "\n"


def main():
    output, files = sys.argv[1], sys.argv[2:]
    border = files.index("--include") if "--include" in files else len(files)
    includes = by_name(files[border + 1:])
    guard = f"PULSE_{pathlib.Path(output).stem.upper()}_H"
    parts = [f'// Made by tools/embed_lua.py.\n#ifndef {guard}\n#define {guard}\n\n'
             '#include "redis/script.h"\n\nnamespace pulseengine::scripts {\n']
    for name, path in sorted(by_name(files[:border]).items()):
        text = strip(expand(path, includes, set(), []))
        sha1 = hashlib.sha1(text.encode()).hexdigest()
        parts.append(f'inline constexpr Script {path.stem}{{"{path.stem}", R"lua({text})lua", "{sha1}"}};\n')
    parts.append('}  // namespace pulseengine::scripts\n\n#endif\n')
    pathlib.Path(output).write_text("\n".join(parts))


if __name__ == "__main__":
    main()
