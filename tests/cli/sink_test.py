"""sink: what is acked when, and what becomes of the rest."""

import json
import os
import signal
import tempfile

from harness import DEADLINE_S, ToolTest, events, main, payloads, until

# Longer than any deadline here: what arrives sooner was handed back, not taken for abandoned.
LONG = "%ds" % (10 * DEADLINE_S)


class Sink(ToolTest):
    def sink(self, *options):
        return self.start_tool("sink", self.stream, "g", "--from", "oldest", *options)

    def pending(self):
        return self.server.pending(self.stream, "g")

    def test_the_keys_are_these(self):
        event_id = self.add("created", "text", "--topic", "t")
        result = self.run_tool("sink", self.stream, "g", "--from", "oldest", "--count", "1")
        self.assertEqual(result.out.splitlines()[0], '{"notice":"ready"}')
        self.assertEqual(result.lines[1], {
            "id": event_id, "stream": self.stream, "name": "created", "topic": "t",
            "payload": "text", "headers": {}, "deliveries": 1})

    def test_acks_what_it_has_printed_and_hands_back_the_rest(self):
        self.add_numbers(1000)
        first = self.run_tool("sink", self.stream, "g", "--from", "oldest", "--grace", LONG,
                              "--count", "300").lines
        self.assertEqual(len(events(first)), 300)
        # Well within the grace period.
        second = self.run_tool("sink", self.stream, "g", "--grace", LONG, "--count", "700").lines
        self.assertEqual(sorted(payloads(first) + payloads(second), key=int),
                         [str(i) for i in range(1000)])
        self.assertEqual(self.pending(), 0)

    def test_newest_is_the_default(self):
        self.add("n", "before")
        tool = self.start_tool("sink", self.stream, "g")
        tool.notice("ready")
        self.add("n", "after")
        self.assertEqual(tool.event()["payload"], "after")

    def test_a_signal_ends_it_with_0_after_the_acks(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            tool = self.sink()
            tool.notice("ready")
            self.add("n", "p")
            tool.event()
            tool.signal(number)
            self.assertEqual(tool.wait(), 0, tool.err())
            self.assertEqual(self.pending(), 0)

    def test_leave_never_acks_and_hands_back(self):
        self.add_numbers(5)
        tool = self.sink("--leave", "--grace", LONG)
        for _ in range(5):
            tool.event()
        self.assertEqual(self.pending(), 5)
        tool.signal(signal.SIGTERM)
        self.assertEqual(tool.wait(), 0, tool.err())
        self.assertEqual(self.pending(), 5)
        lines = self.run_tool("sink", self.stream, "g", "--grace", LONG, "--count", "5").lines
        self.assertEqual({event["deliveries"] for event in events(lines)}, {2})

    def test_no_ack_leaves_nothing_pending(self):
        self.add_numbers(5)
        tool = self.sink("--no-ack")
        for _ in range(5):
            tool.event()
        self.assertEqual(self.pending(), 0)

    def test_what_a_killed_one_had_not_acked_comes_again(self):
        self.add_numbers(5)
        tool = self.sink("--leave", "--grace", "300ms")
        for _ in range(5):
            tool.event()
        tool.signal(signal.SIGKILL)
        tool.wait()
        lines = self.run_tool("sink", self.stream, "g", "--grace", "300ms", "--count", "5").lines
        self.assertEqual(payloads(lines), ["0", "1", "2", "3", "4"])
        self.assertEqual(self.pending(), 0)

    def test_two_share_the_events(self):
        tools = [self.sink(), self.sink()]
        for tool in tools:
            tool.notice("ready")
        self.add_numbers(200)
        until(lambda: self.server.command("XINFO", "GROUPS", self.server.key(self.stream)) and
              self.pending() == 0 and self._delivered_all(), "all is handled")
        for tool in tools:
            tool.signal(signal.SIGTERM)
        got = []
        for tool in tools:
            got += payloads(tool.rest())
            self.assertEqual(tool.wait(), 0, tool.err())
        self.assertEqual(sorted(got, key=int), [str(i) for i in range(200)])

    def _delivered_all(self):
        key = self.server.key(self.stream)
        group = self.server.command("XINFO", "GROUPS", key)[0]
        fields = dict(zip(group[::2], group[1::2]))
        return fields["last-delivered-id"] == self.server.command("XREVRANGE", key, "+", "-",
                                                                  "COUNT", 1)[0][0]

    def test_every_ack_is_waited_for_wherever_the_count_ends(self):
        self.add_numbers(5000)
        for i in range(10):
            # In each run another number of answers comes between the events.
            count = 4000 + 7 * i
            done = self.run_tool("sink", self.stream, "g%d" % i, "--from", "oldest", "--count",
                                 str(count))
            self.assertEqual(len(payloads(done.lines)), count)

    def test_nothing_is_lost_when_nobody_reads_the_output_any_more(self):
        self.add_numbers(5000)
        process, output = self.start_piped("sink", self.stream, "g", "--from", "oldest", "--grace",
                                           LONG)
        with output:
            self.assertEqual(json.loads(output.readline()), {"notice": "ready"})
            got = [json.loads(output.readline())["payload"] for _ in range(100)]
        self.assertEqual(process.wait(timeout=DEADLINE_S), 0)
        # What it wrote into the pipe and acked is gone with the pipe; all else is still there.
        acked = self._delivered() - self.pending()
        rest = self.run_tool("sink", self.stream, "g", "--grace", LONG, "--count",
                             str(5000 - acked)).lines
        missing = set(map(str, range(5000))) - set(got) - set(payloads(rest))
        self.assertEqual(len(got) + len(missing), acked)
        self.assertLess(acked, 5000)
        self.assertEqual(self.pending(), 0)

    def _delivered(self):
        """How many events were handed out at least once."""
        key = self.server.key(self.stream)
        group = self.server.command("XINFO", "GROUPS", key)[0]
        last = dict(zip(group[::2], group[1::2]))["last-delivered-id"]
        return len(self.server.command("XRANGE", key, "-", last))

    def test_filtered_events_are_acked(self):
        self.add("n", "1", "--topic", "a")
        self.add("n", "2", "--topic", "b")
        lines = self.run_tool("sink", self.stream, "g", "--from", "oldest", "--topic", "b",
                              "--count", "1").lines
        self.assertEqual(payloads(lines), ["2"])
        self.assertEqual(self.pending(), 0)

    def test_a_destroyed_group_is_made_anew_and_told(self):
        tool = self.sink()
        tool.notice("ready")
        self.add("n", "1")
        tool.event()
        until(lambda: self.pending() == 0, "the ack is there")
        self.server.command("XGROUP", "DESTROY", self.server.key(self.stream), "g")
        self.assertEqual(tool.notice("recreated")["stream"], self.stream)
        self.add("n", "2")
        # The first may come again: its consumer need not have learned of the ack.
        tool.line_where(lambda line: line.get("payload") == "2", "the second event")


class Exec(ToolTest):
    def pending(self):
        return self.server.pending(self.stream, "g")

    def sink(self, command, *options):
        return self.start_tool("sink", self.stream, "g", "--from", "oldest", "--exec", command,
                               *options)

    def setUp(self):
        super().setUp()
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def path(self, name):
        return os.path.join(self.directory.name, name)

    def text(self, name):
        with open(self.path(name)) as file:
            return file.read()

    def test_the_payload_is_its_input_and_the_event_its_environment(self):
        event_id = self.add("created", "some text", "--topic", "t")
        self.add("n", "without topic")
        command = ('{ cat; echo "|$PULSE_ID|$PULSE_STREAM|$PULSE_NAME|${PULSE_TOPIC-none}|'
                   '$PULSE_DELIVERIES"; } >> %s; echo to the error output' % self.path("out"))
        tool = self.sink(command, "--count", "2")
        lines = tool.rest()
        self.assertEqual(tool.wait(), 0)
        self.assertEqual(payloads(lines), ["some text", "without topic"])
        out = self.text("out").splitlines()
        self.assertEqual(out[0], "some text|%s|%s|created|t|1" % (event_id, self.stream))
        self.assertTrue(out[1].endswith("|n|none|1"), out[1])
        self.assertEqual(tool.err(), "to the error output\n" * 2)
        self.assertEqual(self.pending(), 0)

    def test_failure_brings_it_again_until_it_succeeds(self):
        self.add("n", "p")
        command = "cat >> %s; test $PULSE_DELIVERIES -ge 3 || exit 7" % self.path("out")
        tool = self.sink(command, "--count", "1")
        lines = tool.rest()
        self.assertEqual(tool.wait(), 0)
        failures = [line for line in lines if line.get("notice") == "exec_failed"]
        self.assertEqual([line["exit_status"] for line in failures], [7, 7])
        self.assertGreater(failures[1]["retry_ms"], failures[0]["retry_ms"])
        self.assertEqual([event["deliveries"] for event in events(lines)], [3])
        self.assertEqual(self.text("out"), "ppp")
        self.assertEqual(self.pending(), 0)

    def test_failing_events_do_not_hold_up_others(self):
        self.add("n", "bad")
        self.add("n", "good")
        tool = self.sink("! grep -q bad")
        self.assertEqual(tool.event()["payload"], "good")
        until(lambda: self.pending() == 1, "the good one is acked, the bad one is not")

    def test_a_killed_command_has_failed(self):
        self.add("n", "p")
        notice = self.sink("kill -9 $$").notice("exec_failed")
        self.assertEqual((notice["exit_status"], notice["signal"]), (None, 9))

    def test_a_large_payload_and_a_command_that_does_not_read_it(self):
        data = b"x" * 3000000
        self.add("n", "-", data=data)
        self.add("n", "-", data=data)
        tool = self.sink("test $(wc -c) = %d" % len(data), "--count", "1")
        tool.event()
        self.assertEqual(tool.wait(), 0)
        tool = self.sink("exec true", "--count", "1")
        tool.event()
        self.assertEqual(tool.wait(), 0)
        self.assertEqual(self.pending(), 0)

    def test_a_signal_ends_the_command_and_hands_the_event_back(self):
        self.add("n", "p")
        tool = self.sink("echo started > %s; sleep 1000" % self.path("out"), "--grace", LONG)
        tool.notice("ready")
        until(lambda: os.path.exists(self.path("out")), "the command runs")
        tool.signal(signal.SIGTERM)
        self.assertEqual(tool.wait(), 0, tool.err())
        self.assertEqual(self.pending(), 1)
        again = self.start_tool("sink", self.stream, "g", "--grace", LONG, "--count", "1")
        self.assertEqual(again.event()["deliveries"], 2)

    def test_a_slow_command_keeps_its_event(self):
        self.add("n", "p")
        grace = "200ms"
        tool = self.sink("echo started > %s; until test -e %s; do sleep 0.05; done"
                         % (self.path("out"), self.path("go")), "--grace", grace, "--count", "1")
        until(lambda: os.path.exists(self.path("out")), "the command runs")
        other = self.start_tool("sink", self.stream, "g", "--grace", grace)
        other.notice("ready")
        # Long enough for the other one to have taken it, had it not been renewed: several sweeps.
        consumer = self._pending_entry()
        renewals = 0
        last_idle = consumer[2]
        def renewed():
            nonlocal renewals, last_idle
            entry = self._pending_entry()
            self.assertEqual(entry[1], consumer[1], "the event went to the other consumer")
            if entry[2] < last_idle:
                renewals += 1
            last_idle = entry[2]
            return renewals >= 10
        until(renewed, "ten renewals")
        open(self.path("go"), "w").close()
        self.assertEqual(tool.event()["deliveries"], 1)
        self.assertEqual(tool.wait(), 0)
        self.assertEqual(self.pending(), 0)
        self.assertEqual(events(other.seen), [])

    def _pending_entry(self):
        key = self.server.key(self.stream)
        return self.server.command("XPENDING", key, "g", "-", "+", 1)[0]


if __name__ == "__main__":
    main()
