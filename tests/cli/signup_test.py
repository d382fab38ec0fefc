"""The signup flow: every user gets a mail though a process that sends them is killed."""

import os
import re
import subprocess
import tempfile
import unittest

from harness import DEADLINE_S, Server, main

SCRIPT = os.environ["PULSE_TEST_SIGNUP"]
BUILD = os.environ["PULSE_TEST_BUILD"]


class Signup(unittest.TestCase):
    def run_flow(self, *arguments, url):
        return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True,
                              timeout=5 * DEADLINE_S, env={**os.environ, "PULSE_URL": url})

    def number(self, output, row):
        match = re.search(r"^ +%s +(\d+)$" % re.escape(row), output, re.M)
        self.assertTrue(match, "no row '%s' in:\n%s" % (row, output))
        return int(match.group(1))

    def test_every_user_gets_a_mail_though_a_mailer_is_killed(self):
        server = Server()
        self.addCleanup(server.stop)
        with tempfile.NamedTemporaryFile("w", prefix="pulse-cli-") as users:
            for i in range(150):
                users.write("User %d\tuser%d@example.org\n" % (i, i))
            users.flush()
            done = self.run_flow(BUILD, users.name, url=server.url)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        output = done.stdout
        self.assertRegex(output, r"killed mailer-2 \(pid \d+\) with SIGKILL")
        self.assertEqual(self.number(output, "users"), 150)
        self.assertEqual(self.number(output, "lost"), 0)
        # What the dead process had begun went on elsewhere.
        moved = self.number(output, "started again elsewhere")
        self.assertGreater(moved, 0)
        self.assertEqual(self.number(output, "jobs started"), 150 + moved)
        self.assertEqual(self.number(output, "sent"), 150 + self.number(output, "sent twice"))
        for mailer in ("mailer-1", "mailer-2", "mailer-3"):
            self.assertRegex(output, r"(?m)^ +by %s/[12] +\d+$" % mailer)
        # The flag was flipped while they ran.
        self.assertGreater(self.number(output, "with the old greeting"), 0)
        self.assertGreater(self.number(output, "with the new greeting"), 0)

    def test_wrong_inputs_are_told(self):
        for arguments, url, message in [
                ((), "local:", "usage: examples/signup/run BUILD-DIRECTORY [USERS-FILE]"),
                (("/nonexistent",), "local:", "/nonexistent holds no build of the examples and tools"),
                ((BUILD,), "", "PULSE_URL names no server"),
                ((BUILD, "/nonexistent"), "local:", "/nonexistent is no file, or empty")]:
            done = self.run_flow(*arguments, url=url)
            self.assertEqual((done.returncode, done.stdout, done.stderr),
                             (1, "", "signup: %s\n" % message))


if __name__ == "__main__":
    main()
