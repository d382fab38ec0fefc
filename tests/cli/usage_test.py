"""Wrong usage and failures: exit codes, where messages go, help and man page."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import unittest

from harness import CLI, ToolTest, main


class Usage(ToolTest):
    WRONG = [
        [],
        ["frob"],
        ["add"],
        ["add", "s"],
        ["add", "s", "n", "p", "more"],
        ["add", "s", "n", "--unknown"],
        ["add", "s", "n", "--ttl", "x"],
        ["add", "s", "n", "--ttl", "-1s"],
        ["add", "s", "n", "--ttl", "1s", "--sliding-ttl", "1s"],
        ["add", "s", "n", "--ttl", ""],
        ["add", "s", "n", "--sliding-ttl", ""],
        ["add", "s", "n", "--max-len", "many"],
        ["add", "s", "n", "--max-len", "99999999999999999999"],
        ["add", "s", "n", "--header", "no-equals-sign"],
        ["add", "s", "n", "--header", "=value"],
        ["add", "s", "n", "text", "--lines"],
        ["add", "with space", "n"],
        ["add", "s", ""],
        ["read"],
        ["read", "s", "--from", "yesterday"],
        ["read", "s", "--from", ""],
        ["read", "s", "--count", "0"],
        ["read", "s", "--count", "-1"],
        ["read", "s", "--pattern", "("],
        ["read", "s", "--topic", "a", "--pattern", "b"],
        ["read", "bad*name"],
        ["sink", "s"],
        ["sink", "s", "g", "--ack", "--leave"],
        ["sink", "s", "g", "--leave", "--no-ack"],
        ["sink", "s", "g", "--no-ack", "--exec", "true"],
        ["sink", "s", "g", "--exec", ""],
        ["sink", "s", "g", "--grace", ""],
        ["sink", "s", "g", "--grace", "soon"],
        ["sink", "s", "g", "--grace", "1ms"],
        ["sink", "s", "bad group"],
        ["sink", "s", "g", "--pattern", "("],
        ["stream"],
        ["stream", "info"],
        ["stream", "remove", "s"],
        ["stream", "remove", "s", "no-id"],
        ["map"],
        ["map", "m"],
        ["map", "m", "frob"],
        ["map", "bad name", "keys"],
        ["map", "m", "get"],
        ["map", "m", "get", "k", "more"],
        ["map", "m", "set", "k"],
        ["map", "m", "set", "", "v"],
        ["map", "m", "set", "k=", "v"],
        ["map", "m", "set", "k", "v", "--ttl", "soon"],
        ["map", "m", "set", "k", "v", "--ttl", ""],
        ["map", "m", "set", "k", "v", "--ttl", "1s", "--sliding-ttl", "1s"],
        ["map", "m", "cas", "k", "test"],
        ["map", "m", "incr", "k", "one"],
        ["map", "m", "incr", "k", "9223372036854775808"],
        ["map", "m", "remove", "k"],
        ["map", "m", "reset", "--if", "k"],
        ["map", "m", "watch", "k"],
        ["map", "m", "watch", "--key", "a", "--prefix", "b"],
        ["map", "m", "watch", "--count", "0"],
        ["map", "m", "watch", "--max-unnoticed", ""],
        ["map", "m", "watch", "--max-unnoticed", "1ms"],
        ["worker"],
        ["worker", "bad pool"],
        ["worker", "p=q"],
        ["worker", "p", "--workers", "0"],
        ["worker", "p", "--workers", "10001"],
        ["worker", "p", "--exec", ""],
        ["worker", "p", "--retries", "1"],
        ["worker", "p", "--exec", "true", "--retries", "-1"],
        ["worker", "p", "--exec", "true", "--retries", "many"],
        ["worker", "p", "--ttl", "soon"],
        ["worker", "p", "--ttl", "1ms"],
        ["worker", "p", "--ttl", ""],
        ["worker", "p", "--grace", "1ms"],
        ["worker", "p", "--routing", "random"],
        ["dispatch", "p"],
        ["dispatch", "p", ""],
        ["dispatch", "p", "a=b"],
        ["dispatch", "p", "k", "payload", "more"],
        ["stop", "p"],
        ["stop", "p", "k", "more"],
        ["notify", "p"],
        ["notify", "p", "a=b"],
        ["jobs"],
        ["jobs", "p", "more"],
        ["workers"],
        ["nodes"],
        ["ticker", "p"],
        ["ticker", "p", "n"],
        ["ticker", "p", "n", "soon"],
        ["ticker", "p", "n", "0"],
        ["ticker", "p", "n", "-1s"],
        ["ticker", "p", "n", "999us"],
        ["ticker", "p", "a=b", "1s"],
        ["ticker", "p", "a=b", "--stop"],
        ["shutdown"],
        ["local"],
        ["--url", "http://x", "ping"],
        ["--url", "redis://h?frob=1", "ping"],
        ["--timeout", "0", "ping"],
        ["local", "status", "--url", "redis://localhost"],
    ]

    VERBS = [["add"], ["read"], ["sink"], ["worker"], ["dispatch"], ["stop"], ["notify"], ["jobs"],
             ["workers"], ["nodes"], ["ticker"], ["shutdown"], ["stream", "info"],
             ["stream", "remove"], ["stream", "destroy"], ["ping"], ["local", "status"], ["local", "stop"],
             *[["map", "NAME", verb] for verb in (
                 "get", "keys", "dump", "state", "watch", "set", "setnx", "cas", "incr", "append",
                 "append-unique", "remove", "del", "cad", "reset", "destroy")]]

    def test_wrong_usage_is_2_with_a_message(self):
        for arguments in self.WRONG:
            with self.subTest(arguments=arguments):
                result = self.run_tool(*arguments, code=2)
                self.assertEqual(result.out, "")
                self.assertRegex(result.err, r"^pulseengine: .+")

    def test_an_unknown_verb_is_named(self):
        for arguments in (["frob"], ["frob", "s", "--count", "1"], ["--timeout", "1s", "frob"],
                          ["stream", "frob"], ["stream", "frob", "s"], ["map", "m", "frob"],
                          ["local", "frob"]):
            result = self.run_tool(*arguments, code=2)
            self.assertEqual(result.err, 'pulseengine: unknown verb "frob"; see --help\n', arguments)

    def test_other_wrong_words_are_no_verbs(self):
        for arguments, said in ((["stream"], "stream: a verb is missing; see pulseengine stream --help"),
                                (["map", "m"], "map: a verb is missing"), (["--frob"], "--frob"),
                                (["ping", "frob"], "frob")):
            result = self.run_tool(*arguments, code=2)
            self.assertIn(said, result.err)
            self.assertNotIn("unknown verb", result.err)

    def test_a_duration_that_is_too_long_is_named_as_such(self):
        for option in ("--timeout", "--grace"):
            result = self.run_tool("sink", "s", "g", option, "99999999h", code=2)
            self.assertEqual(result.err, "pulseengine: %s: '99999999h' is too large; the largest is "
                                         "2562047h\n" % option)
        self.assertIn("no positive duration", self.run_tool("ping", "--timeout", "-99999999h",
                                                            code=2).err)

    def test_help_of_every_verb_is_0_on_standard_output(self):
        for verb in ([], ["stream"], ["map"], ["local"], *self.VERBS):
            done = subprocess.run([CLI, *verb, "--help"], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""), verb)
            self.assertIn("Usage: " + " ".join(["pulseengine", *verb]), done.stdout)

    def test_man_page_names_every_verb_and_option(self):
        man = subprocess.run([CLI, "--man"], capture_output=True, text=True, check=True).stdout
        plain = man.replace("\\-", "-")
        for verb in self.VERBS:
            self.assertIn('.SS "%s' % " ".join(verb), plain)
            text = subprocess.run([CLI, *verb, "--help"], capture_output=True, text=True).stdout
            options = re.findall(r"^  (?:-\w,)?(--[a-z-]+)", text, re.M)
            for option in options:
                if option != "--help":
                    self.assertIn(option, plain.split('.SS "%s' % " ".join(verb))[1])

    @unittest.skipUnless(shutil.which("man"), "man is not installed")
    def test_man_page_has_no_formatting_errors(self):
        with tempfile.NamedTemporaryFile(suffix=".1") as page:
            page.write(subprocess.run([CLI, "--man"], stdout=subprocess.PIPE, check=True).stdout)
            page.flush()
            done = subprocess.run(["man", "-l", "--warnings=w", page.name], capture_output=True,
                                  text=True, env=dict(os.environ, LC_ALL="C.UTF-8"))
        self.assertEqual(done.stderr, "")
        self.assertIn("EXIT STATUS", done.stdout)

    def test_version_is_printed(self):
        done = subprocess.run([CLI, "--version"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"^pulseengine \d+\.\d+\.\d+\n$")


class Failures(ToolTest):
    def test_a_server_that_is_not_there_is_1(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
            url = "redis://user:secret-word@127.0.0.1:%d" % taken.getsockname()[1]
            for arguments in (["ping"], ["add", "s", "n"], ["read", "s"], ["sink", "s", "g"],
                              ["stream", "info", "s"], ["map", "m", "set", "k", "v"],
                              ["map", "m", "dump"], ["map", "m", "watch"], ["worker", "p"],
                              ["dispatch", "p", "k"], ["jobs", "p"], ["ticker", "p", "n", "1s"],
                              ["ticker", "p", "n", "--stop"], ["shutdown", "p"]):
                result = self.run_tool(*arguments, "--url", url, "--timeout", "300ms", code=1)
                self.assertEqual(result.out, "")
                self.assertIn("cannot reach the server", result.err)
                self.assertNotIn("secret-word", result.err)

    def test_a_server_that_does_not_answer_is_told_as_such(self):
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()  # the kernel takes connections, and nobody says anything on them
            port = silent.getsockname()[1]
            for url, reason in (("redis://127.0.0.1:%d", "no connection within"),
                                ("rediss://127.0.0.1:%d?verify=none", "is it a TLS port?")):
                result = self.run_tool("ping", "--url", url % port, "--timeout", "300ms", code=1)
                self.assertIn(reason, result.err)

    def test_a_file_that_is_not_there_is_1(self):
        result = self.run_tool("add", "s", "n", "@/does/not/exist", code=1)
        self.assertIn("/does/not/exist", result.err)

    def test_an_endless_input_is_1_at_the_limit_of_payloads(self):
        with open("/dev/zero", "rb") as endless:
            done = subprocess.run([CLI, "add", "s", "n", "-"], stdin=endless, capture_output=True,
                                  env=self.environment)
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertIn(b"64 MiB", done.stderr)

    def test_a_directory_as_payload_is_1(self):
        self.assertIn("directory", self.run_tool("add", "s", "n", "@/", code=1).err)

    def test_a_key_that_is_no_stream_is_1(self):
        self.server.command("SET", self.server.key(self.stream), "text")
        for arguments in (["add", self.stream, "n"], ["read", self.stream],
                          ["read", self.stream, "--follow"], ["sink", self.stream, "g"]):
            result = self.run_tool(*arguments, code=1)
            self.assertIn("WRONG", result.err, arguments)

    def test_closed_standard_output_is_1(self):
        done = subprocess.run(["sh", "-c", '"$0" ping >&-', CLI], capture_output=True,
                              env=self.environment)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output is closed", done.stderr)

    def test_a_full_disk_is_1(self):
        done = subprocess.run(["sh", "-c", '"$0" ping >/dev/full', CLI], capture_output=True,
                              env=self.environment)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)


if __name__ == "__main__":
    main()
