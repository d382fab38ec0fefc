"""The quickstart's job: a consumer is killed in the middle, and nothing is lost.  And the script's
answers to wrong inputs."""

import os
import re
import subprocess
import tempfile
import threading
import unittest

from harness import CLI, DEADLINE_S, Server, main, until

JOB = os.environ["PULSE_TEST_JOB"]
SCRIPT = os.environ["PULSE_TEST_QUICKSTART"]


def write_lines(count):
    file = tempfile.NamedTemporaryFile("w", prefix="pulse-cli-", suffix=".log")
    for i in range(count):
        file.write("2026-01-01 00:00:%02d status installed package%d:amd64 1.%d\n"
                   % (i % 60, i % 500, i))
    file.flush()
    return file


class Job(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.stop)

    def run_job(self, path, code=0, **keywords):
        done = subprocess.run([JOB, "--url", self.server.url, path], capture_output=True, text=True,
                              timeout=5 * DEADLINE_S, **keywords)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def number(self, output, row):
        match = re.search(r"^  %s +([\d,]+) " % re.escape(row), output, re.M)
        self.assertTrue(match, "no row '%s' in:\n%s" % (row, output))
        return int(match.group(1).replace(",", ""))

    def test_nothing_is_lost_though_a_consumer_is_killed(self):
        with write_lines(3000) as file:
            output = self.run_job(file.name)
        self.assertEqual(self.number(output, "published"), 50000)
        self.assertEqual(self.number(output, "lost"), 0)
        self.assertEqual(self.number(output, "reader missed"), 0)
        self.assertRegex(output, r"killed consumer 2 \(pid \d+\) with SIGKILL; it held [1-9]")
        self.assertGreater(self.number(output, "redelivered"), 0)
        twice = self.number(output, "handled twice")
        self.assertGreater(twice, 0)
        handled = sum(self.number(output, "handled by consumer %d" % i) for i in (1, 2, 3))
        self.assertEqual(handled, 50000 + twice)
        self.assertGreater(self.number(output, "handled by consumer 1"), 0)
        self.assertGreater(self.number(output, "handled by consumer 3"), 0)
        self.assertRegex(output, r"publish to handling +p50 [\d.]+ ms, p99 [\d.]+ ms")
        # So does the map that they count in.
        self.assertEqual(self.number(output, "handled in all"), handled)
        self.assertEqual(self.number(output, "miscounted"), 0)
        flat = self.server.command("HGETALL", "map:quickstart-progress:content")
        fields = dict(zip(flat[::2], flat[1::2]))
        self.assertEqual(int(fields["total"]), handled)
        self.assertEqual(fields["consumer 1"],
                         str(self.number(output, "handled by consumer 1")))
        # What is in the server agrees.
        key = self.server.key("quickstart")
        self.assertEqual(self.server.command("XLEN", key), 50000)
        self.assertEqual(self.server.pending("quickstart", "workers"), 0)
        entry = self.server.command("XRANGE", key, "-", "+", "COUNT", 1)[0][1]
        self.assertEqual(entry, ["n", "status", "p", "2026-01-01 00:00:00 status installed "
                                 "package0:amd64 1.0", "t", "package0:amd64"])

    def test_a_counter_that_is_wrong_is_an_error(self):
        def spoil():
            until(lambda: self.server.command("HGET", "map:quickstart-progress:content", "total"),
                  "the first count")
            subprocess.run([CLI, "--url", self.server.url, "map", "quickstart-progress", "incr",
                            "total"], check=True, stdout=subprocess.PIPE)

        spoiler = threading.Thread(target=spoil)
        spoiler.start()
        with write_lines(1) as file:
            output = self.run_job(file.name, code=1)
        spoiler.join()
        self.assertEqual(self.number(output, "lost"), 0)
        self.assertEqual(self.number(output, "miscounted"), 1)

    def test_longer_files_are_not_repeated_and_standard_input_works(self):
        with write_lines(50001) as file, open(file.name) as stdin:
            output = self.run_job("-", stdin=stdin)
        self.assertEqual(self.number(output, "published"), 50001)
        self.assertEqual(self.number(output, "lost"), 0)

    def test_long_lines_are_repeated_less_often(self):
        # As often as others they would take 150 GB.
        with tempfile.NamedTemporaryFile("w", prefix="pulse-cli-", suffix=".log") as file:
            file.write(("update " + "x" * 3000000 + "\n") * 2)
            file.flush()
            output = self.run_job(file.name)
        published = self.number(output, "published")
        self.assertGreater(published, 80)
        self.assertLess(published, 100)
        self.assertEqual(self.number(output, "lost"), 0)
        self.assertEqual(self.number(output, "reader missed"), 0)

    def test_a_stream_that_is_in_use_is_left_alone(self):
        self.server.command("XADD", self.server.key("quickstart"), "*", "n", "n", "p", "p")
        with write_lines(1) as file:
            self.assertIn("has events already", self.run_job(file.name, code=1))
        self.assertEqual(self.server.command("XLEN", self.server.key("quickstart")), 1)

    def test_a_dead_server_is_an_error(self):
        self.server.process.kill()
        self.server.process.wait()
        with write_lines(1) as file:
            self.assertIn("cannot reach the server", self.run_job(file.name, code=1))


class WrongInputs(unittest.TestCase):
    """Neither the script nor the job does anything for these but say so."""

    def check(self, command, code, text):
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              timeout=DEADLINE_S)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertIn(text, done.stderr)

    def test_the_script(self):
        with tempfile.NamedTemporaryFile() as empty, tempfile.TemporaryDirectory() as directory:
            endless = os.path.join(directory, "endless")
            os.symlink("endless", endless)
            for arguments, code, text in (
                    (["/does/not/exist"], 1, "there is no file /does/not/exist"),
                    ([empty.name + "/x"], 1, "/x cannot be read: Not a directory"),
                    ([endless], 1, "cannot be read: Too many levels of symbolic links"),
                    (["/"], 1, "/ is a directory"), ([empty.name], 1, "is empty"),
                    (["--frob"], 2, "unknown option '--frob'"), (["a", "b"], 2, "only one FILE"),
                    ([""], 2, "name of the file is empty")):
                self.check([SCRIPT, *arguments], code, text)

    def test_the_job(self):
        with tempfile.NamedTemporaryFile() as empty:
            for arguments, code, text in (
                    (["/does/not/exist"], 1, "/does/not/exist"), (["/"], 1, "/ is a directory"),
                    ([empty.name], 1, "is empty"), (["-"], 1, "standard input is empty"),
                    (["--frob"], 2, "--frob"), ([], 2, "usage:")):
                self.check([JOB, *arguments], code, text)


if __name__ == "__main__":
    main()
