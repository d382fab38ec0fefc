"""Each public header compiles alone, in every supported language version, without a warning.

usage: headers_test.py INCLUDE_DIRECTORY"""

import pathlib
import shutil
import subprocess
import sys

import headers
import tap

include = pathlib.Path(sys.argv[1])
cases = tap.Cases()
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
LANGUAGES = [("c", "c11"), ("c", "c17"), ("c++", "c++11"), ("c++", "c++17"), ("c++", "c++20")]
COMPILERS = {"gcc": {"c": "gcc", "c++": "g++"}, "clang": {"c": "clang", "c++": "clang++"}}


def compile_text(compiler, language, standard, text, *flags):
    tap.run(compiler, f"-std={standard}", *WARNINGS, *flags, "-fsyntax-only", "-I", include, "-x", language,
            "-", input=text)


def adapter_flags(header):
    """What a host needs besides, for a header that includes another package's."""
    package = headers.ADAPTERS.get(header.name)
    if package is None:
        return []
    try:
        flags = tap.run("pkg-config", "--cflags", package).split()
    except (OSError, subprocess.CalledProcessError) as failure:
        raise tap.Skip(f"no {package}") from failure
    # libuv's header itself needs it in strict C.
    return [*flags, "-D_POSIX_C_SOURCE=200809L"]


def case(family, language, standard, header):
    compiler = COMPILERS[family][language]
    if shutil.which(compiler) is None:
        raise tap.Skip(f"no {compiler}")
    if header.suffix == ".hpp" and language == "c":
        raise tap.Skip("a C++ header")
    line = f"#include <pulseengine/{header.name}>\n"
    # Twice the same header: its guard must hold.
    compile_text(compiler, language, standard, line + line + "int main(void);\n", *adapter_flags(header))


def case_warnings_are_found():
    """The check itself: a header with a fault must not pass."""
    found = [pair["c"] for pair in COMPILERS.values() if shutil.which(pair["c"])]
    if not found:
        raise tap.Skip("no compiler")
    for compiler in found:
        try:
            compile_text(compiler, "c", "c11", "static int unused(int parameter) { ; }\n")
        except subprocess.CalledProcessError:
            continue
        raise AssertionError(f"{compiler} says nothing to a faulty text")


all_headers = headers.headers_in(include / "pulseengine")
cases.run("headers are found", lambda: tap.expect_equal(
    "umbrella", ("the list", {"pulse.h"} & {header.name for header in all_headers}), ("this test", {"pulse.h"})))
cases.run("warnings are found", case_warnings_are_found)
for family in COMPILERS:
    for language, standard in LANGUAGES:
        for header in all_headers:
            if header.suffix == ".hpp" and language == "c":
                continue
            cases.run(f"{header.name} {standard} {family}",
                      lambda f=family, l=language, s=standard, h=header: case(f, l, s, h))
cases.finish()
