"""Sessions in short."""

from __future__ import annotations

from crm_assets.records import UsageSummary


def test_a_sum_of_tokens_keeps_every_count() -> None:
    names = UsageSummary.__struct_fields__
    one = UsageSummary(**dict.fromkeys(names, 2))
    other = UsageSummary(**dict.fromkeys(names, 3))
    assert one + other == UsageSummary(**dict.fromkeys(names, 5))
    assert one + UsageSummary() == one == UsageSummary() + one
