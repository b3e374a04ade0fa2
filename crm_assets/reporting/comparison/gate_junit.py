"""A gate as JUnit XML, which CI systems show as a test."""

from __future__ import annotations

import xml.etree.ElementTree as ET  # written only, never parsed

from crm_assets.reporting.comparison.gate import GateResult

__all__ = ["render_junit"]

_NAME = "crm-assets gate"


def render_junit(gate: GateResult) -> str:
    """Return the document: one test case, which fails if the run is worse and errs if undecided."""
    counts = {
        "tests": "1",
        "failures": str(int(gate.outcome == "worse")),
        "errors": str(int(gate.outcome == "undecided")),
        "skipped": "0",
    }
    root = ET.Element("testsuites", {"name": _NAME, **counts})
    suite = ET.SubElement(root, "testsuite", {"name": _NAME, **counts})
    properties = ET.SubElement(suite, "properties")
    facts = gate.model_dump(include={"dataset", "run", "reference", "measure", "margin"})
    for name, value in facts.items():
        ET.SubElement(properties, "property", {"name": name, "value": str(value)})
    case = ET.SubElement(
        suite, "testcase", {"classname": f"gate.{gate.dataset}", "name": gate.measure, "time": "0"}
    )
    if gate.outcome != "not_worse":
        tag = "failure" if gate.outcome == "worse" else "error"
        ET.SubElement(case, tag, {"type": gate.outcome, "message": gate.summary}).text = gate.summary
    ET.SubElement(case, "system-out").text = gate.summary
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
