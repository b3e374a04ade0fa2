"""Estimates what a run will cost, with a range.

For each role, earlier sessions tell by how much more or less it took than the text of their conversations
let expect (a ratio estimator: W. G. Cochran, "Sampling Techniques", 3rd ed., 1977, ch. 6); the text of the
conversations that are to run, times that ratio, is the estimate. Its range is the 95 % prediction interval
of the sum, with a share on top for what differs from run to run: playbooks grow, models change. Where few
sessions are known, or none, the range is a factor; docs/atlas.md says how well that does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from crm_assets.atlas.model_facts import ModelRun
from crm_assets.conversations import Conversation
from crm_assets.llm import Role, Usage
from crm_assets.llm.pricing import Price, expected_price_of
from crm_assets.llm.spec import ModelSpec, is_own_server, server_of
from crm_assets.records.estimate import CostEstimate, RoleEstimate
from crm_assets.reporting.estimate.evidence import Evidence, MeasuredSession
from crm_assets.reporting.estimate.workload import (
    RETRIED,
    Workload,
    most_attempts,
    roles_of,
    workload_of,
)
from crm_assets.reporting.intervals import t_quantile

__all__ = ["estimate_cost", "total_of"]

_ENOUGH_SESSIONS: Final = 5
"""Below, their spread says too little."""
_FEW = (0.5, 2.0)
"""Factors of the range with fewer sessions."""
_NONE = (0.4, 2.5)
"""Factors of the range without any."""
_DRIFT = 0.1
"""Share by which a run may differ from earlier ones of the same settings."""
_CHANGED = 0.5
"""The same where settings or playbooks have changed since: what was learned saves second attempts."""
_ESCALATED = 0.3
"""Share of sessions in which the large judge is asked, where it is not known."""
_SMALL_CALLS = 3
_ATTEMPTS_WEIGHT = 2
"""Sessions that the guess at their attempts counts as: one smoke session tells nothing of retries."""

_Value = Callable[[Role, Workload], float]
"""Dollars or tokens of a role's work."""


@dataclass(frozen=True)
class _Rate:
    """A role's model, and what its work costs."""

    spec: ModelSpec
    price: Price
    where: str
    large: tuple[Price, float] | None = None
    """The price of the arbiter, which answers some of the calls, and its share of them."""

    def usd(self, work: Workload, cached_share: float) -> float | None:
        """Return what work costs; None for an unknown price."""
        if not work.calls:
            return 0.0
        small = _price_calls(self.price, work, cached_share)
        if self.large is None:
            return small
        price, share = self.large
        large = _price_calls(price, work, cached_share)
        return None if small is None or large is None else (1 - share) * small + share * large


def _price_calls(price: Price, work: Workload, cached_share: float) -> float | None:
    """Price the mean call, since prices may depend on a call's length."""
    prompt = work.prompt / work.calls
    usage = Usage(round(prompt), round(work.completion / work.calls), round(prompt * cached_share))
    one = price.cost_usd(usage)
    return None if one is None else one * work.calls


class _Range(NamedTuple):
    """An amount with its range."""

    value: float = 0.0
    low: float = 0.0
    high: float = 0.0

    def plus(self, other: _Range) -> _Range:
        return _Range(self.value + other.value, self.low + other.low, self.high + other.high)


@dataclass
class _Work:
    """The work of the sessions that are to run, by their text."""

    sessions: int = 0
    by_role: dict[Role, Workload] = field(default_factory=dict)


