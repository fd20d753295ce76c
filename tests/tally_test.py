#!/usr/bin/env python3
"""Proves that tally.py counts gtest's cases, and that a crash or a timeout is never lost."""
import contextlib
import io
import json
import pathlib
import tempfile
import unittest

import tally

XML = """<testsuites><testsuite name="attest.unit base.Text">
  <testcase classname="Text" name="Splits" status="run"/>
  <testcase classname="Text" name="Joins" status="run"><failure message="text_test.cc:7: no"/></testcase>
  <testcase classname="Text" name="Waits" status="run"><skipped message="no KVM here"/></testcase>
  <testcase classname="Text" name="DISABLED_Old" status="notrun"/>
</testsuite></testsuites>"""


class Tally(unittest.TestCase):
    def tally(self, records=(), report="<testsuites/>", cases=""):
        with tempfile.TemporaryDirectory() as temp:
            results = pathlib.Path(temp)
            lines = [json.dumps({"name": n, "result": r, "returncode": c}) for n, r, c in records]
            (results / "plain.json").write_text("\n".join(lines))
            (results / "plain.junit.xml").write_text(report)
            (results / "cases.tsv").write_text(cases)
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                code = tally.tally(results)
            return code, out.getvalue().splitlines()

    def test_each_case_of_a_gtest_program_counts(self):
        code, lines = self.tally([("unit base", "FAIL", 1)], XML)
        self.assertEqual(lines[-1], "1 passed, 1 failed, 2 skipped")
        self.assertIn("skipped: plain: unit base: Text.Waits: no KVM here", lines)
        self.assertEqual(code, 1)

    def test_a_program_without_a_report_is_one_case(self):
        for result, line in [
            ("OK", "1 passed, 0 failed, 0 skipped"),
            ("FAIL", "0 passed, 1 failed, 0 skipped"),
            ("TIMEOUT", "0 passed, 1 failed, 0 skipped"),
            ("ERROR", "0 passed, 1 failed, 0 skipped"),
            ("SKIP", "0 passed, 0 failed, 1 skipped"),
        ]:
            self.assertEqual(self.tally([("layers", result, 9)])[1][-1], line)

    def test_a_failure_outside_the_cases_is_not_lost(self):
        green = XML.replace("failure", "system-out")
        code, lines = self.tally([("unit base", "TIMEOUT", -9)], green)
        self.assertEqual(lines[-1], "2 passed, 1 failed, 2 skipped")
        self.assertEqual(code, 1)

    def test_other_checks_count_too(self):
        code, lines = self.tally(cases="passed\tfuzz text\nskipped\ttidy\tno git\n")
        self.assertEqual(lines, ["skipped: tidy: no git", "1 passed, 0 failed, 1 skipped"])
        self.assertEqual(code, 0)

    def test_nothing_at_all_is_a_failure(self):
        self.assertEqual(self.tally()[0], 1)


unittest.main()
