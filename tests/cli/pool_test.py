"""Worker pools: what each verb prints, and which processes run where through faults."""

import os
import shutil
import signal
import tempfile

from harness import DEADLINE_S, ToolTest, main, until

# The dead are noticed soon, and still not before their time on a busy machine.
QUICK = ("--ttl", "2s", "--grace", "5s")


def is_event(name, key=None):
    return lambda line: line.get("event") == name and (key is None or line["key"] == key)


def alive(pid):
    """Whether the process runs: one that waits to be reaped does not."""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class PoolTest(ToolTest):
    def setUp(self):
        super().setUp()
        self.directory = tempfile.mkdtemp(prefix="pulse-pool-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.directory, name)

    def worker(self, *options, workers=1):
        """A `worker` whose workers are all ready."""
        tool = self.start_tool("worker", self.stream, *QUICK, "--workers", str(workers), *options)
        for _ in range(workers):
            tool.line_where(is_event("ready"), "ready")
        return tool

    def call(self, verb, *arguments, **keywords):
        lines = self.run_tool(verb, self.stream, *arguments, *QUICK, **keywords).lines
        self.assertEqual(len(lines), 1, lines)
        self.assertGreaterEqual(lines[0].pop("ms"), 0)
        return lines[0]

    def dispatch(self, key, *payload, **keywords):
        return self.call("dispatch", key, *payload, **keywords)

    def jobs(self):
        return {line["key"]: line for line in self.run_tool("jobs", self.stream, *QUICK).lines}

    def ended(self, tool):
        tool.signal(signal.SIGTERM)
        lines = tool.rest()
        self.assertEqual(tool.wait(), 0, tool.err())
        return lines


STARTED = {"result": "started", "error": None}
REQUESTED = {"result": "requested", "error": None}


class Verbs(PoolTest):
    def test_the_life_of_a_job(self):
        tool = self.start_tool("worker", self.stream, *QUICK)
        ready = tool.line()
        self.assertEqual(list(ready), ["event", "key", "payload", "worker", "node"])
        self.assertEqual((ready["event"], ready["key"], ready["payload"]), ("ready", None, None))
        self.assertEqual((len(ready["worker"]), len(ready["node"])), (26, 26))
        ids = {"worker": ready["worker"], "node": ready["node"]}
        self.assertEqual(self.dispatch("k", "what to do"), STARTED)
        self.assertEqual(tool.line(),
                         {"event": "start", "key": "k", "payload": "what to do", **ids})
        self.assertEqual(self.run_tool("jobs", self.stream, *QUICK).lines,
                         [{"key": "k", "state": "owned", **ids}])
        self.assertEqual(self.call("notify", "k", "-", data=b"\xff"), REQUESTED)
        self.assertEqual(tool.line(),
                         {"event": "notify", "key": "k", "payload_base64": "/w==", **ids})
        self.assertEqual(self.call("stop", "k"), REQUESTED)
        self.assertEqual(tool.line(),
                         {"event": "stop", "key": "k", "payload": "what to do", **ids})
        until(lambda: self.jobs() == {}, "the job is gone")
        none = {"key": None, "payload": None}
        self.assertEqual(self.ended(tool), [
            {"event": "closed", **none, **ids},
            {"event": "closed", **none, "worker": None, "node": ids["node"], "handed_over": 0}])

    def test_payloads_from_standard_input_and_files(self):
        tool = self.worker()
        with open(self.path("file"), "wb") as file:
            file.write(b"of a file\n")
        self.dispatch("a", "-", data=b"piped\n")
        self.dispatch("b", "@" + self.path("file"))
        self.dispatch("c")
        for key, payload in (("a", "piped\n"), ("b", "of a file\n"), ("c", "")):
            line = tool.line_where(is_event("start"), "a start")
            self.assertEqual((line["key"], line["payload"]), (key, payload))

    def test_dispatch_tells_why_it_did_not_start_the_job(self):
        result = self.dispatch("k", code=1)
        self.assertEqual(result["result"], "no_pool")
        self.assertTrue(result["error"])
        for verb in ("stop", "notify"):
            self.assertEqual(self.call(verb, "k", code=1)["result"], "no_pool")
        self.worker()
        self.assertEqual(self.dispatch("k"), STARTED)
        self.assertEqual(self.dispatch("k", code=1)["result"], "exists")
        self.server.command("HSET", "map:%s:shutdown:content" % self.stream, "shutdown", "x",
                            "=rev", "1", "=kind", "set")
        self.assertEqual(self.dispatch("l", code=1)["result"], "shutting_down")

    def test_a_call_that_is_refused_leaves_no_node_behind(self):
        for verb in ("dispatch", "stop", "notify"):
            for key in ("", "a=b"):
                self.run_tool(verb, self.stream, key, *QUICK, code=2)
        self.assertEqual(self.run_tool("nodes", self.stream, *QUICK).lines, [])

    def test_without_a_worker_the_outcome_is_unknown(self):
        node = self.start_tool("jobs", self.stream, "--watch", *QUICK)
        until(lambda: self.run_tool("nodes", self.stream, *QUICK).lines, "the node is there")
        lines = self.run_tool("dispatch", self.stream, "k", "--ttl", "2s", "--grace", "100ms",
                              code=1).lines
        self.assertEqual(lines[0]["result"], "unknown")
        asking = self.start_tool("dispatch", self.stream, "l", *QUICK)
        until(lambda: self.server.command(
            "HEXISTS", "map:%s:pending-jobs:content" % self.stream, "l"), "it is dispatched")
        asking.signal(signal.SIGINT)
        self.assertEqual(asking.line()["result"], "unknown")
        self.assertEqual(asking.wait(), 1)
        self.ended(node)

    def test_jobs_are_watched(self):
        watch = self.start_tool("jobs", self.stream, "--watch", *QUICK)
        first = self.worker()
        self.dispatch("k")
        added = watch.line_where(lambda line: line.get("state") == "owned", "the job")
        self.assertEqual(added["key"], "k")
        self.assertIn(added["change"], ("added", "changed"))
        self.ended(first)
        second = self.worker()
        second.line_where(is_event("start", "k"), "the start")
        moved = watch.line_where(lambda line: line.get("worker") not in (None, added["worker"]),
                                 "the move")
        self.assertEqual((moved["change"], moved["state"]), ("changed", "owned"))
        self.call("stop", "k")
        self.assertEqual(watch.line_where(lambda line: line["change"] == "removed", "the end"),
                         {"change": "removed", "key": "k"})
        self.assertEqual(self.ended(watch), [])

    def test_workers_and_nodes_are_listed(self):
        tool = self.worker(workers=3)
        workers = self.run_tool("workers", self.stream, *QUICK).lines
        ready = [line for line in tool.seen if line["event"] == "ready"]
        self.assertEqual({line["worker"] for line in workers}, {line["worker"] for line in ready})
        self.assertEqual({line["node"] for line in workers}, {ready[0]["node"]})
        self.assertEqual([line["active"] for line in workers], [True] * 3)
        nodes = self.run_tool("nodes", self.stream, *QUICK).lines
        self.assertEqual([line["node"] for line in nodes], [ready[0]["node"]])

    def test_a_worker_that_ends_hands_its_jobs_over(self):
        first = self.worker()
        for i in range(10):
            self.assertEqual(self.dispatch("k%d" % i), STARTED)
        second = self.worker(workers=2)
        lines = self.ended(first)
        keys = {"k%d" % i for i in range(10)}
        self.assertEqual(lines[-1]["event"], "closed")
        self.assertEqual({line["key"] for line in first.seen if line["event"] == "moved"}, keys)
        # Some of them once more, from one of its workers to the other.
        started = set()
        while started != keys:
            started.add(second.line_where(is_event("start"), "a start")["key"])
        until(lambda: {job["node"] for job in self.jobs().values()} == {second.seen[0]["node"]},
              "all are there")
        self.assertEqual(set(self.jobs()), keys)

    def test_rendezvous_routing(self):
        options = ("--routing", "rendezvous")
        tool = self.worker(*options)
        self.assertEqual(self.dispatch("k", *options), STARTED)
        tool.line_where(is_event("start", "k"), "the start")
        result = self.run_tool("jobs", self.stream, *QUICK, code=2)
        self.assertIn("rendezvous", result.err)

    def test_a_shutdown_ends_all(self):
        tools = [self.worker(), self.worker()]
        watch = self.start_tool("jobs", self.stream, "--watch", *QUICK)
        for i in range(4):
            self.dispatch("k%d" % i)
        watch.line_where(lambda line: line["key"] == "k3", "the job is seen")
        self.assertEqual(self.call("shutdown"), {"result": "shut_down", "error": None})
        for tool in tools:
            self.assertEqual(tool.rest()[-1]["reason"], "shutdown")
            self.assertEqual(tool.wait(), 0, tool.err())
        self.assertEqual({line["key"] for line in watch.rest() if line["change"] == "removed"},
                         {"k%d" % i for i in range(4)})
        self.assertEqual(watch.wait(), 0, watch.err())
        self.assertEqual(self.jobs(), {})

    def test_nobody_reads_any_more(self):
        process, pipe = self.start_piped("worker", self.stream, *QUICK)
        pipe.readline()
        pipe.close()
        self.assertEqual(process.wait(timeout=DEADLINE_S), 0)
        self.assertEqual(self.run_tool("nodes", self.stream, *QUICK).lines, [])


class Tickers(PoolTest):
    def ticker(self, *arguments):
        tool = self.start_tool("ticker", self.stream, "beat", *arguments, *QUICK)
        return tool, tool.line_where(is_event("ready"), "ready")

    def entry(self):
        return self.server.command("HGET", "map:%s:tickers:content" % self.stream,
                                   self.stream + ":beat")

    def test_one_of_all_gets_each_tick(self):
        tools = []
        for how in ("new", "adopted"):
            tool, ready = self.ticker("50ms")
            self.assertEqual(ready, {"event": "ready", "name": "beat", "ticker": how,
                                     "interval_ns": 50000000})
            tools.append(tool)
        first, second = tools
        other, ready = self.ticker("0.1s")
        self.assertEqual(ready["ticker"], "replaced")
        for tool in tools:
            self.assertEqual(tool.line_where(is_event("changed"), "the change"),
                             {"event": "changed", "name": "beat", "interval_ns": 100000000})
        self.ended(other)
        self.ended(second)
        ticks = [first.line_where(is_event("tick"), "a tick") for _ in range(4)]
        self.assertEqual(list(ticks[0]), ["event", "name", "time_us", "missed"])
        for before, now in zip(ticks, ticks[1:]):
            self.assertEqual(now["time_us"],
                             before["time_us"] + 100000 * (1 + now["missed"]))
        self.assertEqual(self.ended(first)[-1],
                         {"event": "closed", "name": "beat", "reason": "here"})
        self.assertTrue(self.entry().endswith("|100ms"), self.entry())

    def test_a_ticker_is_stopped_for_all(self):
        stop = ("ticker", self.stream, "beat", "--stop", *QUICK)
        self.assertEqual(self.run_tool(*stop).lines,
                         [{"event": "stopped", "name": "beat", "existed": False}])
        tools = [self.ticker("50ms")[0] for _ in range(2)]
        self.assertEqual(self.run_tool(*stop).lines,
                         [{"event": "stopped", "name": "beat", "existed": True}])
        for tool in tools:
            self.assertEqual(tool.rest()[-1],
                             {"event": "closed", "name": "beat", "reason": "stopped"})
            self.assertEqual(tool.wait(), 0, tool.err())
        self.assertIsNone(self.entry())

    def test_missed_ticks_are_made_up_for_on_request(self):
        self.server.command("HSET", "map:%s:tickers:content" % self.stream, self.stream + ":beat",
                            "1600000000000000|1h0m0s", "=rev", "1", "=kind", "set")
        tool, ready = self.ticker("1h", "--catch-up")
        self.assertEqual(ready["ticker"], "adopted")
        tick = tool.line_where(is_event("tick"), "a tick")
        self.assertEqual(tick["time_us"], 1600000000000000 + 3600000000 * tick["missed"])

    def test_the_shutdown_of_the_pool_ends_it(self):
        tool, _ = self.ticker("50ms")
        self.call("shutdown")
        self.assertEqual(tool.rest()[-1],
                         {"event": "closed", "name": "beat", "reason": "shutdown"})
        self.assertEqual(tool.wait(), 0, tool.err())


class Exec(PoolTest):
    def pid_of(self, name):
        """A number that a command has written to a file as a line."""
        def read():
            try:
                with open(self.path(name), encoding="ascii") as file:
                    text = file.read()
            except FileNotFoundError:
                return None
            return int(text) if text.endswith("\n") else None
        return until(read, "the file " + name)

    # Runs until it is stopped; says where.
    STAYS = 'echo $$ > "%s/$PULSE_KEY.$PULSE_WORKER"; exec sleep 1000'

    def stays(self, *options):
        tool = self.worker("--exec", self.STAYS % self.directory, *options)
        return tool, tool.seen[0]["worker"]

    def pid_at(self, key, worker):
        return self.pid_of("%s.%s" % (key, worker))

    def test_the_command_gets_payload_and_environment(self):
        tool = self.worker("--exec", "cat > %s; env > %s; echo to-standard-error"
                           % (self.path("payload"), self.path("env")))
        ids = {name: tool.seen[0][name] for name in ("worker", "node")}
        payload = bytes(range(256)) * 4096
        self.assertEqual(self.dispatch("the key", "-", data=payload), STARTED)
        tool.notice("exec_finished")
        with open(self.path("payload"), "rb") as file:
            self.assertEqual(file.read(), payload)
        with open(self.path("env"), encoding="utf-8") as file:
            lines = file.read().splitlines()
        for line in ("PULSE_KEY=the key", "PULSE_POOL=" + self.stream, "PULSE_REQUEUED=0",
                     "PULSE_WORKER=" + ids["worker"], "PULSE_NODE=" + ids["node"]):
            self.assertIn(line, lines)
        self.ended(tool)
        self.assertIn("to-standard-error", tool.err())

    def test_exit_0_ends_the_job(self):
        tool = self.worker("--exec", "true")
        self.assertEqual(self.dispatch("k"), STARTED)
        line = tool.notice("exec_finished")
        self.assertEqual(line["key"], "k")
        until(lambda: self.jobs() == {}, "the job is gone")
        # The key is free.
        self.assertEqual(self.dispatch("k"), STARTED)

    def test_a_failure_is_started_again(self):
        runs = self.path("runs")
        tool = self.worker("--exec", "echo run >> %s; test $(wc -l < %s) -ge 3 || exit 7"
                           % (runs, runs))
        self.assertEqual(self.dispatch("k"), STARTED)
        for failures, pause in ((1, 250), (2, 500)):
            line = tool.notice("exec_failed")
            self.assertEqual((line["key"], line["exit_status"], line["failures"],
                              line["retry_ms"]), ("k", 7, failures, pause))
        tool.notice("exec_finished")
        self.assertEqual(len([line for line in tool.seen if line.get("event") == "start"]), 1)

    def test_retries_have_an_end(self):
        tool = self.worker("--exec", "kill -9 $$", "--retries", "1")
        self.assertEqual(self.dispatch("k"), STARTED)
        for retry_ms in (250, None):
            line = tool.notice("exec_failed")
            self.assertEqual((line["exit_status"], line["signal"], line["retry_ms"]),
                             (None, 9, retry_ms))
        until(lambda: self.jobs() == {}, "the job is gone")

    def test_stop_ends_the_whole_group_with_sigterm(self):
        # The shell dies at once, its child takes its time: the job has stopped when both are gone.
        child = self.path("child.sh")
        with open(child, "w", encoding="ascii") as file:
            file.write('trap "until test -e %s; do sleep 0.02; done; echo clean > %s; exit" TERM\n'
                       "echo $$ > %s\nwhile :; do sleep 0.02; done\n"
                       % (self.path("go"), self.path("clean"), self.path("pid")))
        tool = self.worker("--exec", "sh %s; true" % child)
        self.assertEqual(self.dispatch("k"), STARTED)
        pid = self.pid_of("pid")
        self.call("stop", "k")
        tool.line_where(is_event("stop", "k"), "the stop")
        # Not stopped yet, and the tool does something else meanwhile.
        self.call("notify", "other")
        self.assertEqual(self.jobs()["k"]["state"], "owned")
        self.assertTrue(alive(pid))
        with open(self.path("go"), "w", encoding="ascii"):
            pass
        until(lambda: self.jobs() == {}, "the job is gone")
        self.assertTrue(os.path.exists(self.path("clean")))
        self.assertFalse(alive(pid))

    def test_a_slow_stop_delays_no_other_job(self):
        tool = self.worker("--exec", 'trap "" TERM; echo $$ > %s/$PULSE_KEY; read x; sleep $x & '
                           'while :; do wait; done' % self.directory)
        self.dispatch("stubborn", "1000")
        pid = self.pid_of("stubborn")
        self.call("stop", "stubborn")
        tool.line_where(is_event("stop"), "the stop")
        self.assertEqual(self.dispatch("other", "1000"), STARTED)
        self.assertTrue(alive(pid))
        # SIGKILL in the end.
        until(lambda: set(self.jobs()) == {"other"}, "the stubborn job is gone")
        self.assertFalse(alive(pid))

    def test_a_stop_between_two_tries(self):
        tool = self.worker("--exec", "exit 1")
        self.dispatch("k")
        for _ in range(4):
            tool.notice("exec_failed")
        self.call("stop", "k")
        tool.line_where(is_event("stop", "k"), "the stop")
        until(lambda: self.jobs() == {}, "the job is gone")

    def test_jobs_move_when_the_tool_ends(self):
        first, here = self.stays()
        self.assertEqual(self.dispatch("k", "p"), STARTED)
        pid = self.pid_at("k", here)
        second, there = self.stays()
        first.signal(signal.SIGTERM)
        second.line_where(is_event("start", "k"), "the start")
        self.assertFalse(alive(pid))
        self.assertTrue(alive(self.pid_at("k", there)))
        self.assertEqual(first.wait(), 0, first.err())
        self.ended(second)
        self.assertFalse(alive(self.pid_at("k", there)))

    def test_a_command_that_is_told_to_end_along_with_the_tool_goes_on_elsewhere(self):
        # As supervisors do that signal every process of a service.
        first = self.worker("--exec", 'trap "exit 0" TERM; echo $$ > %s; while :; do sleep 0.02; '
                            'done' % self.path("pid"))
        self.dispatch("k")
        pid = self.pid_of("pid")
        first.signal(signal.SIGSTOP)
        first.signal(signal.SIGTERM)
        os.kill(pid, signal.SIGTERM)
        until(lambda: not alive(pid), "the command has ended")
        first.signal(signal.SIGCONT)
        self.assertEqual(first.wait(), 0, first.err())
        second, there = self.stays()
        second.line_where(is_event("start", "k"), "the start")

    def test_jobs_of_a_killed_tool_run_elsewhere_and_its_processes_are_gone(self):
        first, here = self.stays()
        self.assertEqual(self.dispatch("k", "p"), STARTED)
        pid = self.pid_at("k", here)
        second, there = self.stays()
        first.signal(signal.SIGKILL)
        first.wait()
        line = second.line_where(is_event("start", "k"), "the start")
        self.assertEqual((line["payload"], line["worker"]), ("p", there))
        self.assertFalse(alive(pid))
        self.assertTrue(alive(self.pid_at("k", there)))
        self.assertEqual(self.jobs()["k"]["worker"], there)

    def test_a_worker_that_was_declared_dead_stops_its_processes_first(self):
        tool, before = self.stays()
        self.dispatch("k")
        pid = self.pid_at("k", before)
        self.server.command("HDEL", "map:%s:workers:content" % self.stream, before)
        self.assertEqual(tool.line_where(is_event("stop", "k"), "the stop")["reason"], "lost")
        after = tool.line_where(is_event("start", "k"), "the start")["worker"]
        self.assertNotEqual(before, after)
        self.assertFalse(alive(pid))
        self.assertTrue(alive(self.pid_at("k", after)))


if __name__ == "__main__":
    main()