def estimate_cost(
    run: ModelRun,
    conversations: Iterable[tuple[Conversation, int]],
    evidence: Evidence,
    environment: Mapping[str, str],
) -> CostEstimate | None:
    """Return what sessions will cost; None if nothing is to be paid.

    Args:
        run: the plan and its configuration.
        conversations: each with the number of its sessions that are to run.
        evidence: sessions of earlier runs.
        environment: where addresses of models may be set.
    """
    rates = _rates(run, evidence, environment)
    if not rates:
        return None
    work = _work(run, conversations)
    attempts = _attempts(run, evidence)
    factors = {role: _factors(role, evidence.sessions) for role in rates}
    cached = {role: _cached_share(role, evidence.sessions) for role in rates}
    expected = {
        role: _scaled(role, work.by_role.get(role, Workload()), factors[role], attempts) for role in rates
    }

    def usd(role: Role, amount: Workload) -> float:
        return rates[role].usd(amount, cached[role]) or 0.0

    def tokens(_: Role, amount: Workload) -> float:
        return amount.prompt + amount.completion

    known = [role for role, rate in rates.items() if rate.usd(Workload(1, 1, 1), 0.0) is not None]
    drift = _DRIFT if evidence.same and not run.uses_playbook else _CHANGED
    sessions = _Sessions(evidence, factors, attempts, work.sessions, drift)
    of_tokens = _ranged(tokens, list(rates), expected, sessions)
    of_dollars = _ranged(usd, known, expected, sessions)
    return CostEstimate(
        sessions=work.sessions,
        tokens=round(of_tokens.value),
        tokens_low=round(of_tokens.low),
        tokens_high=round(of_tokens.high),
        usd=_dollars(of_dollars.value) if known else None,
        usd_low=_dollars(of_dollars.low) if known else None,
        usd_high=_dollars(of_dollars.high) if known else None,
        unpriced=tuple(dict.fromkeys(rate.where for role, rate in rates.items() if role not in known)),
        own_agent=run.config.config.agent.llm is None,
        by_role={
            role: RoleEstimate(
                model=rate.spec.name,
                calls=round(expected[role].calls),
                prompt_tokens=round(expected[role].prompt),
                cached_tokens=round(expected[role].prompt * cached[role]),
                completion_tokens=round(expected[role].completion),
                usd=_dollars(usd(role, expected[role])) if role in known else None,
            )
            for role, rate in rates.items()
        },
        measured_sessions=len(evidence.sessions),
        basis=evidence.basis,
    )


def total_of(estimates: Sequence[CostEstimate]) -> CostEstimate | None:
    """Return the sum of several runs' estimates, ranges added up; None of none."""
    if not estimates[1:]:
        return estimates[0] if estimates else None
    priced = [each for each in estimates if each.usd is not None]

    def dollars(name: str) -> float | None:
        return _dollars(math.fsum(getattr(each, name) for each in priced)) if priced else None

    return CostEstimate(
        sessions=sum(each.sessions for each in estimates),
        tokens=sum(each.tokens for each in estimates),
        tokens_low=sum(each.tokens_low for each in estimates),
        tokens_high=sum(each.tokens_high for each in estimates),
        usd=dollars("usd"),
        usd_low=dollars("usd_low"),
        usd_high=dollars("usd_high"),
        unpriced=tuple(dict.fromkeys(name for each in estimates for name in each.unpriced)),
        own_agent=any(each.own_agent for each in estimates),
        by_role={},
        measured_sessions=max(each.measured_sessions for each in estimates),
        basis=_together(list(dict.fromkeys(each.basis for each in estimates))),
    )


def _together(bases: Sequence[str]) -> str:
    more = f" and the like for {len(bases) - 1:,} other combinations" if bases[1:] else ""
    return f"{bases[0]}{more}"


def _rates(run: ModelRun, evidence: Evidence, environment: Mapping[str, str]) -> dict[Role, _Rate]:
    """Return the rates of the roles whose model may cost something."""
    named = run.config.models()
    places: dict[Role, str] = {"turn_judge": "judge", "probe": "probe" if "probe" in named else "teacher"}
    found: dict[Role, _Rate] = {}
    for role in roles_of(run):
        spec = named[places.get(role, role)]
        own = is_own_server(spec, environment)
        rate = _Rate(
            spec,
            expected_price_of(spec, own_server=own),
            f"{spec.name} at {server_of(spec, environment)}" if own else spec.name,
        )
        if role == "judge" and named["arbiter"] != spec:
            arbiter = named["arbiter"]
            price = expected_price_of(arbiter, own_server=is_own_server(arbiter, environment))
            rate = _Rate(rate.spec, rate.price, rate.where, (price, _share_of_arbiter(evidence)))
        if not rate.price.is_free or (rate.large and not rate.large[0].is_free):
            found[role] = rate
    return found


