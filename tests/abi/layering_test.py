"""Dependencies between the source folders point downwards only, and each package underneath is
known to one of them alone.

usage: layering_test.py SOURCE_DIRECTORY                       as a test
       layering_test.py SOURCE_DIRECTORY --stamp FILE DEPFILE   as a step of the build"""

import pathlib
import re
import sys
import tempfile

import tap

# Folder -> the folders that it may use besides itself.
LAYERS = {
    "base": [],
    "loop": ["base"],
    "redis": ["base", "loop"],
    "engine": ["base", "loop", "redis"],
    "rmap": ["base", "loop", "redis", "engine"],
    "streaming": ["base", "loop", "redis", "engine", "rmap"],
    "cache": ["base", "loop", "redis", "engine", "rmap", "streaming"],
    "pool": ["base", "loop", "redis", "engine", "rmap", "streaming"],
    "capi": ["base", "loop", "redis", "engine", "rmap", "streaming", "cache", "pool"],
}

# What is included -> the only folder that may.
PACKAGES = {
    r"uv\.h|uv/.*": "loop",
    r"hiredis/.*|hiredis\.h|(async|read|sds)\.h": "redis",
    r"openssl/.*": "redis",
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def without_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", lambda found: "\n" * found.group().count("\n"), text, flags=re.S)


def sources(directory):
    return sorted(path for path in pathlib.Path(directory).rglob("*")
                  if path.suffix in {".cc", ".c", ".h", ".hpp", ".inc"})


def check_include(path, folder, mark, name):
    """What is wrong with this include, or None."""
    for pattern, owner in PACKAGES.items():
        if re.fullmatch(pattern, name):
            return None if folder == owner else f"only src/{owner} may include <{name}>"
    if mark == "<" or name.startswith("pulseengine/"):
        return None
    if name.startswith("..") or "/../" in name:
        return f'"{name}": paths are relative to src'
    target = name.split("/")[0]
    if "/" not in name:  # a text that the build makes is found so
        return f'"{name}": say "{folder}/{name}"' if (path.parent / name).exists() else None
    if target not in LAYERS:
        return f'"{name}": no such folder'
    if target != folder and target not in LAYERS[folder]:
        return f'"{name}": src/{folder} must not use src/{target}'
    return None


def check(directory):
    """All that is wrong, one line each."""
    directory = pathlib.Path(directory)
    faults = []
    for path in sources(directory):
        relative = path.relative_to(directory)
        folder = relative.parts[0]
        if len(relative.parts) == 1 or folder not in LAYERS:
            faults.append(f"src/{relative}: not in a known folder ({', '.join(LAYERS)})")
            continue
        text = without_comments(path.read_text(encoding="utf-8"))
        for found in INCLUDE.finditer(text):
            fault = check_include(path, folder, found.group(1), found.group(2))
            if fault:
                line = text.count("\n", 0, found.start(2)) + 1
                faults.append(f"src/{relative}:{line}: {fault}")
        for found in re.finditer(r'extern\s+"C"|\bPULSE_BEGIN_DECLS\b', text):
            if folder != "capi":
                line = text.count("\n", 0, found.start()) + 1
                faults.append(f'src/{relative}:{line}: extern "C" belongs in src/capi')
    return faults


def faults_of(folder, line):
    """What the check says of one line in one file."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / folder / "file.cc"
        path.parent.mkdir()
        path.write_text(line + "\n", encoding="utf-8")
        return check(directory)


def case_the_check_finds_faults():
    for folder, line in [("engine", "#include <uv.h>"), ("base", "#include <hiredis/hiredis.h>"),
                         ("loop", "#include <openssl/ssl.h>"), ("base", '#include "loop/loop.h"'),
                         ("redis", '#include "engine/engine.h"'), ("engine", 'extern "C" int f();'),
                         ("engine", '#include "streaming/stream.h"'), ("streaming", '#include "capi/x.h"'),
                         ("engine", '#include "../base/ref.h"'), ("unknown", "int i;")]:
        assert len(faults_of(folder, line)) == 1, f"src/{folder}: {line}: {faults_of(folder, line)}"
    for folder, line in [("loop", "#include <uv.h>"), ("redis", "#include <hiredis/hiredis.h>"),
                         ("streaming", '#include "engine/engine.h"'), ("capi", 'extern "C" int f();'),
                         ("engine", "// #include <uv.h>"), ("base", "#include <vector>")]:
        assert not faults_of(folder, line), f"src/{folder}: {line}: {faults_of(folder, line)}"


def case_the_sources_keep_the_layers():
    assert len(sources(sys.argv[1])) > 10, "no sources found"
    faults = check(sys.argv[1])
    assert not faults, "\n".join(faults)


def build_step(directory, stamp, depfile):
    faults = check(directory)
    if faults:
        print("\n".join(faults), file=sys.stderr)
        sys.exit(1)
    # The folders too: a new file in one of them is a change.
    needs = sources(directory) + [path for path in pathlib.Path(directory).rglob("*") if path.is_dir()]
    pathlib.Path(stamp).touch()
    pathlib.Path(depfile).write_text(
        stamp + ": " + " ".join(str(path).replace(" ", "\\ ") for path in needs) + "\n", encoding="utf-8")


if len(sys.argv) > 2:
    build_step(sys.argv[1], sys.argv[3], sys.argv[4])
else:
    cases = tap.Cases()
    cases.run("the check finds faults", case_the_check_finds_faults)
    cases.run("the sources keep the layers", case_the_sources_keep_the_layers)
    cases.finish()
