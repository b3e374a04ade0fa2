"""Keeps a run's budget: reserves an estimate for each call, and admits sessions that it still suffices for.

What is spent is what the ledger counts. A call is made only if its estimate fits beside what is spent and
what is reserved for open calls; where room is scarce, the session that began first goes first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from crm_assets.concurrency import off_the_clock
from crm_assets.errors import ConfigError
from crm_assets.llm.booking import about_prompt_tokens
from crm_assets.llm.interface import Caller, Role
from crm_assets.llm.ledger import Ledger
from crm_assets.llm.messages import ChatRequest, Usage
from crm_assets.llm.pricing import Price
from crm_assets.llm.spending import NANO, BudgetExhausted, Charge

__all__ = ["Budget", "BudgetKeeper", "Reservation"]

_NOTHING = Charge()
_DEFAULT_OUTPUT_TOKENS = 4096
"""Bound of a reply's tokens where neither request nor model has one."""
_LARGEST_CALLS_A_TURN = 10
"""Bound of a session's cost while too few have ended: so many of the largest call, each turn."""
_ENOUGH_TURNS = 8
"""Turns of ended sessions from which on their cost, not the bound, is what others are estimated by."""


@dataclass(frozen=True)
class Budget:
    """Limit of a whole run, all its starts together; None is no limit.

    Calls of unknown tokens or cost count with an estimate.
    """

    usd: float | None = None
    """US dollars."""
    tokens: int | None = None
    """Prompt and completion."""

    @property
    def is_set(self) -> bool:
        """Tell a budget that limits anything."""
        return self.usd is not None or self.tokens is not None

    def part(self, share: float, spent: Charge, own: Charge) -> Budget:
        """Return the part of what is left that somebody may spend beside others.

        Args:
            share: of what is left, 0 to 1.
            spent: by all, so far.
            own: the part of it that counts for whom the budget is for.
        """
        usd, tokens = None, None
        if self.usd is not None:
            left = max(0.0, round(self.usd * NANO) - spent.nano)
            usd = int(left * share + own.nano) / NANO
        if self.tokens is not None:
            tokens = int(max(0.0, self.tokens - spent.tokens) * share + own.tokens)
        return Budget(usd, tokens)

    def covers(self, amount: Charge) -> bool:
        """Tell if an amount is within the budget."""
        if self.tokens is not None and amount.tokens > self.tokens:
            return False
        return self.usd is None or amount.nano <= round(self.usd * NANO)

    def exhausted(self, spent: Charge, estimated: Charge, needed: Charge, what: str) -> BudgetExhausted:
        """Return the error that says why `what` is not begun.

        Args:
            spent: by the run so far.
            estimated: the part of it that is estimated.
            needed: estimate of what does not fit.
            what: that is, in words.
        """
        if self.tokens is not None and spent.tokens + needed.tokens > self.tokens:
            budget, so_far = f"{self.tokens:,} tokens", f"{spent.tokens:,.0f}"
            part = f", {estimated.tokens:,.0f} of them estimated" if estimated.tokens else ""
            more = f"{needed.tokens:,.0f}"
        else:
            budget, so_far = f"${self.usd:g}", f"${spent.nano / NANO:.4f}"
            part = f", ${estimated.nano / NANO:.4f} of it estimated" if estimated.nano else ""
            more = f"${needed.nano / NANO:.4f}"
        return BudgetExhausted(
            f"The budget of {budget} is spent ({so_far}{part}; {what} takes about {more}); what is "
            "finished is kept, set a higher one to resume."
        )


@dataclass(eq=False)
class Reservation:
    """The estimate of an open call, until its ledger entry counts instead."""

    caller: Caller
    characters: int
    """Of the request."""
    amount: Charge


@dataclass
class _Running:
    """A session under way."""

    turns: int
    last: dict[Role, tuple[Charge, int]] = field(default_factory=dict)
    """By role: the last call, and the characters of its request."""
    reserved: Charge = _NOTHING


