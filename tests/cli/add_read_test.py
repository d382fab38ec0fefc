"""add, read, stream and ping: what is published is what is read, and the JSON keys."""

import base64
import datetime
import re
import signal
import tempfile

from harness import DEADLINE_S, ToolTest, events, main, payloads, until

ID = re.compile(r"^\d+-\d+$")


class Add(ToolTest):
    def test_prints_the_id(self):
        result = self.run_tool("add", self.stream, "created", "hello")
        self.assertEqual(list(result.lines[0]), ["id"])
        self.assertRegex(result.lines[0]["id"], ID)
        entries = self.server.command("XRANGE", self.server.key(self.stream), "-", "+")
        self.assertEqual(entries, [[result.lines[0]["id"], ["n", "created", "p", "hello"]]])

    def test_payload_from_standard_input_and_from_a_file(self):
        data = b"line 1\nline 2\n\x00\xff"
        self.add("a", "-", data=data)
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            self.add("b", "@" + file.name)
        for event in events(self.run_tool("read", self.stream).lines):
            self.assertNotIn("payload", event)
            self.assertEqual(base64.b64decode(event["payload_base64"]), data)

    def test_payloads_stay_as_they_are(self):
        texts = ["", "[1,2,3]", '{"a": "b c"}', "-x", "--", "@@", "ä€😀", "a\tb\\n", "%d", "'\""]
        for text in texts:
            if text.startswith("@"):
                self.add("n", "-", data=text.encode())
            else:
                self.add("n", "--", text)
        self.assertEqual(payloads(self.run_tool("read", self.stream).lines), texts)

    def test_no_payload_is_an_empty_one(self):
        self.add("n")
        self.assertEqual(payloads(self.run_tool("read", self.stream).lines), [""])

    def test_topic_and_headers(self):
        self.add("n", "p", "--topic", "eu", "--header", "a=1", "--header", "b=x=y", "--header",
                 "c=")
        event = events(self.run_tool("read", self.stream).lines)[0]
        self.assertEqual(event["topic"], "eu")
        self.assertEqual(event["headers"], {"a": "1", "b": "x=y", "c": ""})

    def test_an_empty_topic_is_a_topic(self):
        self.add("n", "p", "--topic", "")
        self.assertEqual(events(self.run_tool("read", self.stream).lines)[0]["topic"], "")

    def test_only_if_exists_prints_null_and_creates_nothing(self):
        result = self.run_tool("add", self.stream, "n", "p", "--only-if-exists")
        self.assertEqual(result.out, '{"id":null}\n')
        self.assertEqual(self.server.command("EXISTS", self.server.key(self.stream)), 0)
        self.add("n", "first")
        self.assertRegex(self.add("n", "second", "--only-if-exists"), ID)

    def test_ttl_is_set_once_and_sliding_ttl_each_time(self):
        key = self.server.key(self.stream)
        self.add("n", "p", "--ttl", "1h")
        self.assertTrue(0 < self.server.command("PTTL", key) <= 3600000)
        self.server.command("PEXPIRE", key, 60000)
        self.add("n", "p", "--ttl", "1h")
        self.assertTrue(0 < self.server.command("PTTL", key) <= 60000)
        self.add("n", "p", "--sliding-ttl", "1h30m")
        self.assertTrue(3600000 < self.server.command("PTTL", key) <= 5400000)

    def test_max_len_bounds_the_stream(self):
        lines = "".join("%d\n" % i for i in range(5000)).encode()
        self.run_tool("add", self.stream, "n", "--lines", "--max-len", "100", data=lines)
        length = self.server.command("XLEN", self.server.key(self.stream))
        self.assertTrue(100 <= length <= 100 + 200 + 100, length)

    def test_key_prefix(self):
        self.run_tool("--key-prefix", "tenant:", "add", self.stream, "n", "p")
        self.assertEqual(self.server.command("EXISTS", "tenant:" + self.server.key(self.stream)), 1)


