from __future__ import annotations

import pytest

from crm_assets.reporting.formats import counted


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 sessions"), (1, "1 session"), (2, "2 sessions"), (1234, "1,234 sessions")]
)
def test_only_one_has_no_s(count: int, text: str) -> None:
    assert counted(count, "session") == text
