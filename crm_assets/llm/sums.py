"""Running sums of what is spent, small enough to keep one for each session of a long run."""

from __future__ import annotations

from array import array

from crm_assets.llm.entries import LedgerEntry
from crm_assets.llm.interface import ROLES, Role
from crm_assets.llm.messages import Usage
from crm_assets.llm.spending import DOLLAR_DIGITS, Spending

__all__ = ["SpendingSums"]

_PER_DOLLAR = 10**DOLLAR_DIGITS
_FIELDS = 8
_OFFSETS = {role: number * _FIELDS for number, role in enumerate(ROLES)}


class SpendingSums:
    """Spending by role, in whole numbers: exact in whatever order calls end."""

    __slots__ = ("_sums",)

    def __init__(self) -> None:
        self._sums = array("q", bytes(8 * _FIELDS * len(ROLES)))

    def add(self, entry: LedgerEntry) -> None:
        """Count one attempt."""
        sums, at = self._sums, _OFFSETS[entry.role]
        sums[at] += 1
        sums[at + 1] += entry.error is not None
        sums[at + 2] += entry.prompt_tokens
        sums[at + 3] += entry.completion_tokens
        sums[at + 4] += entry.cached_tokens
        sums[at + 5] += entry.reasoning_tokens
        if entry.cost_usd is None:
            sums[at + 7] += 1
        else:
            sums[at + 6] += round(entry.cost_usd * _PER_DOLLAR)

    def by_role(self) -> dict[Role, Spending]:
        """The sums of the roles that have called at all."""
        return {role: self._read(_OFFSETS[role]) for role in ROLES if self._sums[_OFFSETS[role]]}

    def total(self) -> Spending:
        """The sum over all roles."""
        return Spending.total(self.by_role().values())

    def _read(self, at: int) -> Spending:
        calls, failed, prompt, completion, cached, reasoning, dollars, unknown = self._sums[
            at : at + _FIELDS
        ]
        return Spending(
            calls=calls,
            failed_calls=failed,
            usage=Usage(prompt, completion, cached, reasoning),
            cost_usd=None if unknown else round(dollars / _PER_DOLLAR, DOLLAR_DIGITS),
        )
