"""The programs of examples/c run, end by themselves, and say what they are to say."""

import os
import subprocess
import unittest

from harness import DEADLINE_S, Server, main

DIRECTORY = os.environ["PULSE_TEST_EXAMPLES"]


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def check(self, name, pattern):
        # Twice: no example needs an empty server.
        for _ in range(2):
            done = subprocess.run([os.path.join(DIRECTORY, "example-" + name), self.server.url],
                                  capture_output=True, text=True, timeout=DEADLINE_S)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertRegex(done.stdout, pattern)

    def test_publish(self):
        self.check("publish", r"^added \d+-\d+\nadded 1000 more, 0 failed\n"
                              r"the stream holds about the newest 1000: yes\n$")

    def test_read(self):
        self.check("read", "^receiving\n" + "".join(
            r"\d+-\d+ counted: number %d" % i + "\n" for i in range(10)) + "$")

    def test_sink_worker(self):
        self.check("sink_worker", "^handled 30, given back 10, came again 10\n$")

    def test_manual_tick(self):
        self.check("manual_tick", "^60 shots fired, 60 seen\n$")

    def test_many_streams_one_queue(self):
        self.check("many_streams_one_queue",
                   r"^1000 events of 50 streams, each stream in order: yes, [1-9]\d? connections\n$")

    def test_uv_loop(self):
        self.check("uv_loop", "^50 ticks, 50 seen; the loop has ended\n$")

    def test_feature_flags(self):
        self.check("feature_flags", "^new-checkout: none -> off\nnew-checkout: off -> on\n"
                                    "the old checkout served 100000 or more requests, "
                                    "then the new one took over\n$")

    def test_shared_counter(self):
        self.check("shared_counter",
                   "^allowed 100, refused 20\nrefused 120 more without asking\n$")

    def test_event_sourcing(self):
        self.check("event_sourcing", "^replayed: 504 events; 95 105 108 92; sum 400\n"
                                     "followed: 505 events; 45 155 108 92; sum 400\n"
                                     "another : 505 events; 45 155 108 92; sum 400\n$")

    def test_checksums(self):
        sums = {}
        for path in ("/etc/passwd", "/etc/os-release"):
            done = subprocess.run(["cksum", path], capture_output=True, text=True, check=True)
            sums[path] = done.stdout.split()[0]
        self.check("checksums", "^/etc/nonexistent: cannot be read\n" + "".join(
            "%s %s\n" % (value, path) for path, value in sums.items()) + "$")

    def test_a_server_that_cannot_be_is_an_error(self):
        done = subprocess.run([os.path.join(DIRECTORY, "example-read"), "nonsense:"],
                              capture_output=True, text=True, timeout=DEADLINE_S)
        self.assertEqual(done.returncode, 1)
        self.assertIn("open: ", done.stderr)


if __name__ == "__main__":
    main()
