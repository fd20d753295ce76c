#!/usr/bin/env python3
"""Counts test cases: tally.py RESULTS. RESULTS holds what tests/run.sh has collected:

  LABEL.json, LABEL.junit.xml   from `meson test --logbase LABEL`
  cases.tsv                     other checks: passed|failed|skipped, name, reason

Lists what was skipped and what failed, then prints 'N passed, N failed, N skipped'. Exits with 1
if anything failed or nothing passed.
"""
import json
import pathlib
import sys
import xml.etree.ElementTree as xml


def gtest_case(case):
    for tag, outcome in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        if (found := case.find(tag)) is not None:
            return outcome, (found.get("message") or found.text or "").strip()
    if case.get("status") == "notrun":
        return "skipped", "disabled in the source"
    return "passed", ""


def meson_cases(log):
    """One record a line in the log: a test as Meson sees it. gtest's own cases are in the XML."""
    report = log.with_suffix(".junit.xml")
    suites = xml.parse(report).getroot().findall("testsuite") if report.exists() else []
    for line in log.read_text().splitlines():
        test = json.loads(line)
        name, result = test["name"], test["result"]
        cases = []
        for suite in suites:
            if suite.get("name").startswith(f"attest.{name}."):
                for case in suite.findall("testcase"):
                    label = f"{log.stem}: {name}: {case.get('classname')}.{case.get('name')}"
                    cases.append((*gtest_case(case), label))
        passed = result in ("OK", "EXPECTEDFAIL")
        # A crash or a timeout leaves no report; what failed outside a case counts once.
        if not passed and result != "SKIP" and not any(case[0] == "failed" for case in cases):
            said = f"{result.lower()}, exit code {test['returncode']}"
            cases.append(("failed", said, f"{log.stem}: {name}"))
        if not cases:
            reason = (test.get("stdout", "").strip().splitlines() or [""])[-1]
            cases.append(("passed" if passed else "skipped", reason, f"{log.stem}: {name}"))
        yield from cases


def tally(results):
    cases = [case for log in sorted(results.glob("*.json")) for case in meson_cases(log)]
    for line in (results / "cases.tsv").read_text().splitlines():
        outcome, name, reason = (line.split("\t") + ["", ""])[:3]
        cases.append((outcome, reason, name))
    for wanted in ("skipped", "failed"):
        for outcome, reason, name in cases:
            if outcome == wanted:
                print(f"{wanted}: {name}" + (f": {reason.splitlines()[0]}" if reason else ""))
    count = {o: sum(case[0] == o for case in cases) for o in ("passed", "failed", "skipped")}
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 1 if count["failed"] or not count["passed"] else 0


if __name__ == "__main__":
    sys.exit(tally(pathlib.Path(sys.argv[1])))
