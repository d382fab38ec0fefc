"""Counts the cases of a `meson test` run from the runner's own files.

usage: count_results.py BUILD_DIRECTORY

Prints "N passed, N failed, N skipped", and before that each case that failed; what their programs
printed stands in meson-logs/failures.txt.  The exit status is 1 when one failed or none ran.  Cases
come from the JUnit file (GoogleTest's own, TAP, or one per program); how each program ended comes
from testlog.json, since a program that crashes or is killed at its time limit leaves cases that look
well, or none."""

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


def main():
    logs = pathlib.Path(sys.argv[1]) / "meson-logs"
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    failed = []
    reports = []
    if (logs / "testlog.json").exists() and (logs / "testlog.junit.xml").exists():
        root = tree.parse(logs / "testlog.junit.xml").getroot()
        programs = [json.loads(line) for line in (logs / "testlog.json").read_text().splitlines()]
        for program in programs:
            name, result = program["name"], program["result"]
            cases = list(cases_of(root, name))
            if not cases and result in GOOD:
                cases = [(name, "skipped" if result == "SKIP" else "passed")]
            if result not in GOOD and not any(found == "failed" for _, found in cases):
                cases.append((f"{name}: {result}, exit status {program.get('returncode')}", "failed"))
            if any(found == "failed" for _, found in cases):
                reports.append(printed(program))
            for case, found in cases:
                counts[found] += 1
                if found == "failed":
                    failed.append(case)
    if logs.is_dir():
        (logs / "failures.txt").write_text("".join(reports))
    for case in failed:
        print(f"failed: {case}")
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    sys.exit(1 if counts["failed"] or not counts["passed"] else 0)


main()
