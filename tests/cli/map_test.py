"""map: what each verb prints, what Go processes printed for the same, and watches through faults."""

import base64
import os
import pathlib
import shlex
import signal
import tempfile

from harness import Server, ToolTest, main, until

VECTORS = pathlib.Path(os.environ["PULSE_TEST_WIRE"])


class MapTest(ToolTest):
    def map(self, *arguments, **keywords):
        """The one line that the verb prints for the test's map."""
        lines = self.run_tool("map", self.stream, *arguments, **keywords).lines
        if keywords.get("code", 0) == 0:
            self.assertEqual(len(lines), 1, lines)
            return lines[0]
        self.assertEqual(lines, [])
        return None

    @property
    def key(self):
        return "map:" + self.stream + ":content"

    @property
    def channel(self):
        return "map:" + self.stream + ":updates"

    def watch(self, *arguments):
        return self.start_tool("map", self.stream, "watch", *arguments)

    def fields(self):
        flat = self.server.command("HGETALL", self.key)
        return dict(zip(flat[::2], flat[1::2]))


def state(name):
    return lambda line: line.get("state") == name


def change(op, key, value, old, rev):
    return {"op": op, "key": key, "value": value, "old": old, "rev": rev}


def synced(rev):
    return {"state": "synced", "rev": rev, "reason": None}


class Writes(MapTest):
    def test_set_prints_what_was_there(self):
        self.assertEqual(self.map("set", "k", "v"),
                         {"previous": None, "existed": False, "updated": True, "rev": 1})
        self.assertEqual(self.map("set", "k", "w"),
                         {"previous": "v", "existed": True, "updated": True, "rev": 2})
        self.assertEqual(self.fields(), {"k": "w", "=rev": "2", "=kind": "set"})

    def test_setnx_and_cas_write_only_if(self):
        self.assertEqual(self.map("setnx", "k", "v"),
                         {"previous": None, "existed": False, "updated": True, "rev": 1})
        self.assertEqual(self.map("setnx", "k", "w"),
                         {"previous": "v", "existed": True, "updated": False, "rev": None})
        self.assertEqual(self.map("cas", "k", "x", "w"),
                         {"previous": "v", "existed": True, "updated": False, "rev": None})
        self.assertEqual(self.map("cas", "k", "v", "w"),
                         {"previous": "v", "existed": True, "updated": True, "rev": 2})
        self.assertEqual(self.map("cas", "absent", "", "w"),
                         {"previous": None, "existed": False, "updated": False, "rev": None})

    def test_incr_counts_in_64_bits(self):
        self.assertEqual(self.map("incr", "n"), {"value": 1, "updated": True, "rev": 1})
        self.assertEqual(self.map("incr", "n", "-7"), {"value": -6, "updated": True, "rev": 2})
        self.map("set", "n", "9007199254740993")
        self.assertEqual(self.map("incr", "n", "2")["value"], 9007199254740995)
        self.map("set", "n", "many")
        self.assertIn("WRONG_TYPE", self.run_tool("map", self.stream, "incr", "n", code=1).err)

    def test_lists(self):
        self.assertEqual(self.map("append", "l", "a", "set", "-", "@b"),
                         {"values": ["a", "set", "-", "@b"], "updated": True, "rev": 1})
        self.assertEqual(self.map("append", "l"),
                         {"values": ["a", "set", "-", "@b"], "updated": False, "rev": None})
        self.assertEqual(self.map("append-unique", "l", "a", "c")["values"],
                         ["a", "set", "-", "@b", "c"])
        self.assertEqual(self.map("remove", "l", "a", "-", "@b", "zz"),
                         {"values": ["set", "c"], "updated": True, "rev": 3})
        self.assertEqual(self.map("get", "l", "--list"),
                         {"values": ["set", "c"], "existed": True, "rev": 3})
        self.assertEqual(self.map("remove", "l", "zz")["updated"], False)
        self.assertEqual(self.map("remove", "l", "set", "c"),
                         {"values": [], "updated": True, "rev": 4})
        self.assertEqual(self.map("get", "l", "--list"),
                         {"values": None, "existed": False, "rev": 4})

    def test_items_are_taken_as_they_are(self):
        items = ["[1]", "[a,b]", "[]", "a,b", "{}", "\"q\"", "\\u0041", "", "-"]
        for number, item in enumerate(items, 1):
            self.assertEqual(self.map("append", "l", item)["values"], items[:number])
        self.assertEqual(self.map("append-unique", "l", "--", *items, "--x")["values"],
                         [*items, "--x"])
        self.assertEqual(self.map("remove", "l", "[a,b]", "[]", "[1]")["values"],
                         [*items[3:], "--x"])
        self.run_tool("map", self.stream, "append-unique", "l", code=2)

    def test_del_and_cad(self):
        self.map("set", "k", "v")
        self.assertEqual(self.map("cad", "k", "x"),
                         {"previous": "v", "existed": True, "updated": False, "rev": None})
        self.assertEqual(self.map("cad", "k", "v"),
                         {"previous": "v", "existed": True, "updated": True, "rev": 2})
        self.assertEqual(self.map("del", "k"),
                         {"previous": None, "existed": False, "updated": False, "rev": None})
        self.map("set", "k", "")
        self.assertEqual(self.map("del", "k"),
                         {"previous": "", "existed": True, "updated": True, "rev": 4})

    def test_reset_with_and_without_conditions_and_destroy(self):
        self.map("set", "a", "1")
        self.map("set", "b", "x=y")
        self.assertEqual(self.map("reset", "--if", "a=1", "--if", "b=x"),
                         {"updated": False, "rev": None})
        self.assertEqual(self.map("reset", "--if", "a=1", "--if", "b=x=y"),
                         {"updated": True, "rev": 3})
        self.assertEqual(self.map("reset"), {"updated": True, "rev": 4})
        self.assertEqual(self.map("destroy"), {"updated": True, "rev": 5})
        self.assertEqual(self.fields(), {"=rev": "5", "=kind": "destroy"})

    def test_values_from_standard_input_and_files_and_bytes(self):
        data = b"\x00\xff\n"
        self.map("set", "in", "-", data=data)
        with tempfile.NamedTemporaryFile() as file:
            file.write(data + b"2")
            file.flush()
            self.map("setnx", "file", "@" + file.name)
            self.map("cas", "file", "x", "@" + file.name)
        encoded = base64.b64encode(data).decode()
        again = self.map("set", "in", "--", "-x")
        self.assertEqual(again, {"previous_base64": encoded, "existed": True, "updated": True,
                                 "rev": 3})
        self.assertEqual(self.map("get", "file"),
                         {"value_base64": base64.b64encode(data + b"2").decode(), "existed": True,
                          "rev": 3})
        self.assertEqual(self.map("get", "in")["value"], "-x")
        self.server.command("HSET", self.key, "l", b'["a","\xff"]')
        self.assertEqual(self.map("append", "l")["values_base64"], ["YQ==", "/w=="])

    def test_ttl_is_set_once_and_sliding_ttl_each_time(self):
        self.map("set", "k", "v", "--ttl", "1h")
        self.assertTrue(0 < self.server.command("PTTL", self.key) <= 3600000)
        self.server.command("PEXPIRE", self.key, 60000)
        self.map("incr", "n", "--ttl", "1h")
        self.assertTrue(0 < self.server.command("PTTL", self.key) <= 60000)
        self.map("append", "l", "x", "--sliding-ttl", "1h30m")
        self.assertTrue(3600000 < self.server.command("PTTL", self.key) <= 5400000)
        self.assertTrue(3600000 < self.map("state")["ttl_ms"] <= 5400000)

    def test_names_of_verbs_are_names_of_maps_and_keys_too(self):
        for name in ("set", "watch", "add", "map"):
            self.assertEqual(self.run_tool("map", name, "set", name, name).lines[0]["rev"], 1)
            self.assertEqual(self.run_tool("map", name, "get", name).lines[0]["value"], name)
        self.assertEqual(self.run_tool("add", "read", "add", "read").code, 0)

    def test_key_prefix(self):
        self.run_tool("--key-prefix", "tenant:", "map", self.stream, "set", "k", "v")
        self.assertEqual(self.server.command("EXISTS", "tenant:" + self.key), 1)


