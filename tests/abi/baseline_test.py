"""What a compiled program relies on has not changed since the committed baseline: functions with
their parameters, structs with their layout, values of constants.

It looks at a library made of the public headers alone (each function as a stub, with debugging
information), so that it depends neither on the build type nor on what the sources use inside; that
the real library has the same functions is symbols_test.py's job.

usage: baseline_test.py INCLUDE_DIRECTORY            as a test
       baseline_test.py INCLUDE_DIRECTORY --update   writes the baseline anew, after a wanted change
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import headers
import tap

include = pathlib.Path(sys.argv[1]).resolve()
here = pathlib.Path(__file__).resolve().parent
BASELINE = here / "pulseengine.abi"
CONSTANTS = here / "constants.txt"


def declared():
    """The declaration of each function, in the order of their names."""
    result = {}
    for header in sorted((include / "pulseengine").glob("*.h")):
        for declaration in headers.declarations(header):
            name = headers.function_name(declaration)
            if name:
                result[name] = re.sub(r"\bPULSE_NOEXCEPT\b", "", declaration)
    return [result[name] for name in sorted(result)]


def make_library(directory):
    text = "#include <pulseengine/pulse.h>\n"
    text += "".join(f"{declaration} {{ __builtin_trap(); }}\n" for declaration in declared())
    (directory / "stubs.c").write_text(text, encoding="utf-8")
    # Mapped to "." so that the text does not depend on where this is.
    tap.run("gcc", "-std=c11", "-g", "-O0", "-shared", "-fPIC", "-w", "-I", include,
            f"-ffile-prefix-map={include}=include", f"-ffile-prefix-map={directory}=.", "stubs.c",
            "-Wl,-soname,libpulseengine.so", "-o", "libpulseengine.so", cwd=directory)
    return directory / "libpulseengine.so"


def describe(directory):
    out = directory / "now.abi"
    tap.run("abidw", "--no-corpus-path", "--no-comp-dir-path", "--no-show-locs", "--out-file", out,
            make_library(directory))
    return out


def constants():
    """Name = value of every enumerator and every constant macro, which abidiff does not compare."""
    text = "".join(f"#include <pulseengine/{header.name}>\n"
                   for header in headers.of_the_library(include / "pulseengine"))
    raw = "\n".join(header.read_text(encoding="utf-8")
                    for header in headers.of_the_library(include / "pulseengine"))
    raw = re.sub(r"/\*.*?\*/", " ", raw, flags=re.S)
    names = set()
    for body in re.findall(r"\benum\s*\w*\s*\{(.*?)\}", raw, flags=re.S):
        names |= set(re.findall(r"\b(PULSE_\w+)\s*(?:=|,|$)", body + ","))
    names = sorted(names)
    assert names, "no constants found"
    main = "#include <stdio.h>\nint main(void) {\n"
    main += "".join(f'  printf("{name} = %lld\\n", (long long)({name}));\n' for name in names)
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory)
        (path / "constants.c").write_text(text + main + "  return 0;\n}\n", encoding="utf-8")
        tap.run("gcc", "-std=c11", "-I", include, path / "constants.c", "-o", path / "constants")
        return tap.run(path / "constants")


def is_debian_12():
    release = pathlib.Path("/etc/os-release")
    text = release.read_text(encoding="utf-8") if release.exists() else ""
    return re.search(r'^ID="?debian"?$', text, re.M) and re.search(r'^VERSION_ID="?12"?$', text, re.M)


def case_baseline():
    for tool in ("abidw", "abidiff", "gcc"):
        if shutil.which(tool) is None:
            raise tap.Skip(f"no {tool}")
    if not is_debian_12():
        raise tap.Skip("the baseline was made on Debian 12")
    with tempfile.TemporaryDirectory() as directory:
        now = describe(pathlib.Path(directory))
        done = subprocess.run(["abidiff", str(BASELINE), str(now)], text=True, capture_output=True,
                              check=False)
    assert done.returncode == 0, (
        done.stdout + done.stderr +
        "When this change is wanted: raise the soname if it breaks programs, then run\n"
        "tests/abi/baseline_test.py include --update and commit the result.")


def case_constants():
    if shutil.which("gcc") is None:
        raise tap.Skip("no gcc")
    before = set(CONSTANTS.read_text(encoding="utf-8").splitlines())
    tap.expect_equal("constants (numbers are never reused; after a wanted addition run --update)",
                     ("the baseline", before), ("the headers", set(constants().splitlines())))


def update():
    with tempfile.TemporaryDirectory() as directory:
        shutil.copyfile(describe(pathlib.Path(directory)), BASELINE)
    CONSTANTS.write_text(constants(), encoding="utf-8")


if sys.argv[2:] == ["--update"]:
    update()
else:
    cases = tap.Cases()
    cases.run("functions and structs are those of the baseline", case_baseline)
    cases.run("constants are those of the baseline", case_constants)
    cases.finish()
