"""Counts the cases of a `meson test` run from the runner's own files.

usage: count_results.py BUILD_DIRECTORY [--programs]

Prints "N passed, N failed, N skipped", and before that each case that failed; what their programs
printed stands in meson-logs/failures.txt.  The exit status is 1 when one failed or none ran.  Cases
come from the JUnit file (GoogleTest's own, TAP, or one per program); how each program ended comes
from testlog.json, since a program that crashes or is killed at its time limit leaves cases that look
well, or none.

A program that was run again (logs called "repeated") counts as it ended then; what failed the first
time is named as unstable, and stands in failures.txt as well.

--programs: only the names of the programs that failed, one per line."""

import json
import pathlib
import re
import sys
import xml.etree.ElementTree as tree

GOOD = {"OK", "EXPECTEDFAIL", "SKIP", "IGNORED"}


def outcome(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    if case.get("status") == "notrun":  # DISABLED_
        return None
    return "skipped" if case.find("skipped") is not None else "passed"


def cases_of(root, program):
    """(name, outcome) of each case of one test program; none when the file has it only as a whole."""
    for suite in root.iter("testsuite"):
        # TAP: "project.program"; GoogleTest: "project.program.suite".
        name = suite.get("name", "").partition(".")[2]
        if name != program and not name.startswith(program + "."):
            continue
        for case in suite.iter("testcase"):
            result = outcome(case)
            if result:
                yield f"{name}: {case.get('name')}", result


# What a program printed around its failures, and at its end.
def printed(program, most=80):
    lines = (program.get("stdout", "") + program.get("stderr", "")).splitlines()
    failure = re.compile(r"^not ok|FAILED|FAIL:|[Ee]rror:|Failure|Sanitizer|Traceback")
    shown = set(range(len(lines) - 5, len(lines)))
    for at, line in enumerate(lines):
        if failure.search(line):
            shown.update(range(at - 8, at + 4))
    kept = [lines[at] for at in sorted(shown) if 0 <= at < len(lines)]
    return "\n".join([f"---- {program['name']}", *kept[:most]]) + "\n"


# (program, its cases as (name, outcome)) of all programs of one run.
def results_of(logs, base):
    log, junit = logs / f"{base}.json", logs / f"{base}.junit.xml"
    if not log.exists() or not junit.exists():
        return
    root = tree.parse(junit).getroot()
    for program in map(json.loads, log.read_text().splitlines()):
        name, result = program["name"], program["result"]
        cases = list(cases_of(root, name))
        if not cases and result in GOOD:
            cases = [(name, "skipped" if result == "SKIP" else "passed")]
        if result not in GOOD and not any(found == "failed" for _, found in cases):
            cases.append((f"{name}: {result}, exit status {program.get('returncode')}", "failed"))
        yield program, cases


def failures(cases):
    return [case for case, found in cases if found == "failed"]


def main():
    logs = pathlib.Path(sys.argv[1]) / "meson-logs"
    first = list(results_of(logs, "testlog"))
    if sys.argv[2:] == ["--programs"]:
        for program, cases in first:
            if failures(cases):
                print(program["name"].rpartition(" / ")[2])
        return
    repeated = {program["name"]: (program, cases) for program, cases in results_of(logs, "repeated")}
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    reports = []
    for program, cases in first:
        again = repeated.get(program["name"])
        if failures(cases):
            reports.append(printed(program))
        if again and failures(cases):
            for case in failures(cases):
                print(f"unstable: {case}")
            program, cases = again
            if failures(cases):
                reports.append(printed(program))
        for case in failures(cases):
            print(f"failed: {case}")
        for _, found in cases:
            counts[found] += 1
    if logs.is_dir():
        (logs / "failures.txt").write_text("".join(reports))
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    sys.exit(1 if counts["failed"] or not counts["passed"] else 0)


main()
