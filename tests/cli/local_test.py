"""The private server of local: URLs, as seen through the tool."""

import json
import os
import subprocess
import tempfile
import unittest

from harness import CLI, DEADLINE_S, Result, main


class Local(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="pulse test ")  # with a space
        self.addCleanup(self.directory.cleanup)
        self.url = "local://" + self.directory.name.replace(" ", "%20")
        self.addCleanup(self.tool, "local", "stop")

    def tool(self, *arguments, code=0):
        done = subprocess.run([CLI, "--url", self.url, *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=DEADLINE_S)
        self.assertEqual(done.returncode, code, done.stderr)
        return Result(done.returncode, done.stdout, done.stderr).lines

    def test_starts_when_needed_and_stops_when_told(self):
        self.assertEqual(self.tool("local", "status")[0]["running"], False)
        self.tool("add", "s", "n", "kept")
        status = self.tool("local", "status")[0]
        self.assertEqual(status["running"], True)
        self.assertEqual(status["directory"], self.directory.name)
        self.assertEqual(self.tool("local", "stop")[0]["stopped"], True)
        self.assertEqual(self.tool("local", "status")[0]["running"], False)
        self.assertEqual(self.tool("local", "stop")[0]["stopped"], False)
        # The data is there again.
        self.assertEqual(self.tool("read", "s")[1]["payload"], "kept")

    def test_it_prints_as_compactly_as_other_verbs(self):
        for command in (["status"], ["ping"], ["status"], ["stop"]):
            arguments = command if command == ["ping"] else ["local", *command]
            done = subprocess.run([CLI, "--url", self.url, *arguments], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=DEADLINE_S, check=True)
            value = json.loads(done.stdout)
            compact = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
            self.assertEqual(done.stdout, compact + "\n")

    def test_a_helper_that_is_missing_is_named(self):
        done = subprocess.run([CLI, "--url", self.url, "local", "status"], capture_output=True,
                              text=True, env=dict(os.environ, PULSE_LOCAL_HELPER="/no/helper"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("/no/helper", done.stderr)

    def test_a_directory_that_cannot_be_used_is_1(self):
        with tempfile.NamedTemporaryFile() as file:
            done = subprocess.run([CLI, "--url", "local://" + file.name, "ping"],
                                  capture_output=True, text=True, timeout=DEADLINE_S)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("is not a directory", done.stderr)


if __name__ == "__main__":
    main()
