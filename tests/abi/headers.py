"""What the public headers declare."""

import pathlib
import re

# Headers that are compiled into the host and include those of another package: its pkg-config name.
ADAPTERS = {"uv.h": "libuv"}


def text_of(path):
    """A header without comments, preprocessor lines and string bodies."""
    text = pathlib.Path(path).read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"//[^\n]*", " ", text)
    text = re.sub(r"\\\n", " ", text)
    return re.sub(r"^[ \t]*#.*$", " ", text, flags=re.M)


def headers_in(directory):
    return sorted(pathlib.Path(directory).glob("*.h")) + sorted(pathlib.Path(directory).glob("*.hpp"))


def of_the_library(directory):
    """Those whose types and constants are part of the binary interface."""
    return [path for path in sorted(pathlib.Path(directory).glob("*.h")) if path.name not in ADAPTERS]


def declarations(path):
    """The top-level declarations of a C header, each on one line, without bodies in braces."""
    # The body of a function ends its declaration; that of a struct does not.
    text = text_of(path)
    text = re.sub(r"\bPULSE_(BEGIN|END)_DECLS\b", ";", text)
    while re.search(r"\{[^{}]*\}", text):
        text = re.sub(r"(\)|\bPULSE_NOEXCEPT)\s*\{[^{}]*\}", r"\1;", text)
        text = re.sub(r"\{[^{}]*\}", " ", text)
    return [" ".join(part.split()) for part in text.split(";") if part.strip()]


def function_name(declaration):
    """The name of the function that it declares, or None for types, constants, pointers, and static
    functions, which are no part of the library."""
    if re.match(r"(typedef|static)\b", declaration) or "(" not in declaration:
        return None
    found = re.match(r"[^()]*?(\w+)\s*\((?!\s*\*)", declaration)
    return found.group(1) if found else None


def declared_functions(directory):
    """Name -> header, for all C headers in the directory."""
    result = {}
    for header in sorted(pathlib.Path(directory).glob("*.h")):
        for declaration in declarations(header):
            name = function_name(declaration)
            if name:
                result[name] = header.name
    return result
