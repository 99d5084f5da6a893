"""A campaign as JUnit XML, for whatever CI there is. Pure.

Three suites: ``rules`` has a case for each rule (a failure names every seed that broke it),
``sometimes`` a case for each interesting state, ``seeds`` a case for each seed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from cluster.conformance.summary import CRASH, failure_line, unreached_line

if TYPE_CHECKING:
    from cluster.conformance.summary import Failure, SeedOutcome, Summary

_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has no way to write; messages may quote anything."""

_LISTED: Final = 20
"""Failures that a case spells out; the others are counted."""


def junit_xml(campaign: str, summary: Summary) -> str:
    """The whole document."""
    root = ET.Element("testsuites", name=campaign)
    _rules(root, summary)
    _sometimes(root, summary)
    _seeds(root, summary)
    for suite in root:
        cases = list(suite)
        suite.set("tests", str(len(cases)))
        suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
        suite.set("errors", str(sum(case.find("error") is not None for case in cases)))
        suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    root.set("time", f"{summary.real_seconds:.3f}")
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _rules(root: ET.Element, summary: Summary) -> None:
    suite = ET.SubElement(root, "testsuite", name="rules")
    failed: dict[str, list[tuple[SeedOutcome, Failure]]] = {}
    for outcome in summary.outcomes:
        for failure in outcome.failures:
            failed.setdefault(failure.violation.rule, []).append((outcome, failure))
    for rule in [*summary.rules, *(rule for rule in failed if rule not in summary.rules)]:
        case = ET.SubElement(suite, "testcase", classname=f"{summary.system}.rules", name=rule)
        if rule in failed:
            found = failed[rule]
            lines = [failure_line(outcome.seed, failure) for outcome, failure in found[:_LISTED]]
            if len(found) > _LISTED:
                lines.append(f"and {len(found) - _LISTED} more seeds")
            _add(case, "failure", f"broken in {len(found)} of {summary.seeds} seeds", lines)
            continue
        counts = summary.rules[rule]
        if counts.unknown and not counts.proves:
            why = [
                f"seed {outcome.seed}: {outcome.why_unknown[rule]}"
                for outcome in summary.outcomes
                if rule in outcome.why_unknown
            ]
            _add(case, "error", "no seed shows what this rule is about", why[:_LISTED])
        elif not counts.passed:
            _add(case, "skipped", "not applicable to this system", [])


def _sometimes(root: ET.Element, summary: Summary) -> None:
    suite = ET.SubElement(root, "testsuite", name="sometimes")
    for state, count in summary.sometimes.items():
        name = f"{summary.system}.sometimes"
        case = ET.SubElement(suite, "testcase", classname=name, name=state)
        if state in summary.unreached:
            _add(case, "failure", unreached_line(summary, state), [])
        elif not count:
            _add(case, "skipped", f"not reached; {summary.seeds} seeds are too few to tell", [])


def _seeds(root: ET.Element, summary: Summary) -> None:
    suite = ET.SubElement(root, "testsuite", name="seeds")
    for outcome in summary.outcomes:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=f"{summary.system}.seeds",
            name=f"seed {outcome.seed}",
            time=f"{outcome.real_seconds:.3f}",
        )
        if outcome.failures:
            lines = [failure_line(outcome.seed, failure) for failure in outcome.failures]
            broken = [failure.violation.rule for failure in outcome.failures]
            _add(case, "error" if CRASH in broken else "failure", ", ".join(broken), lines)
        elif not outcome.proves:
            lines = [f"{rule}: {why}" for rule, why in outcome.why_unknown.items()]
            _add(case, "error", f"unknown: {', '.join(outcome.why_unknown)}", lines)


def _add(case: ET.Element, kind: str, message: str, lines: list[str]) -> None:
    element = ET.SubElement(
        case, kind, message=_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", message)
    )
    if lines:
        text = "\n".join(lines)
        element.text = _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
