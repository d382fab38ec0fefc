"""Cases of a test, reported in the Test Anything Protocol."""

import subprocess
import sys


class Skip(Exception):
    """Raised by a case that cannot run here; the text says why."""


class Cases:
    def __init__(self):
        self.count = 0
        self.failed = 0

    def run(self, name, function):
        """Runs one case; it fails by raising AssertionError or CalledProcessError."""
        self.count += 1
        try:
            function()
        except Skip as reason:
            print(f"ok {self.count} {name} # SKIP {reason}", flush=True)
            return
        except (AssertionError, OSError) as failure:
            self._fail(name, str(failure) or repr(failure))
            return
        except subprocess.CalledProcessError as failure:
            text = " ".join(map(str, failure.cmd)) + f": exit status {failure.returncode}\n"
            self._fail(name, text + (failure.stdout or "") + (failure.stderr or ""))
            return
        print(f"ok {self.count} {name}", flush=True)

    def _fail(self, name, text):
        self.failed += 1
        print(f"not ok {self.count} {name}")
        for line in text.splitlines()[:60]:
            print(f"# {line}")
        sys.stdout.flush()

    def finish(self):
        print(f"1..{self.count}")
        sys.exit(1 if self.failed else 0)


def run(*words, **options):
    """The standard output of a command that must succeed."""
    words = [str(word) for word in words]
    done = subprocess.run(words, text=True, capture_output=True, check=True, **options)
    return done.stdout


def expect_equal(what, left, right):
    """Two sets that must be equal; the text says what each lacks."""
    left_name, left_set = left
    right_name, right_set = right
    lines = [f"{item}: in {left_name}, not in {right_name}" for item in sorted(left_set - right_set)]
    lines += [f"{item}: in {right_name}, not in {left_name}" for item in sorted(right_set - left_set)]
    assert not lines, what + ":\n" + "\n".join(lines)
