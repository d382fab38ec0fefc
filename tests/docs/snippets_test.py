"""Every C program in the documents compiles without a warning and does what it says.

usage: snippets_test.py SOURCE_ROOT LIBRARY
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "abi"))
from tap import Cases  # noqa: E402

root, library = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])


def programs():
    for document in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        blocks = re.findall(r"^```c\n(.*?)^```", document.read_text(encoding="utf-8"), re.M | re.S)
        for number, text in enumerate(blocks, 1):
            yield f"{document.name} {number}", text


def compile_program(text, work):
    source = work / "program.c"
    source.write_text(text, encoding="utf-8")
    subprocess.run(
        ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{root}/include", str(source), "-o",
         str(work / "program"), str(library), f"-Wl,-rpath,{library.parent}",
         *os.environ.get("PULSE_SNIPPET_FLAGS", "").split()],
        check=True, capture_output=True, text=True)


def run_readme(work):
    server = os.environ.get("PULSE_TEST_SERVER") or shutil.which("redis-server") or shutil.which("valkey-server")
    socket = work / "socket"
    process = subprocess.Popen(
        [server, "--port", "0", "--unixsocket", str(socket), "--dir", str(work), "--save", ""],
        stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not socket.exists():
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.01)
        done = subprocess.run([str(work / "program"), f"unix://{socket}"], check=True, timeout=60,
                              capture_output=True, text=True)
        assert done.stdout == "hello, world\n", done.stdout
    finally:
        process.terminate()
        process.wait()


cases = Cases()
for name, text in programs():
    with tempfile.TemporaryDirectory(prefix="pulse-docs-") as directory:
        work = pathlib.Path(directory)
        cases.run(f"{name} compiles", lambda: compile_program(text, work))
        if name.startswith("README.md") and (work / "program").exists():
            cases.run(f"{name} says hello", lambda: run_readme(work))
cases.finish()
