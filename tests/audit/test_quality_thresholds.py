"""What is warned of: the arithmetic of it."""

from __future__ import annotations

import pytest

from crm_assets.audit.quality_thresholds import find_audit_findings

CLEAN = {"duplicate_ids": 0, "unfillable_placeholders": 0}


def test_a_clean_audit_says_nothing() -> None:
    assert find_audit_findings(CLEAN, conversations=7, replayed=True) == (None, 7)


@pytest.mark.parametrize(
    ("findings", "replayed", "said"),
    [
        ({**CLEAN, "unfillable_placeholders": 1200}, True, "1,200 unfillable placeholders"),
        (CLEAN, False, "the ground truth was not replayed"),
    ],
)
def test_findings_are_named(findings: dict[str, int], replayed: bool, said: str) -> None:
    assert said in str(find_audit_findings(findings, conversations=7, replayed=replayed).problem)
