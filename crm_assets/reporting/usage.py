"""Tokens and dollars of a run: by role, by conversation and by success."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from crm_assets.reporting.breakdowns import session_means, sums_by
from crm_assets.reporting.figures import Mean, tidy
from crm_assets.reporting.models import RoleCost, RoleTokens

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SpendingFigures", "role_costs", "role_tokens", "spending", "total_cost"]


class SpendingFigures(NamedTuple):
    """An amount by session of a conversation and by success; empty and None if nothing was reported."""

    per_conversation: Mean
    per_success: float | None


def role_tokens(sessions: pd.DataFrame, usage: pd.DataFrame) -> dict[str, RoleTokens]:
    """Return tokens by role; `usage` has a row for each session and role."""
    return {
        role: RoleTokens(
            prompt_tokens=_whole(rows["prompt"]),
            completion_tokens=_whole(rows["completion"]),
            total_tokens=_whole(rows["total"]) or 0,
            cached_tokens=_whole(rows["cached"]),
            reasoning_tokens=_whole(rows["reasoning"]),
            calls=_whole(rows["calls"]),
            failed_calls=_whole(rows["failed"]),
            unknown_usage_calls=_whole(rows["no_usage"]),
            unknown_cost_calls=_whole(rows["no_cost"]),
            conversations=_conversations(sessions, rows[rows["total"].notna()]),
            sessions=int(rows["total"].notna().sum()),
        )
        for role, rows in _by_role(usage)
    }


def role_costs(sessions: pd.DataFrame, costs: pd.DataFrame) -> dict[str, RoleCost]:
    """Return US dollars by role; `costs` has a row for each session and role."""
    return {
        role: RoleCost(
            usd=_dollars(rows["usd"]), conversations=_conversations(sessions, rows), sessions=len(rows)
        )
        for role, rows in _by_role(costs)
    }


def _conversations(sessions: pd.DataFrame, rows: pd.DataFrame) -> int:
    return len(set(sessions["conversation"].to_numpy()[rows["session"]].tolist()))


def total_cost(costs: pd.DataFrame) -> float | None:
    """Return the US dollars of all sessions and roles; None if none were reported."""
    return _dollars(costs["usd"]) if len(costs) else None


def spending(sessions: pd.DataFrame, amounts: pd.DataFrame, column: str) -> SpendingFigures:
    """Relate `column` of `amounts`, a row for each session and role, to the sessions.

    Sessions that report nothing are unknown, not free: they are in neither figure. What failed
    sessions used was paid for: it counts towards the price of a success.
    """
    import pandas as pd  # noqa: PLC0415  (heavy)

    known = amounts[amounts[column].notna()]
    reporting, sums, _ = sums_by(known["session"].to_numpy(), known[column].to_numpy())
    ran = sessions[sessions["status"] == "succeeded"]
    totals = pd.Series(sums, index=reporting).reindex(ran["session"])
    values = session_means(ran, totals)
    successes = int((sessions["overall"] == 1).to_numpy()[reporting].sum())
    spent = math.fsum(known[column].tolist())
    return SpendingFigures(
        per_conversation=Mean.of(
            values, missing=int(ran["conversation"].nunique()) - len(values), at_least=0.0
        ),
        per_success=tidy(spent / successes) if successes else None,
    )


def _by_role(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    groups: Any = frame.groupby("role", observed=True)
    return sorted(((str(role), rows) for role, rows in groups), key=lambda pair: pair[0])


def _whole(column: pd.Series[float]) -> int | None:
    known = column.dropna()
    return int(known.sum()) if len(known) else None


def _dollars(amounts: pd.Series[float]) -> float:
    from crm_assets.llm.spending import DOLLAR_DIGITS  # noqa: PLC0415  (brings the model client along)

    return round(math.fsum(amounts.tolist()), DOLLAR_DIGITS)
