"""tools/bench' program: what it writes, and how it ends.  No figure is judged here."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree

from harness import DEADLINE_S, main

BENCH = os.environ["PULSE_TEST_BENCH"]
# As little as there can be.
SHORT = ["--quick", "--groups", "1", "--slice", "0.02"]


def run(*arguments, environment=None):
    return subprocess.run([BENCH, *arguments], capture_output=True, text=True,
                          timeout=5 * DEADLINE_S, env=environment)


class Bench(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="pulse-cli-")
        self.addCleanup(shutil.rmtree, self.directory)
        self.json = os.path.join(self.directory, "results.json")

    def measure(self, *arguments):
        """What the JSON says of a run that succeeds."""
        done = run(*arguments, *SHORT, "--json", self.json)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        with open(self.json, encoding="utf-8") as file:
            return json.load(file), done.stdout

    def test_the_json_has_all_that_it_promises(self):
        written, printed = self.measure("add", "5")
        self.assertEqual(written["machine"]["cpus"], os.cpu_count())
        self.assertEqual([result["row"] for result in written["results"]], ["1", "5a", "5b", "5c"])
        for result in written["results"]:
            self.assertEqual(result["transport"], "unix")
            self.assertEqual(result["unit"], "events/s")
            self.assertIs(result["checked"], True)
            for name in "ours", "reference", "client_cpu_us", "server_cpu_us":
                self.assertGreater(result[name], 0, name)
            ratio = result["ratio"]
            self.assertEqual(sorted(ratio), ["max", "median", "min", "q1", "q3"])
            self.assertLessEqual(ratio["min"], ratio["q1"])
            self.assertLessEqual(ratio["q1"], ratio["median"])
            self.assertLessEqual(ratio["median"], ratio["q3"])
            self.assertLessEqual(ratio["q3"], ratio["max"])
            # One group: its ratio is that of the two figures.
            self.assertAlmostEqual(ratio["median"], result["ours"] / result["reference"], places=6)
            if result["at_least"] is None:
                self.assertIsNone(result["met"])
            else:
                self.assertIs(result["met"], ratio["median"] >= result["at_least"])
            self.assertIn(result["name"], printed)
        self.assertEqual(written["results"][0]["at_least"], 0.95)
        self.assertEqual(written["results"][0]["aim"], 1.05)

    def test_tables_and_charts_go_between_the_markers(self):
        page = os.path.join(self.directory, "performance.md")
        with open(page, "w", encoding="utf-8") as file:
            file.write("before\n<!-- tools/bench writes from here -->\nold\n<!-- to here -->\nafter\n")
        self.measure("add", "--write-docs", self.directory)
        with open(page, encoding="utf-8") as file:
            text = file.read()
        self.assertTrue(text.startswith("before\n") and text.endswith("after\n"), text)
        self.assertNotIn("old", text)
        self.assertIn("| 1 | add, 1 connection", text)
        self.assertIn("(performance/add.svg)", text)
        chart = xml.etree.ElementTree.parse(os.path.join(self.directory, "performance", "add.svg"))
        texts = [text.text for text in chart.iter("{http://www.w3.org/2000/svg}text")]
        self.assertIn("1 unix", texts)

    def test_scale_has_a_table_of_its_own(self):
        page = os.path.join(self.directory, "performance.md")
        with open(page, "w", encoding="utf-8") as file:
            file.write("<!-- tools/bench writes from here -->\nkept\n<!-- to here -->\n"
                       "<!-- tools/bench --scale writes from here -->\nold\n<!-- to here -->\n")
        written, printed = self.measure("--scale", "payload", "--write-docs", self.directory)
        self.assertEqual(written["results"], [])
        (series,) = written["scale"]
        self.assertEqual(series["name"], "payload")
        self.assertIn(series["what"], printed)
        self.assertEqual([point["bytes of payload"] for point in series["points"]],
                         [16, 256, 4096, 65536, 1048576])
        for point in series["points"]:
            for figure in point["figures"].values():
                self.assertGreater(figure, 0)
        with open(page, encoding="utf-8") as file:
            text = file.read()
        self.assertIn("kept", text)
        self.assertNotIn("old", text)
        self.assertIn("| 1,048,576 |", text)

    def test_runs_stand_beside_each_other(self):
        plain, _ = self.measure("add")
        other = os.path.join(self.directory, "other.json")
        done = run("add", *SHORT, "--appendonly", "--json", other)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        with open(other, encoding="utf-8") as file:
            self.assertIs(json.load(file)["machine"]["appendonly"], True)
        self.assertIs(plain["machine"]["appendonly"], False)
        done = run("--beside", self.json, other)
        self.assertEqual(done.returncode, 0, done.stderr)
        heading, _, row = done.stdout.splitlines()
        self.assertEqual(heading, "| row | workload | unit | unix | unix, appendonly everysec |")
        self.assertEqual(row.count("("), 2, row)

    def test_the_list_names_all(self):
        done = run("--list")
        self.assertEqual(done.returncode, 0)
        for name in "add", "queue", "payload", "map-size":
            self.assertRegex(done.stdout, f"(?m)^{name} ")

    def test_rows_that_became_worse_are_told(self):
        written, _ = self.measure("add")
        worse = os.path.join(self.directory, "worse.json")
        for value in written["results"][0]["ratio"]:
            written["results"][0]["ratio"][value] /= 2
        with open(worse, "w", encoding="utf-8") as file:
            json.dump(written, file)
        self.assertEqual(run("--compare", self.json, self.json).returncode, 0)
        self.assertEqual(run("--compare", worse, self.json).returncode, 0)
        done = run("--compare", self.json, worse)
        self.assertEqual(done.returncode, 1)
        self.assertIn("WORSE", done.stdout)

    def test_what_makes_no_sense_is_refused(self):
        for arguments in (["no-such-workload"], ["--transport", "pigeon"], ["--groups", "0"],
                          ["--nonsense"], ["--json"], ["--scale", "add"], ["payload"],
                          ["--beside"]):
            done = run(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn("usage:", done.stderr)

    def test_a_server_that_cannot_be_had_is_a_failure(self):
        environment = dict(os.environ, PULSE_TEST_SERVER="/nonexistent/redis-server")
        self.assertEqual(run("add", *SHORT, environment=environment).returncode, 1)
        self.assertEqual(run("add", *SHORT, "--server", "/nonexistent/redis-server").returncode, 1)


if __name__ == "__main__":
    main()