class BudgetKeeper:
    """Reserves and admits within the budget of one run. Belongs to one event loop."""

    def __init__(self, budget: Budget, ledger: Ledger, turns: Mapping[str, int]) -> None:
        """Know what earlier starts of the run have cost.

        Args:
            budget: of the run.
            ledger: of the run.
            turns: of each of its sessions, by its key in the ledger.
        """
        self.budget = budget
        self._ledger = ledger
        self._turns = turns
        self._running: dict[str, _Running] = {}
        """By key, in the order in which they began."""
        self._running_turns = 0
        self._reserved = _NOTHING
        self._open_calls = 0
        self._largest = _NOTHING
        self._most_a_turn = _NOTHING
        """The largest mean cost of a turn in a session that has ended, here or in an earlier start."""
        self._ended_turns = 0
        for key in turns:
            self._look_back_at(key)
        self._over: BudgetExhausted | None = None
        self._waiting = 0
        self._news = anyio.Event()

    @asynccontextmanager
    async def session(self, key: str) -> AsyncIterator[None]:
        """Wait until the budget suffices for a session beside those under way; it is one until the end.

        Raises:
            BudgetExhausted: it does not.
        """
        if not self.budget.is_set:
            yield
            return
        turns = self._turns.get(key, 1)
        while not self._admits(key, turns):
            await self._change()
        self._running[key] = _Running(turns)
        self._running_turns += turns
        try:
            yield
            self._look_back_at(key)
        finally:
            del self._running[key]
            self._running_turns -= turns
            self._tell()

    async def reserve(self, caller: Caller, request: ChatRequest, price: Price) -> Reservation:
        """Wait until a call fits beside what is reserved, and reserve its estimate; see `release`.

        Raises:
            BudgetExhausted: it does not, though no other call is open and no older session under way.
            ConfigError: what was spent is unknown, so that a limit in dollars cannot be kept.
        """
        session = self._running.get(caller.session)
        if not self.budget.is_set:
            return Reservation(caller, 0, _NOTHING)
        while True:
            amount = self._estimate(caller, request, price)
            if self._fits(caller.session, request, amount):
                break
            if not self._open_calls and self._is_oldest(caller.session):
                raise self._exhausted(amount, "the next call")
            await self._change()
        self._reserved += amount
        self._open_calls += 1
        if session is not None:
            session.reserved += amount
        return Reservation(caller, request.characters, amount)

    def release(self, reservation: Reservation, took: Charge | None) -> None:
        """Give back a reservation; `took` is what its call came to, None if it was not made."""
        if not self.budget.is_set:
            return
        self._open_calls -= 1
        # Sums of estimates are not exact: what is left of them is nothing.
        self._reserved = self._reserved - reservation.amount if self._open_calls else _NOTHING
        if session := self._running.get(reservation.caller.session):
            session.reserved -= reservation.amount
            if took is not None and any(took):  # a refused call tells nothing of the next one
                session.last[reservation.caller.role] = took, reservation.characters
        if took is not None:
            self._largest = self._largest.at_least(took)
        self._tell()

    def remember(self, caller: Caller, request: ChatRequest, took: Charge) -> None:
        """Count a call that the ledger answered as the last one of its role in the session."""
        if session := self._running.get(caller.session):
            session.last[caller.role] = took, request.characters

    def _estimate(self, caller: Caller, request: ChatRequest, price: Price) -> Charge:
        """Return the estimate of a call: the session's last one of its role or the run's mean, if larger.

        Where the role has not called yet, the mean of all roles, at least its prompt; else a bound.
        """
        role = self._ledger.counted(role=caller.role)
        session = self._running.get(caller.session)
        if role.calls:
            mean = role.amount.scaled(1 / role.calls)
            if session is None or caller.role not in session.last:
                return mean
            last, characters = session.last[caller.role]
            return mean.at_least(last.scaled(max(1.0, request.characters / max(1, characters))))
        every = self._ledger.counted()
        if every.calls:
            return _bound(request, price, 0).at_least(every.amount.scaled(1 / every.calls))
        return _bound(request, price, request.effective_max_output_tokens or _DEFAULT_OUTPUT_TOKENS)

    def _fits(self, session: str, request: ChatRequest, amount: Charge) -> bool:
        counted = self._ledger.counted()
        if self.budget.usd is not None and counted.unpriced_calls:
            raise ConfigError(
                "The run has called models whose price is unknown, so a budget in dollars cannot be kept; "
                "give usd_per_million_* of each model and start afresh, or use a budget in tokens."
            )
        if not counted.calls and not self._open_calls:
            # Its bound is mostly far off; somebody has to be the first.
            return self.budget.covers(Charge(tokens=about_prompt_tokens(request)))
        taken = counted.amount + self._reserved + amount
        per_turn = self._per_turn()
        if per_turn is None or session not in self._running:
            return self.budget.covers(taken)
        if self.budget.covers(taken + per_turn.scaled(self._running_turns)):
            return True  # without looking at each
        for older, running in self._running.items():
            if older == session:
                break
            taken += self._rest(older, running, per_turn)
        return self.budget.covers(taken)

    def _is_oldest(self, session: str) -> bool:
        return session not in self._running or session == next(iter(self._running))

    def _admits(self, key: str, turns: int) -> bool:
        """Tell if a session may begin now.

        Raises:
            BudgetExhausted: it may not, nor later.
        """
        if self._over is not None:
            raise self._over
        spent = self._ledger.counted().amount
        per_turn = self._per_turn()
        if per_turn is None:
            return not self._running
        rest = self._rest(key, _Running(turns), per_turn)
        others = _NOTHING
        for other, running in self._running.items():
            others += self._rest(other, running, per_turn)
        if self.budget.covers(spent + self._reserved + others + rest):
            return True
        if self._running:
            return False
        if self._ended_turns < _ENOUGH_TURNS:
            return True  # the bound of a session is mostly far off, too
        raise self._exhausted(rest, "another session")

    def _look_back_at(self, key: str) -> None:
        """Learn from a session that has ended, or began in an earlier start."""
        if any(spent := self._ledger.counted(key).amount):
            turns = self._turns.get(key, 1)
            self._most_a_turn = self._most_a_turn.at_least(spent.scaled(1 / max(1, turns)))
            self._ended_turns += turns

    def _per_turn(self) -> Charge | None:
        """Return what a turn of a session is estimated to cost; None if nothing is known of it."""
        if self._ended_turns >= _ENOUGH_TURNS:
            return self._most_a_turn
        return self._largest.scaled(_LARGEST_CALLS_A_TURN) if any(self._largest) else None

    def _rest(self, key: str, running: _Running, per_turn: Charge) -> Charge:
        """Return what a session is estimated to cost still, without its open calls."""
        spent = self._ledger.counted(key).amount + running.reserved
        return (per_turn.scaled(running.turns) - spent).at_least(_NOTHING)

    def _exhausted(self, needed: Charge, what: str) -> BudgetExhausted:
        counted = self._ledger.counted()
        self._over = self.budget.exhausted(counted.amount, counted.estimated, needed, what)
        self._tell()
        return self._over

    async def _change(self) -> None:
        self._waiting += 1
        try:
            with off_the_clock():
                await self._news.wait()
        finally:
            self._waiting -= 1

    def _tell(self) -> None:
        if self._waiting:
            self._news.set()
            self._news = anyio.Event()


def _bound(request: ChatRequest, price: Price, output_tokens: int) -> Charge:
    usage = Usage(about_prompt_tokens(request), output_tokens)
    return Charge(usage.total_tokens, (price.cost_usd(usage) or 0.0) * NANO)