class Reads(MapTest):
    def test_a_map_that_is_not_there_is_empty(self):
        self.assertEqual(self.map("dump"), {"state": "synced", "rev": 0, "map": {}})
        self.assertEqual(self.map("keys"), {"rev": 0, "keys": []})
        self.assertEqual(self.map("get", "k"), {"value": None, "existed": False, "rev": 0})
        self.assertEqual(self.map("state"), {"state": "synced", "rev": 0, "reason": None, "keys": 0,
                                             "bytes": 0, "ttl_ms": None})
        self.assertEqual(self.server.command("EXISTS", self.key), 0)

    def test_dump_keys_and_state(self):
        expected = {"key %d" % i: "väl%d" % i for i in range(2000)}
        self.server.command("HSET", self.key, "=rev", 2000, "=kind", "set",
                            *[word for item in expected.items() for word in item])
        dump = self.map("dump", "--wait-synced")
        self.assertEqual(list(dump), ["state", "rev", "map"])
        self.assertEqual(dump, {"state": "synced", "rev": 2000, "map": expected})
        self.assertEqual(list(dump["map"]), sorted(expected))
        self.assertEqual(self.map("keys"), {"rev": 2000, "keys": sorted(expected)})
        self.assertEqual(self.map("state")["keys"], 2000)

    def test_what_is_no_text_is_base64(self):
        self.server.command("HSET", self.key, "=rev", 3, "text", "t", "value", b"\xfe",
                            b"\xffkey", "v")
        self.assertEqual(self.map("dump"),
                         {"state": "synced", "rev": 3, "map": {"text": "t"},
                          "map_base64": {"value": "/g=="}, "entries_base64": [["/2tleQ==", "dg=="]]})
        self.assertEqual(self.map("keys"), {"rev": 3, "keys": ["text", "value"],
                                            "keys_base64": ["/2tleQ=="]})

    def test_a_key_of_another_type(self):
        self.server.command("SET", self.key, "text")
        self.assertEqual(self.map("dump"),
                         {"state": "stale", "rev": 0, "reason": "wrong_type", "map": {}})
        self.assertEqual(self.map("state")["reason"], "wrong_type")
        for arguments in (["dump", "--wait-synced"], ["get", "k"], ["keys"]):
            result = self.run_tool("map", self.stream, *arguments, "--timeout", "300ms", code=1)
            self.assertIn("WRONGTYPE", result.err)
        self.assertIn("WRONG", self.run_tool("map", self.stream, "set", "k", "v", code=1).err)


