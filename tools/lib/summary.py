"""Adds up a test run: summary.py RESULTS STAGE=STATUS…

RESULTS holds JUnit files: one per GoogleTest binary, lit.xml, e2e.xml and
CTest's own ctest.xml. A stage that failed without a failed test to show for it
(a broken build, a test binary that crashed) counts as one failure.
Exits 0 only when something passed and nothing failed.
"""

import sys
import xml.etree.ElementTree as xml
from pathlib import Path


def outcome(case):
    """One JUnit test case as 'passed', 'failed' or 'skipped'."""
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    if case.find("skipped") is not None or case.get("status") == "notrun":
        return "skipped"
    return "passed"


def read(path):
    """Test cases of a JUnit file as (name, outcome, seconds)."""
    for case in xml.parse(path).getroot().iter("testcase"):
        name = ".".join(dict.fromkeys((case.get("classname", ""), case.get("name", ""))))
        yield name, outcome(case), float(case.get("time") or 0)


def main():
    results, stages = Path(sys.argv[1]), dict(s.split("=") for s in sys.argv[2:])
    suites = {}
    for path in sorted(results.glob("*.xml")):
        if path.stem != "ctest":
            kind = path.stem if path.stem in ("lit", "e2e") else "unit"
            suites.setdefault(kind, []).extend(read(path))

    if (results / "ctest.xml").exists():
        for name, end, seconds in read(results / "ctest.xml"):
            test = name.split(".")[-1]
            report = results / f"{test}.xml"
            explained = report.exists() and any(c[1] == "failed" for c in read(report))
            if end == "failed" and not explained:
                kind = "lit" if test == "lit" else "unit"
                suites.setdefault(kind, []).append((name, "failed", seconds))

    shown = {"ctest": ("unit", "lit"), "e2e": ("e2e",)}
    for stage, status in stages.items():
        cases = [c for kind in shown.get(stage, ()) for c in suites.get(kind, ())]
        if stage == "format":
            suites[stage] = [("clang-format", "passed" if status == "0" else "failed", 0)]
        elif status != "0" and not any(c[1] == "failed" for c in cases):
            suites.setdefault(stage, []).append((f"{stage} (status {status})", "failed", 0))

    total = dict.fromkeys(("passed", "failed", "skipped"), 0)
    print(f"\n{'suite':10}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for kind, cases in suites.items():
        count = {end: sum(c[1] == end for c in cases) for end in total}
        for end in total:
            total[end] += count[end]
        seconds = sum(c[2] for c in cases)
        print(f"{kind:10}{count['passed']:8}{count['failed']:8}{count['skipped']:9}{seconds:9.1f}")
    for kind, cases in suites.items():
        for name, end, _ in cases:
            if end == "failed":
                print(f"FAILED {kind}: {name}")
    skipped = f", {total['skipped']} skipped" if total["skipped"] else ""
    print(f"{total['passed']} passed, {total['failed']} failed{skipped}")
    return 0 if total["passed"] and not total["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
