"""The cost of a run as Dagster shows it."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from crm_assets.defs.assets.spending import spending_metadata
from crm_assets.llm import Ledger, LedgerEntry, Role


def entry(role: Role, *, prompt: int | None, cached: int | None, cost: float | None) -> LedgerEntry:
    return LedgerEntry(
        session="s",
        role=role,
        model="openai/m",
        request_sha256="ab" * 32,
        ordinal=1,
        attempt=1,
        started_at="2026-01-01T00:00:00.000+00:00",
        latency_seconds=0.2,
        prompt_tokens=prompt,
        completion_tokens=None if prompt is None else 3,
        cached_tokens=cached,
        reasoning_tokens=None if prompt is None else 0,
        cost_usd=cost,
        error=None,
        reply=None,
    )


def test_each_role_has_its_cached_share_and_what_is_unknown_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as ledger:
        ledger.append(entry("student", prompt=1000, cached=950, cost=0.25))
        ledger.append(entry("student", prompt=1000, cached=750, cost=0.5))
        ledger.append(entry("teacher", prompt=100, cached=0, cost=0.125))
        ledger.append(entry("teacher", prompt=None, cached=None, cost=None))
        ledger.append(entry("judge", prompt=None, cached=None, cost=None))
    metadata = spending_metadata(path)
    table = metadata["by_role"]
    assert isinstance(table, dg.TableMetadataValue)
    shown = {row.data["role"]: (row.data["cached_share"], row.data["cost_usd"]) for row in table.records}
    assert shown == {
        "student": ("85%", "0.750000"),
        "teacher": ("0%", "≥ 0.125000"),
        "judge": ("unknown", "unknown"),
    }
    assert (metadata["calls"], metadata["calls_of_unknown_cost"], metadata["cost_usd"]) == (5, 2, 0.875)


def test_a_run_that_asked_no_model_has_no_cost_to_show(tmp_path: Path) -> None:
    assert spending_metadata(tmp_path / "ledger.jsonl") == {}
