"""What the build makes of Lua scripts and of what they include.

usage: embed_lua_test.py EMBED_LUA
"""
import hashlib
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "abi"))
from tap import Cases  # noqa: E402


def embed(scripts, includes):
    """(exit status, {script: (text, sha1)}, error output)"""
    with tempfile.TemporaryDirectory() as directory:
        def write(files, folder):
            for name, text in files.items():
                path = pathlib.Path(directory) / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
                yield path

        output = pathlib.Path(directory) / "out.h"
        words = [sys.executable, "-B", sys.argv[1], output, *write(scripts, "scripts"),
                 "--include", *write(includes, "include")]
        done = subprocess.run(words, text=True, capture_output=True, check=False)
        header = output.read_text() if output.exists() else ""
    found = re.findall(r'Script (\w+)\{"\1", R"lua\((.*?)\)lua", "(\w+)"\};', header, re.S)
    return done.returncode, {name: (text, sha1) for name, text, sha1 in found}, done.stderr


def text_of(script, includes):
    status, scripts, error = embed({"s.lua": script}, includes)
    assert status == 0, error
    text, sha1 = scripts["s"]
    assert sha1 == hashlib.sha1(text.encode()).hexdigest(), "the SHA-1 is that of another text"
    return text


def case_comments_and_indentation_go():
    assert text_of("-- about\n\nif x then\n  -- why\n  y() -- z\nend\n", {}) == "if x then\ny() -- z\nend\n"


def case_a_line_becomes_the_file():
    text = text_of("a()\n  -- include b.lua\nc()\n", {"b.lua": "-- about\n  b()\n", "d.lua": "d()\n"})
    assert text == "a()\nb()\nc()\n", text


def case_each_file_comes_once_in_a_script_and_before_its_users():
    includes = {"ab.lua": "-- include a.lua\n-- include b.lua\nab()\n", "a.lua": "a()\n", "b.lua": "-- include a.lua\nb()\n"}
    text = text_of("-- include ab.lua\n-- include b.lua\n-- include ab.lua\nmain()\n", includes)
    assert text == "a()\nb()\nab()\nmain()\n", text
    status, scripts, error = embed({"x.lua": "-- include a.lua\nx()", "y.lua": "-- include a.lua\ny()"}, includes)
    assert status == 0, error
    assert scripts["x"][0] == "a()\nx()\n" and scripts["y"][0] == "a()\ny()\n", scripts


def case_mistakes_are_errors():
    for script, includes, complaint in [
            ("a()\n-- include b.lua\n", {}, "s.lua:2: no file to include is called b.lua"),
            ("-- include b\n", {"b.lua": ""}, "no file to include is called b"),
            ("-- include\n", {"b.lua": ""}, "no file to include"),
            ("-- include s.lua\n", {}, "no file to include is called s.lua"),
            ("-- include a.lua\n", {"a.lua": "-- include a.lua\n"}, "a.lua:1: a.lua includes itself"),
            ("-- include a.lua\n", {"a.lua": "-- include b.lua\n", "b.lua": "x()\n-- include a.lua\n"},
             "b.lua:2: a.lua includes itself")]:
        status, scripts, error = embed({"s.lua": script}, includes)
        assert status != 0 and not scripts and complaint in error, f"{script}: {status} {error}"


cases = Cases()
cases.run("comments and indentation go", case_comments_and_indentation_go)
cases.run("a line becomes the file that it names", case_a_line_becomes_the_file)
cases.run("each file comes once in a script, before those that need it",
          case_each_file_comes_once_in_a_script_and_before_its_users)
cases.run("mistakes are errors", case_mistakes_are_errors)
cases.finish()