class AddLines(ToolTest):
    def test_each_line_is_an_event_and_ids_come_in_their_order(self):
        texts = ["line %d" % i for i in range(20000)]
        texts[7] = ""
        texts[8] = "with \r carriage return\r"
        result = self.run_tool("add", self.stream, "n", "--lines", "--max-len", "-1", "--topic", "t",
                               data="\n".join(texts).encode())  # the last one without newline
        ids = [tuple(map(int, line["id"].split("-"))) for line in result.lines]
        self.assertEqual(len(ids), len(texts))
        self.assertEqual(ids, sorted(set(ids)))
        read = events(self.run_tool("read", self.stream).lines)
        self.assertEqual([event["payload"] for event in read], texts)
        self.assertEqual([event["id"] for event in read], [line["id"] for line in result.lines])
        self.assertEqual({event["topic"] for event in read}, {"t"})

    def test_no_line_is_no_event(self):
        self.assertEqual(self.run_tool("add", self.stream, "n", "--lines").out, "")

    def test_lines_of_a_file(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"a\nb\n")
            file.flush()
            self.run_tool("add", self.stream, "n", "@" + file.name, "--lines")
        self.assertEqual(payloads(self.run_tool("read", self.stream).lines), ["a", "b"])

    def test_ids_come_while_the_input_is_still_open(self):
        tool = self.start_tool("add", self.stream, "n", "--lines")
        tool.write(b"first\n")
        self.assertRegex(tool.line()["id"], ID)
        tool.write(b"sec")
        tool.write(b"ond\n")
        self.assertRegex(tool.line()["id"], ID)
        tool.signal(signal.SIGTERM)
        self.assertEqual(tool.wait(), 0)
        self.assertEqual(payloads(self.run_tool("read", self.stream).lines), ["first", "second"])

    def test_ends_with_1_when_the_ids_cannot_be_printed(self):
        process, output = self.start_piped("add", self.stream, "n", "--lines")
        output.close()
        self.assertEqual(process.wait(timeout=DEADLINE_S), 1)

    def test_a_line_that_fails_is_named(self):
        self.server.command("SET", self.server.key(self.stream), "text")
        result = self.run_tool("add", self.stream, "n", "--lines", data=b"a\n", code=1)
        self.assertIn("line 1:", result.err)
        self.assertEqual(result.lines[0]["id"], None)
        self.assertEqual(result.lines[0]["error"], "PULSE_ERR_WRONG_TYPE")


class Read(ToolTest):
    def test_the_keys_are_these(self):
        event_id = self.add("created", "text")
        result = self.run_tool("read", self.stream)
        self.assertEqual(result.out.splitlines()[0], '{"notice":"ready"}')
        self.assertEqual(result.lines[1], {"id": event_id, "stream": self.stream, "name": "created",
                                           "topic": None, "payload": "text", "headers": {}})
        self.assertEqual(len(result.lines), 2)

    def test_a_stream_that_is_not_there_is_just_empty(self):
        self.assertEqual(self.run_tool("read", self.stream).out, '{"notice":"ready"}\n')

    def test_count(self):
        self.add_numbers(10)
        self.assertEqual(payloads(self.run_tool("read", self.stream, "--count", "3").lines),
                         ["0", "1", "2"])

    def test_from_an_id_is_after_it(self):
        ids = self.add_numbers(5)
        self.assertEqual(payloads(self.run_tool("read", self.stream, "--from", ids[2]).lines),
                         ["3", "4"])
        self.assertEqual(payloads(self.run_tool("read", self.stream, "--from", ids[4]).lines), [])

    def test_from_a_time_is_on_or_after_it(self):
        key = self.server.key(self.stream)
        for ms in (999, 1000, 1500, 2000):
            self.server.command("XADD", key, "%d-0" % ms, "n", "n", "p", ms)
        for start, expected in (("1000", ["1000", "1500", "2000"]), ("1001", ["1500", "2000"]),
                                ("1970-01-01T00:00:01.5Z", ["1500", "2000"]),
                                ("1970-01-01T01:00:02+01:00", ["2000"]), ("2001", []),
                                ("0", ["999", "1000", "1500", "2000"])):
            self.assertEqual(
                payloads(self.run_tool("read", self.stream, "--from", start).lines), expected,
                start)

    def test_from_now_as_a_time_gets_what_comes_later(self):
        self.add("n", "old")
        now = until(lambda: self._later_time(), "the clock goes on")
        self.add("n", "new")
        self.assertEqual(payloads(self.run_tool("read", self.stream, "--from", now).lines), ["new"])

    def _later_time(self):
        newest = self.server.command("XREVRANGE", self.server.key(self.stream), "+", "-")[0][0]
        now = datetime.datetime.now(datetime.timezone.utc)
        if int(now.timestamp() * 1000) <= int(newest.split("-")[0]):
            return None
        return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def test_topic_and_pattern_and_the_end_is_found_all_the_same(self):
        for topic in ("eu.de", "eu.fr", "us", None, "us"):
            self.add("n", str(topic), *(["--topic", topic] if topic else []))
        for option, value, expected in (
                ("--topic", "us", ["us", "us"]), ("--topic", "eu", []),
                ("--pattern", r"^eu\.", ["eu.de", "eu.fr"]), ("--pattern", "e|s",
                                                              ["eu.de", "eu.fr", "us", "us"]),
                ("--pattern", "nothing", [])):
            lines = self.run_tool("read", self.stream, option, value).lines
            self.assertEqual(payloads(lines), expected, value)

    def test_an_entry_of_strangers_at_the_end_is_a_notice_and_the_end(self):
        self.add("n", "ours")
        event_id = self.server.command("XADD", self.server.key(self.stream), "*", "foo", "bar")
        lines = self.run_tool("read", self.stream).lines
        self.assertEqual(payloads(lines), ["ours"])
        self.assertIn({"notice": "malformed", "stream": self.stream, "id": event_id},
                      [{key: line[key] for key in line if key != "message"} for line in lines])

    def test_bytes_that_are_no_utf8(self):
        self.server.command("XADD", self.server.key(self.stream), "1-0", "n", b"n\xff", "p", b"\xff",
                            "t", b"\xc3", "h:a", b"\xfe", "h:a", "2")
        event = events(self.run_tool("read", self.stream).lines)[0]
        self.assertEqual(event["name"], "n\ufffd")
        self.assertEqual(base64.b64decode(event["name_base64"]), b"n\xff")
        self.assertEqual(base64.b64decode(event["topic_base64"]), b"\xc3")
        self.assertEqual(base64.b64decode(event["payload_base64"]), b"\xff")
        self.assertEqual(event["headers"], {"a": ["\ufffd", "2"]})

    def test_follow_goes_on_until_a_signal(self):
        self.add("n", "before")
        for number in (signal.SIGTERM, signal.SIGINT):
            tool = self.start_tool("read", self.stream, "--follow")
            self.assertEqual(tool.line(), {"notice": "ready"})
            self.add("n", "after")
            self.assertEqual(tool.event()["payload"], "after")
            tool.signal(number)
            self.assertEqual(tool.wait(), 0, tool.err())

    def test_from_newest_follows(self):
        self.add("n", "before")
        tool = self.start_tool("read", self.stream, "--from", "newest", "--count", "1")
        self.assertEqual(tool.line(), {"notice": "ready"})
        self.add("n", "after")
        self.assertEqual(tool.event()["payload"], "after")
        self.assertEqual(tool.wait(), 0)

    def test_follow_from_the_oldest_with_filter(self):
        self.add("n", "1", "--topic", "a")
        tool = self.start_tool("read", self.stream, "--from", "oldest", "--follow", "--pattern", "a",
                               "--count", "2")
        tool.notice("ready")
        self.add("n", "2", "--topic", "b")
        self.add("n", "3", "--topic", "aa")
        self.assertEqual(payloads(tool.rest()), ["1", "3"])
        self.assertEqual(tool.wait(), 0)

    def test_follow_survives_a_lost_connection(self):
        tool = self.start_tool("read", self.stream, "--follow")
        tool.notice("ready")
        self.server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        tool.notice("disconnected")
        self.add("n", "after")
        self.assertEqual(tool.event()["payload"], "after")
        self.assertIn({"notice": "reconnected"},
                      [{"notice": line["notice"]} for line in tool.seen if "notice" in line])

    def test_ends_when_nobody_reads_the_output(self):
        process, output = self.start_piped("read", self.stream, "--follow")
        self.assertEqual(output.readline(), b'{"notice":"ready"}\n')
        output.close()
        self.assertEqual(process.wait(timeout=DEADLINE_S), 0)


