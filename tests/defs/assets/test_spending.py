"""The cost of a run as Dagster shows it."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from crm_assets.defs.assets.spending import spending_metadata
from crm_assets.llm import Ledger, LedgerEntry, Role
from crm_assets.llm.entries import AnsweredBy
from tests.llm.test_ledger import entry


def call(role: Role, *, prompt: int | None, cached: int | None, cost: float | None) -> LedgerEntry:
    known = prompt is not None
    changes = {
        "prompt_tokens": prompt,
        "completion_tokens": 3 if known else None,
        "cached_tokens": cached,
        "server": "http://127.0.0.1:8000/v1",
        "answered_by": AnsweredBy(model="m-2026") if known else None,
    }
    return entry(role=role, cost=cost).model_copy(update=changes)


def test_each_role_has_its_cached_share_and_what_is_unknown_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as ledger:
        ledger.append(call("student", prompt=1000, cached=950, cost=0.25))
        ledger.append(call("student", prompt=1000, cached=750, cost=0.5))
        ledger.append(call("teacher", prompt=100, cached=0, cost=0.125))
        ledger.append(call("teacher", prompt=None, cached=None, cost=None))
        ledger.append(call("judge", prompt=None, cached=None, cost=None))
    metadata = spending_metadata(path)
    table = metadata["by_role"]
    assert isinstance(table, dg.TableMetadataValue)
    shown = {row.data["role"]: (row.data["cached_share"], row.data["cost_usd"]) for row in table.records}
    assert shown == {
        "student": ("85%", "0.750000"),
        "teacher": ("0%", "≥ 0.125000"),
        "judge": ("unknown", "unknown"),
    }
    assert metadata["answered_by"] == "openai/gpt-4.1-mini: m-2026 at http://127.0.0.1:8000/v1"
    assert (metadata["calls"], metadata["calls_of_unknown_cost"], metadata["cost_usd"]) == (5, 2, 0.875)


def test_a_run_that_asked_no_model_has_no_cost_to_show(tmp_path: Path) -> None:
    assert spending_metadata(tmp_path / "ledger.jsonl") == {}