def _share_of_arbiter(evidence: Evidence) -> float:
    asked = [session.asked_large_judge for session in evidence.sessions]
    escalated = sum(asked) / len(asked) if asked else _ESCALATED
    return escalated / (_SMALL_CALLS + escalated)


def _work(run: ModelRun, conversations: Iterable[tuple[Conversation, int]]) -> _Work:
    work = _Work()
    for conversation, sessions in conversations:
        work.sessions += sessions
        for role, each in workload_of(conversation, run).items():
            work.by_role[role] = work.by_role.get(role, Workload()) + each.times(sessions)
    return work


def _factors(role: Role, sessions: Sequence[MeasuredSession]) -> Workload | None:
    """Return what was measured over what was expected, of each part; None if nothing was measured."""
    known = [session for session in sessions if role in session.measured]
    if not known:
        return None
    measured, expected = Workload(), Workload()
    for session in known:
        measured += session.measured[role]
        expected += _scaled(role, session.expected[role], None, session.attempts or 1)
    return Workload(*(a / b if b else 0.0 for a, b in zip(measured, expected, strict=True)))


def _attempts(run: ModelRun, evidence: Evidence) -> float:
    """Return the attempts of a session: as measured, and a guess halfway between the least and the most."""
    most = most_attempts(run)
    known = [each.attempts for each in evidence.sessions if each.attempts is not None and most > 1]
    return (sum(known) + _ATTEMPTS_WEIGHT * (1 + most) / 2) / (len(known) + _ATTEMPTS_WEIGHT)


def _scaled(role: Role, work: Workload, factors: Workload | None, attempts: float) -> Workload:
    """Return the work of sessions with so many attempts, at the level that was measured."""
    scaled = work if factors is None else work.scaled(factors)
    return scaled.times(attempts) if role in RETRIED else scaled


def _cached_share(role: Role, sessions: Sequence[MeasuredSession]) -> float:
    prompts = sum(session.measured[role].prompt for session in sessions if role in session.measured)
    cached = sum(session.cached.get(role, 0) for session in sessions if role in session.measured)
    return cached / prompts if prompts else 0.0


class _Sessions(NamedTuple):
    """Earlier sessions, and the number of those to run."""

    evidence: Evidence
    factors: Mapping[Role, Workload | None]
    attempts: float
    to_run: int
    drift: float


def _ranged(
    value: _Value, roles: Sequence[Role], expected: Mapping[Role, Workload], sessions: _Sessions
) -> _Range:
    """Return the sum over roles: those with evidence by its spread, the others by a factor."""
    seen = [role for role in roles if sessions.factors[role] is not None]
    guessed = math.fsum(value(role, expected[role]) for role in roles if role not in seen)
    found = _Range(guessed, guessed * _NONE[0], guessed * _NONE[1])
    if not seen:
        return found
    amount = math.fsum(value(role, expected[role]) for role in seen)
    return found.plus(_predicted(value, seen, amount, sessions))


def _predicted(value: _Value, seen: Sequence[Role], amount: float, sessions: _Sessions) -> _Range:
    """Return the prediction interval of what roles with evidence come to in all sessions to run."""

    def predicted(session: MeasuredSession) -> float:
        return math.fsum(
            value(role, _scaled(role, session.expected[role], sessions.factors[role], sessions.attempts))
            for role in seen
        )

    pairs = [
        (math.fsum(value(role, session.measured[role]) for role in seen), predicted(session))
        for session in sessions.evidence.sessions
        if all(role in session.measured for role in seen)
    ]
    if len(pairs) < _ENOUGH_SESSIONS:
        return _Range(amount, amount * _FEW[0], amount * _FEW[1])
    n = len(pairs)
    mean = math.fsum(each for _, each in pairs) / n
    spread = math.sqrt(math.fsum((was - each) ** 2 for was, each in pairs) / (n - 1))
    of_ratio = amount * spread / (math.sqrt(n) * mean) if mean else 0.0
    sampling = t_quantile(n - 1) * math.hypot(of_ratio, math.sqrt(sessions.to_run) * spread)
    half = math.hypot(sampling, sessions.drift * amount)
    return _Range(amount, max(0.0, amount - half), amount + half)


def _dollars(amount: float) -> float:
    return round(amount, 6)
