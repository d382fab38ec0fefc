"""The exported symbols are the declared functions, and nothing else.

usage: symbols_test.py LIBRARY HEADERS MAP SOVERSION"""

import fnmatch
import pathlib
import re
import sys

import headers
import tap

library, header_directory, map_path, soversion = sys.argv[1:]
here = pathlib.Path(__file__).resolve().parent
cases = tap.Cases()


def exported():
    """Name -> type letter, without the versions' own symbols."""
    result = {}
    for line in tap.run("nm", "-D", "--defined-only", "--format=posix", library).splitlines():
        name, letter = line.split()[:2]
        name, _, version = name.partition("@")
        if letter == "A":  # the name of a version itself
            continue
        result[name] = (letter, version.lstrip("@"))
    return result


def map_names():
    text = pathlib.Path(map_path).read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/|#[^\n]*", " ", text, flags=re.S)
    names = set()
    for body in re.findall(r"\{(.*?)\}", text, flags=re.S):
        assert re.search(r"local\s*:\s*\*\s*;", body) or "local" not in body, body
        for name in body.split("local", 1)[0].replace("global:", " ").split(";"):
            if name.strip():
                names.add(name.strip())
    assert re.search(r"local\s*:\s*\*\s*;", text), "the map has no `local: *;`"
    return names


def dynamic_section():
    return tap.run("readelf", "-dW", library)


def case_exports_are_the_map():
    tap.expect_equal("exports and map", ("the library", set(exported())), ("the map", map_names()))


def case_exports_are_the_headers():
    declared = set(headers.declared_functions(header_directory))
    assert len(declared) > 20, f"only {len(declared)} functions found in the headers"
    tap.expect_equal("exports and headers", ("the library", set(exported())), ("the headers", declared))


def case_map_names_each_function():
    for name in map_names():
        assert re.fullmatch(r"[A-Za-z_]\w*", name), f"{name}: the map must not use patterns"


def case_no_cxx_symbol():
    bad = [name for name in exported() if name.startswith("_Z")]
    assert not bad, "\n".join(bad)


def case_only_functions():
    bad = [f"{name} ({letter})" for name, (letter, _) in exported().items() if letter != "T"]
    assert not bad, "not plain functions: " + ", ".join(bad)


def case_every_symbol_has_a_version():
    bad = [name for name, (_, version) in exported().items()
           if not re.fullmatch(r"PULSEENGINE_\d+(\.\d+)*", version)]
    assert not bad, ", ".join(bad)


def case_no_forbidden_name():
    lines = (here / "forbidden_names.txt").read_text(encoding="utf-8").splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    bad = [name for name in exported()
           if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    assert not bad, ", ".join(bad)


def case_names_follow_the_rule():
    bad = [name for name in exported() if not re.fullmatch(r"pulse(_[a-z0-9]+){2,}", name)]
    assert not bad, "not pulse_<noun>_<verb>: " + ", ".join(bad)


def case_all_declarations_are_exported_and_noexcept():
    bad = []
    for header in headers.headers_in(header_directory):
        if header.suffix != ".h":
            continue
        for declaration in headers.declarations(header):
            name = headers.function_name(declaration)
            if name and not re.fullmatch(r"PULSE_API\b.*\bPULSE_NOEXCEPT", declaration):
                bad.append(f"{header.name}: {declaration}")
    assert not bad, "\n".join(bad)


def case_soname():
    expected = f"libpulseengine.so.{soversion}"
    assert f"[{expected}]" in dynamic_section(), f"the soname is not {expected}:\n{dynamic_section()}"


def case_stays_loaded():
    assert "NODELETE" in dynamic_section(), "not linked with -z nodelete"


def case_no_executable_stack_or_text_relocations():
    assert "TEXTREL" not in dynamic_section()
    for line in tap.run("readelf", "-lW", library).splitlines():
        if "GNU_STACK" in line:
            assert "RWE" not in line, line


for name, function in list(globals().items()):
    if name.startswith("case_"):
        cases.run(name[5:].replace("_", " "), function)
cases.finish()
