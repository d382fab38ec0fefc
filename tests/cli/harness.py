"""Real redis-server processes, and the tool under test, for the tests of this folder.

Nothing here sleeps for a fixed time to let something happen: `until` waits for a condition, with
a deadline that only a defect meets.
"""

import json
import os
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

DEADLINE_S = 60

CLI = os.environ.get("PULSE_TEST_CLI", "pulseengine")
REDIS = (os.environ.get("PULSE_TEST_SERVER") or shutil.which("redis-server") or
         "valkey-server")


def until(condition, what):
    """The first true value of condition(); an AssertionError after the deadline."""
    end = time.monotonic() + DEADLINE_S
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("not within %d s: %s" % (DEADLINE_S, what))
        time.sleep(0.01)


class Server:
    """A redis-server on a unix socket in a directory of its own."""

    def __init__(self, *options):
        self.directory = tempfile.mkdtemp(prefix="pulse-cli-")
        self.socket = os.path.join(self.directory, "redis.sock")
        self.url = "unix://" + self.socket
        self.options = options
        self.start()

    def start(self):
        """Also again after its process has ended."""
        self.process = subprocess.Popen(
            [REDIS, "--port", "0", "--unixsocket", self.socket, "--dir", self.directory,
             "--save", "", "--appendonly", "no", *self.options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers, "redis-server answers")

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError("redis-server ended with %d" % self.process.returncode)
        try:
            return self.command("PING") == "PONG"
        except OSError:
            return False
        except RuntimeError as error:
            if str(error).startswith("LOADING"):
                return False
            raise

    def command(self, *words):
        """One command over a connection of its own; error replies raise."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE_S)
            connection.connect(self.socket)
            out = [b"*%d\r\n" % len(words)]
            for word in words:
                word = word if isinstance(word, bytes) else str(word).encode()
                out.append(b"$%d\r\n%s\r\n" % (len(word), word))
            connection.sendall(b"".join(out))
            with connection.makefile("rb") as replies:
                return self._reply(replies)

    def _reply(self, replies):
        line = replies.readline()
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"-":
            raise RuntimeError(rest)
        if kind == b"$":
            if int(rest) < 0:
                return None
            data = replies.read(int(rest) + 2)[:-2]
            try:
                return data.decode()
            except UnicodeDecodeError:
                return data
        if kind == b"*":
            return None if int(rest) < 0 else [self._reply(replies) for _ in range(int(rest))]
        raise AssertionError("no reply: %r" % line)

    def version(self):
        """(7, 0, 15); Valkey's is that of the Redis that it says to be like."""
        for line in self.command("INFO", "server").splitlines():
            name, _, value = line.partition(":")
            if name == "redis_version":
                return tuple(int(number) for number in value.split("."))
        raise AssertionError("INFO has no redis_version")

    def key(self, stream):
        return "pulse:stream:" + stream

    def pending(self, stream, group):
        """How many events of the group are handed out and not acked."""
        try:
            return self.command("XPENDING", self.key(stream), group)[0]
        except RuntimeError as error:
            if "NOGROUP" in str(error):
                return 0
            raise

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class Result:
    def __init__(self, code, out, err):
        self.code = code
        self.out = out
        self.err = err
        self.lines = [json.loads(line) for line in out.splitlines()]


class Running:
    """The tool as a process that runs beside the test."""

    def __init__(self, arguments, environment):
        self.process = subprocess.Popen(
            [CLI, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=environment)
        self.seen = []
        self._lines = queue.Queue()
        self._err = []
        threading.Thread(target=self._read, daemon=True).start()
        self._err_thread = threading.Thread(target=self._read_err, daemon=True)
        self._err_thread.start()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def _read_err(self):
        self._err.append(self.process.stderr.read().decode())

    def line(self):
        """The next line; None at the end of the output."""
        try:
            line = self._lines.get(timeout=DEADLINE_S)
        except queue.Empty:
            raise AssertionError("no line within %d s; so far %r" % (DEADLINE_S, self.seen))
        if line is not None:
            self.seen.append(line)
        return line

    def line_where(self, condition, what):
        """Takes lines up to the one that is wanted."""
        while True:
            line = self.line()
            if line is None:
                raise AssertionError("ended before %s: %r %s" % (what, self.seen, self.err()))
            if condition(line):
                return line

    def notice(self, name):
        return self.line_where(lambda line: line.get("notice") == name, "the notice " + name)

    def event(self):
        return self.line_where(lambda line: "notice" not in line, "an event")

    def rest(self):
        """All lines up to the end of the output."""
        lines = []
        while True:
            line = self.line()
            if line is None:
                return lines
            lines.append(line)

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        return self.process.wait(timeout=DEADLINE_S)

    def err(self):
        self._err_thread.join(timeout=DEADLINE_S)
        return "".join(self._err)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                pipe.close()
            except OSError:
                pass


class ToolTest(unittest.TestCase):
    """A test with a server of its class and the tool."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def setUp(self):
        # A stream of its own for each test.
        self.stream = self._testMethodName
        self.environment = dict(os.environ, PULSE_URL=self.server.url)

    def run_tool(self, *arguments, data=b"", code=0):
        done = subprocess.run([CLI, *arguments], input=data, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=self.environment, timeout=DEADLINE_S)
        err = done.stderr.decode()
        self.assertEqual(done.returncode, code, "%r: %s" % (arguments, err))
        return Result(done.returncode, done.stdout.decode(), err)

    def start_piped(self, *arguments):
        """The tool with its output in a pipe that the test reads, and closes, by itself."""
        ours, theirs = os.pipe()
        process = subprocess.Popen([CLI, *arguments], stdin=subprocess.PIPE, stdout=theirs,
                                   stderr=subprocess.DEVNULL, env=self.environment)
        os.close(theirs)
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stdin.close()))
        return process, os.fdopen(ours, "rb")

    def start_tool(self, *arguments):
        running = Running(arguments, self.environment)
        self.addCleanup(running.stop)
        return running

    def add(self, *arguments, **keywords):
        """Publishes to the test's stream: the id."""
        return self.run_tool("add", self.stream, *arguments, **keywords).lines[0]["id"]

    def add_numbers(self, count):
        """Publishes the numbers from 0 on as payloads: their ids."""
        data = "".join("%d\n" % i for i in range(count)).encode()
        lines = self.run_tool("add", self.stream, "number", "--lines", "--max-len", "-1",
                              data=data).lines
        self.assertEqual(len(lines), count)
        return [line["id"] for line in lines]


def events(lines):
    return [line for line in lines if "notice" not in line]


def payloads(lines):
    return [line["payload"] for line in events(lines)]


def main():
    # One line per test, so that a failure in the runner's log has a name.
    unittest.main(verbosity=2)