class Stream(ToolTest):
    def test_info(self):
        missing = self.run_tool("stream", "info", self.stream).lines[0]
        self.assertEqual((missing["exists"], missing["length"], missing["last_id"]),
                         (False, 0, None))
        ids = self.add_numbers(3)
        # null: a server before 7.0 does not count them
        added = 3 if self.server.version() >= (7, 0, 0) else None
        self.assertEqual(self.run_tool("stream", "info", self.stream).lines, [{
            "stream": self.stream, "exists": True, "length": 3, "entries_added": added,
            "groups": 0, "ttl_ms": None, "first_id": ids[0], "last_id": ids[2],
            "last_generated_id": ids[2]}])

    def test_remove_counts_what_existed(self):
        ids = self.add_numbers(3)
        result = self.run_tool("stream", "remove", self.stream, ids[0], ids[2], "1-1")
        self.assertEqual(result.lines, [{"stream": self.stream, "removed": 2}])
        self.assertEqual(payloads(self.run_tool("read", self.stream).lines), ["1"])

    def test_destroy(self):
        self.add_numbers(3)
        for existed in (True, False):
            result = self.run_tool("stream", "destroy", self.stream)
            self.assertEqual(result.lines, [{"stream": self.stream, "destroyed": existed}])
        self.assertEqual(self.server.command("EXISTS", self.server.key(self.stream)), 0)


class Ping(ToolTest):
    def test_ping(self):
        line = self.run_tool("ping").lines[0]
        self.assertGreater(line["microseconds"], 0)
        self.assertRegex(line["server"], r"^(redis|valkey) \d+\.\d+\.\d+")


if __name__ == "__main__":
    main()