class Watch(MapTest):
    def test_content_then_changes(self):
        self.map("set", "a", "1")
        tool = self.watch()
        self.assertEqual(tool.line(), {"state": "syncing", "rev": 0, "reason": None})
        self.assertEqual(tool.line(), change("set", "a", "1", None, 1))
        self.assertEqual(tool.line(), synced(1))
        self.map("set", "a", "2")
        self.map("append", "l", "x")
        self.map("del", "a")
        self.map("reset")
        self.map("set", "b", "")
        self.map("destroy")
        for line in (change("set", "a", "2", "1", 2), change("set", "l", '["x"]', None, 3),
                     change("delete", "a", None, "2", 4), change("reset", None, None, None, 5),
                     change("set", "b", "", None, 6), change("destroy", None, None, None, 7)):
            self.assertEqual(tool.line(), line)
            self.assertEqual(list(tool.seen[-1]), ["op", "key", "value", "old", "rev"])
        tool.signal(signal.SIGTERM)
        self.assertEqual((tool.rest(), tool.wait(), tool.err()), ([], 0, ""))

    def test_bytes_are_base64(self):
        self.server.command("HSET", self.key, "=rev", 1, "k", b"\xff")
        tool = self.watch("--count", "2")
        self.assertEqual(tool.line_where(lambda line: "op" in line, "the content"),
                         {"op": "set", "key": "k", "value_base64": "/w==", "old": None, "rev": 1})
        tool.line_where(state("synced"), "synced")
        self.map("set", "k", "text")
        self.assertEqual(tool.line(), {"op": "set", "key": "k", "value": "text",
                                       "old_base64": "/w==", "rev": 2})
        self.assertEqual((tool.rest(), tool.wait()), ([], 0))

    def test_key_and_prefix(self):
        self.map("set", "job:1", "x")
        by_key = self.watch("--key", "user:2")
        by_prefix = self.watch("--prefix", "user:", "--count", "2")
        for tool in (by_key, by_prefix):
            self.assertEqual(tool.line()["state"], "syncing")
            self.assertEqual(tool.line(), synced(1))
        self.map("set", "user:1", "a")
        self.map("set", "job:2", "b")
        self.map("set", "user:2", "c")
        self.assertEqual(by_key.line(), change("set", "user:2", "c", None, 4))
        self.assertEqual([line["key"] for line in by_prefix.rest()], ["user:1", "user:2"])

    def test_synced_comes_behind_all_of_a_large_map(self):
        fields = [word for i in range(20000) for word in ("key%d" % i, "x" * 100)]
        self.server.command("HSET", self.key, "=rev", 20000, *fields)
        tool = self.watch()
        self.assertEqual(tool.line()["state"], "syncing")
        keys = {tool.line()["key"] for _ in range(20000)}
        self.assertEqual(len(keys), 20000)
        self.assertEqual(tool.line(), synced(20000))

    def test_a_resynchronisation_tells_the_differences(self):
        # What the replica is not told: only the next message shows that something was missed.
        self.map("set", "stays", "1")
        self.map("set", "goes", "1")
        self.map("set", "changes", "1")
        tool = self.watch()
        tool.line_where(state("synced"), "synced")
        self.server.command("HSET", self.key, "changes", "2", "comes", "1", "=rev", 6)
        self.server.command("HDEL", self.key, "goes")
        self.map("set", "last", "1")
        line = tool.line()
        self.assertEqual((line["state"], line["rev"], line["reason"]), ("stale", 3, "missed"))
        line = tool.line()
        self.assertEqual((line["state"], line["rev"], line["reason"]), ("syncing", 3, "missed"))
        told = [tool.line() for _ in range(4)]
        self.assertEqual(sorted(told, key=lambda line: line["key"]),
                         [change("set", "changes", "2", "1", 7), change("set", "comes", "1", None, 7),
                          change("delete", "goes", None, "1", 7),
                          change("set", "last", "1", None, 7)])
        self.assertEqual(tool.line(), synced(7))
        self.map("set", "changes", "3")
        self.assertEqual(tool.line(), change("set", "changes", "3", "2", 8))

    def test_lost_subscriptions_are_made_again(self):
        self.map("set", "k", "0")
        tool = self.watch()
        tool.line_where(state("synced"), "synced")
        for i in range(1, 4):
            self.server.command("CLIENT", "KILL", "TYPE", "pubsub")
            self.assertEqual(tool.line()["reason"], "disconnected")
            self.map("set", "k", str(i))
            tool.line_where(lambda line: line.get("value") == str(i), "the new value")
            if "synced" not in [line.get("state") for line in tool.seen[-2:]]:
                tool.line_where(state("synced"), "synced")
        self.assertEqual(self.server.command("PUBSUB", "NUMSUB", self.channel)[1], 1)

    def test_data_that_the_server_has_lost_is_told(self):
        for i in range(5):
            self.map("set", "k", str(i))
        tool = self.watch("--max-unnoticed", "500ms")
        tool.line_where(state("synced"), "synced")
        self.server.command("DEL", self.key)
        self.assertEqual(tool.line_where(lambda line: "notice" in line, "a notice"),
                         {"notice": "rewound", "before": 5, "rev": 0})
        self.assertEqual(tool.line(), change("delete", "k", None, "4", 0))
        self.assertEqual(tool.line(), synced(0))
        self.map("set", "k", "new")
        self.assertEqual(tool.line(), change("set", "k", "new", None, 1))

    def test_a_key_of_another_type_is_waited_for(self):
        self.server.command("SET", self.key, "text")
        tool = self.watch()
        line = tool.line_where(state("stale"), "stale")
        self.assertEqual(line["reason"], "wrong_type")
        self.assertIn("WRONGTYPE", line["message"])
        self.server.command("DEL", self.key)
        self.assertEqual(tool.line_where(state("synced"), "synced"), synced(0))

    def test_a_server_that_comes_back(self):
        server = Server("--appendonly", "yes", "--appendfsync", "always")
        self.addCleanup(lambda: server.stop())
        self.environment["PULSE_URL"] = server.url
        self.map("set", "k", "v")
        tool = self.watch()
        tool.line_where(state("synced"), "synced")
        server.process.kill()
        self.assertEqual(tool.line()["reason"], "disconnected")
        server.process.wait()
        server.start()
        self.assertEqual(tool.line_where(state("synced"), "synced"), synced(1))
        self.assertEqual([line for line in tool.seen if "op" in line],
                         [change("set", "k", "v", None, 1)])

    def test_nobody_reads_any_more(self):
        process, pipe = self.start_piped("map", self.stream, "watch")
        pipe.readline()
        pipe.close()
        self.assertEqual(process.wait(timeout=60), 0)


