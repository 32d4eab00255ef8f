"""For CI services that show test results: a JUnit report with a suite a file and a failed case a finding.

What is only `info` fails no run and no case; files without findings are counted by one case that passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from losslint.check import Report
from losslint.findings import Finding, Severity
from losslint.output.account import account
from losslint.output.text import Line, counted, escape, plain, where


def render(report: Report, width: int) -> Iterator[Line]:
    """The document, indented."""
    root = Element("testsuites", name="losslint")
    for file in report.files:
        if file.findings:
            _count(_suite(root, file.name, file.findings))
    for name, message in report.unchecked:
        suite = SubElement(root, "testsuite", name=escape(name), package="losslint")
        case = SubElement(suite, "testcase", name="not checked", classname=escape(name), time="0")
        SubElement(case, "error", message=escape(message), type="not-checked")
        _count(suite)
    clean = sum(not file.findings and file.failure is None for file in report.files)
    if clean or not len(root):
        suite = SubElement(root, "testsuite", name="losslint", package="losslint")
        SubElement(suite, "testcase", name=f"{counted(clean, 'file')} without findings", classname="losslint", time="0")
        _count(suite)
    for kind in ("tests", "failures", "errors"):
        root.set(kind, str(sum(int(suite.get(kind, "0")) for suite in root)))
    indent(root)
    document = f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}'
    return map(plain, document.split("\n"))


def _suite(root: Element, name: str, findings: tuple[Finding, ...]) -> Element:
    suite = SubElement(root, "testsuite", name=escape(name), package="losslint")
    for finding in findings:
        place = f"{where(finding.path, finding.cell)}:{finding.range.start_line}:{finding.range.start_column}"
        case = SubElement(suite, "testcase", name=f"{finding.code} {escape(place)}", classname=escape(name), time="0")
        case.set("line", str(finding.range.start_line))
        message, *rest = account(finding)
        text = "\n".join([f"{escape(place)}: {finding.code} {message}", *rest, finding.url])
        if finding.severity > Severity.INFO:
            SubElement(case, "failure", message=message, type=finding.severity.label).text = text
        else:
            SubElement(case, "system-out").text = text
    return suite


def _count(suite: Element) -> None:
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
