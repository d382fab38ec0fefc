"""A program built against the installed tree with nothing but what pkg-config and CMake say.

usage: install_test.py BUILD_DIRECTORY SOURCE_DIRECTORY VERSION"""

import os
import pathlib
import re
import shutil
import sys
import tempfile

import tap

build, source, version = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
program = pathlib.Path(__file__).resolve().parent / "program.c"
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
COMPILER = os.environ.get("CC", "cc").split()


def find_one(directory, pattern):
    found = sorted(directory.rglob(pattern))
    assert len(found) == 1, f"{pattern}: found {[str(path) for path in found]}"
    return found[0]


class Tree:
    """An installed tree: below a DESTDIR, with the prefix in pulseengine.pc moved there, as if it
    had been configured with that prefix."""

    def __init__(self, directory):
        self.directory = directory
        tap.run("meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", directory)
        self.pc = find_one(directory, "pulseengine.pc")
        text = self.pc.read_text(encoding="utf-8")
        prefix = re.search(r"^prefix=(/.*)$", text, re.M)
        assert prefix, "pulseengine.pc has no prefix"
        self.original_pc = text
        self.prefix = pathlib.Path(str(directory) + prefix.group(1))
        self.pc.write_text(text.replace(prefix.group(0), f"prefix={self.prefix}"), encoding="utf-8")
        self.library_directory = self.pc.parent.parent

    def pkg_config(self, *words):
        environment = dict(os.environ, PKG_CONFIG_PATH=str(self.pc.parent))
        return tap.run("pkg-config", *words, "pulseengine", env=environment).split()

    def remove_shared(self):
        for path in self.library_directory.glob("libpulseengine.so*"):
            path.unlink()


def run_program(path, library_directory=None):
    environment = dict(os.environ)
    if library_directory:
        environment["LD_LIBRARY_PATH"] = str(library_directory)
    output = tap.run(path, env=environment)
    assert output == f"pulse {version}\n", output


def needed(path):
    return re.findall(r"NEEDED.*\[(.*?)\]", tap.run("readelf", "-dW", path))


def case_shared(tree, work):
    flags = tree.pkg_config("--cflags", "--libs")
    foreign = [flag for flag in flags if flag.startswith("-l") and flag != "-lpulseengine"]
    assert not foreign, f"users of the shared library must not link {foreign}"
    out = work / "shared"
    tap.run(*COMPILER, *WARNINGS, program, "-o", out, *flags)
    mine = [name for name in needed(out) if "pulseengine" in name]
    assert len(mine) == 1, needed(out)
    assert not any("stdc++" in name for name in needed(out)), needed(out)
    run_program(out, tree.library_directory)


def case_static(tree, work):
    assert list(tree.library_directory.glob("libpulseengine.a")), "no libpulseengine.a is installed"
    tree.remove_shared()
    flags = tree.pkg_config("--static", "--cflags", "--libs")
    out = work / "static"
    tap.run(*COMPILER, *WARNINGS, program, "-o", out, *flags)
    assert not any("pulseengine" in name for name in needed(out)), needed(out)
    run_program(out)


def case_pkg_config_version(tree):
    assert tree.pkg_config("--modversion") == [version], tree.pkg_config("--modversion")
    header = (source / "include/pulseengine/library.h").read_text(encoding="utf-8")
    assert f'PULSE_VERSION_STRING "{version}"' in header, "library.h says another version"


def case_nothing_points_into_the_build(tree):
    texts = [tree.original_pc] + [path.read_text(encoding="utf-8")
                                  for path in tree.directory.rglob("*.cmake")]
    for text in texts:
        for place in (build.resolve(), source.resolve()):
            assert f"{place}/" not in text and f"{place}\n" not in text, f"{place} is in:\n{text}"


def case_all_headers_are_installed(tree):
    def names(directory):
        return {path.name for path in directory.glob("*.h*")}

    tap.expect_equal("headers", ("the sources", names(source / "include/pulseengine")),
                     ("the installed tree", names(tree.prefix / "include/pulseengine")))


def cmake_configure(tree, work, asked):
    directory = work / f"cmake-{asked.replace(' ', '-')}"
    directory.mkdir()
    (directory / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(user C)\n"
        f"find_package(pulseengine {asked} REQUIRED CONFIG)\n"
        f"add_executable(user {program})\n"
        "target_link_libraries(user PRIVATE pulseengine::pulseengine)\n", encoding="utf-8")
    tap.run("cmake", "-G", "Ninja", "-S", directory, "-B", directory / "build",
            f"-DCMAKE_PREFIX_PATH={tree.prefix}", f"-DCMAKE_C_COMPILER={shutil.which(COMPILER[0])}")
    return directory / "build"


def case_cmake(tree, work):
    if shutil.which("cmake") is None:
        raise tap.Skip("no cmake")
    major_minor = ".".join(version.split(".")[:2])
    out = cmake_configure(tree, work, major_minor)
    tap.run("cmake", "--build", out)
    run_program(out / "user", tree.library_directory)


def case_cmake_versions(tree, work):
    if shutil.which("cmake") is None:
        raise tap.Skip("no cmake")
    for asked in ("", f"{version} EXACT"):
        cmake_configure(tree, work, asked)
    major, minor, patch = (int(part) for part in version.split("."))
    for asked in ("99.0", f"{major}.{minor + 1}", f"{major}.{minor}.{patch + 1}"):
        try:
            cmake_configure(tree, work, asked)
        except tap.subprocess.CalledProcessError as failure:
            assert "not accepted" in failure.stderr and version in failure.stderr, failure.stderr
        else:
            raise AssertionError(f"find_package(pulseengine {asked}) found it")


def case_configured_without_cmake(work):
    none = work / "no-cmake.ini"
    none.write_text("[binaries]\ncmake = '/does/not/exist'\n", encoding="utf-8")
    tap.run("meson", "setup", work / "no-cmake", source, "--native-file", none, "-Dtests=disabled")


cases = tap.Cases()
with tempfile.TemporaryDirectory() as directory:
    work = pathlib.Path(directory)
    trees = []
    cases.run("it installs into a directory", lambda: trees.append(Tree(work / "tree")))
    if trees:
        tree = trees[0]
        cases.run("all headers are installed", lambda: case_all_headers_are_installed(tree))
        cases.run("nothing points into the build", lambda: case_nothing_points_into_the_build(tree))
        cases.run("versions agree", lambda: case_pkg_config_version(tree))
        cases.run("shared with pkg-config", lambda: case_shared(tree, work))
        cases.run("cmake find_package", lambda: case_cmake(tree, work))
        cases.run("cmake refuses other versions", lambda: case_cmake_versions(tree, work))
        cases.run("static with pkg-config", lambda: case_static(tree, work))
    cases.run("configured without CMake", lambda: case_configured_without_cmake(work))
cases.finish()