class Recorded(MapTest):
    """The results of a Go process, step by step."""

    VERBS = {"setwait": "set", "tas": "cas", "inc": "incr", "appendunique": "append-unique",
             "tad": "cad"}

    def ours(self, line, names):
        """What we print, under the recorded names."""
        found = {"existed": line.get("existed"), "prev": line.get("previous") or "",
                 "values": line.get("values"), "map": line.get("map"), "value": line.get("value")}
        for name in ("set", "updated", "deleted", "removed", "reset", "destroyed"):
            found[name] = line.get("updated")
        return {name: found[name] for name in names}

    def printed(self, words):
        """A line "printed" as the recorded JSON."""
        values = {}
        while words:
            name = words.pop(0)
            if name == "values":
                values[name], words = words, []
            elif name == "map":
                values[name], words = dict(zip(words[::2], words[1::2])), []
            else:
                word = words.pop(0)
                values[name] = {"true": True, "false": False}.get(word, word)
        if "value" in values:
            values["value"] = int(values["value"])
        return values

    def test_results_and_hashes_are_those_of_go(self):
        compared = 0
        for text in (VECTORS / "map-printed.txt").read_text(encoding="utf-8").splitlines():
            if text.startswith("#"):
                continue
            first, *words = shlex.split(text)
            if first == "run":
                _, verb, *arguments = words
                line = self.map(self.VERBS.get(verb, verb), *arguments)
            elif first == "printed":
                expected = self.printed(words)
                self.assertEqual(self.ours(line, expected), expected, text)
                compared += 1
            else:
                self.assertEqual(self.fields(), dict(zip(words[::2], words[1::2])))
                compared += 1
        self.assertEqual(compared, 30 + 3)


if __name__ == "__main__":
    main()
