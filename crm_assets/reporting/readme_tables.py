"""The tables of a baseline's README and report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from crm_assets.reporting.document import Block, Cell, Column, Section, Table, figures
from crm_assets.reporting.figures import Rate
from crm_assets.reporting.formats import (
    NOTHING,
    at_least,
    dollars,
    interval,
    number,
    of,
    percent,
    plain,
    relative,
    spread,
)
from crm_assets.reporting.judge_page import judge_section
from crm_assets.reporting.models import (
    ConversationGroup,
    CurveBlock,
    FailureKind,
    LoopFigures,
    Metrics,
    Repeats,
    RoleTokens,
    TurnGroup,
)
from crm_assets.reporting.wording import describe_kind, headline_rates, unit_of

__all__ = ["rates_table", "table_sections"]

_LONGEST_SETTING = 80
_MOST_KEYS = 12
_TURN_FIGURES = figures("Turns", "Success", "95% interval", "Tool calls", "Replies", "Scored")


def table_sections(metrics: Metrics, revision: Mapping[str, Any]) -> Iterator[Section]:
    """Yield every table that has rows, in reading order."""
    yield Section("Rates", (rates_table(headline_rates(metrics).items()),))
    yield Section("By workflow", (_conversation_groups("Workflow", metrics.by_workflow),))
    yield Section("By complexity", (_conversation_groups("Complexity", metrics.by_complexity),))
    if metrics.by_tool:
        yield Section("By expected tool", (_by_tool(metrics.by_tool),))
        yield Section("By turn", (_by_turn(metrics),))
    if metrics.failure_kinds:
        yield Section("Failure kinds", tuple(_failure_kinds(metrics.failure_kinds)))
    yield Section("Tokens and cost", tuple(_spending(metrics)))
    yield Section("Rewards and time", (_means(metrics),))
    if metrics.loop is not None:
        yield Section("Loop counts", (_loop(metrics.loop),))
    if metrics.judges is not None:
        yield judge_section(metrics.judges, (metrics.agent_config or {}).get("feedback"))
    if metrics.learning_curve:
        yield Section("Rewards by learning key", tuple(_learning(metrics.learning_curve)))
    if metrics.repeats is not None:
        yield Section("Repeats", (_repeats(metrics.repeats),))
    yield Section("Provenance", (_provenance(metrics, revision),))


def rates_table(rates: Iterable[tuple[str, Rate]], more: Iterable[tuple[Cell, ...]] = ()) -> Table:
    """Return a row for each rate, and below them the rows `more`."""
    rows = [(name, percent(rate), interval(rate), of(rate)) for name, rate in rates]
    return Table.of((Column("Measure"), *figures("Value", "95% interval", "Count")), (*rows, *more))


def _conversation_groups(title: str, groups: Mapping[str, ConversationGroup]) -> Table:
    header = figures("Ran", "Strict success", "95% interval", "State match", "Tool calls", "Replies")
    return Table.of(
        (Column(title), *header),
        (
            (
                name,
                group.ran
                if group.ran == group.conversations
                else f"{group.ran:,} of {group.conversations:,}",
                percent(group.strict_success),
                interval(group.strict_success),
                percent(group.state_match),
                percent(group.turn_tool_success),
                percent(group.turn_response_success),
            )
            for name, group in groups.items()
        ),
    )


def _by_tool(groups: Mapping[str, TurnGroup]) -> Table:
    rows = ((name, *_turn_cells(group)) for name, group in groups.items())
    return Table.of((Column("Tool", "code"), *_TURN_FIGURES), rows)


def _by_turn(metrics: Metrics) -> Table:
    return Table.of(
        (*figures("Turn"), *_TURN_FIGURES, *figures("First failures")),
        (
            (name, *_turn_cells(group), metrics.first_failed_turn.get(name, 0))
            for name, group in metrics.by_turn.items()
        ),
    )


def _turn_cells(group: TurnGroup) -> tuple[Cell, ...]:
    return (
        group.turns,
        percent(group.turn_success),
        interval(group.turn_success),
        percent(group.turn_tool_success),
        percent(group.turn_response_success),
        group.turn_response_success.count,
    )


def _failure_kinds(kinds: Sequence[FailureKind]) -> Iterator[Block]:
    header = figures("Turns", "Share of turns", "95% interval", "Conversations", "First failures")
    yield Table.of(
        (Column("Kind", "code"), Column("Meaning"), *header),
        (
            (
                kind.kind,
                describe_kind(kind.kind),
                kind.turns,
                percent(kind.share_of_turns),
                interval(kind.share_of_turns),
                kind.conversations,
                kind.first_failures,
            )
            for kind in kinds
        ),
    )
    yield "Examples:"
    texts = [Column(name, "code") for name in ("Kind", "Conversation", "Expected", "Called")]
    yield Table.of(
        (*texts[:2], *figures("Turn"), *texts[2:]),
        (
            (kind.kind, each.conversation_id, each.turn_id, each.expected_tool, each.called_tool)
            for kind in kinds
            for each in kind.examples
        ),
    )


def _spending(metrics: Metrics) -> Iterator[Block]:
    if not metrics.token_usage and not metrics.cost_usd:
        yield "No tokens and no cost were reported."
        return
    if origin := metrics.origin:
        yield f"This run itself used and cost nothing ({origin.label}): these figures are the other run's."
    yield _by_role(metrics)
    tokens, cost = metrics.tokens_per_conversation, metrics.cost_usd_per_conversation
    tokens_row = (number(tokens.mean), spread(tokens, 0), number(metrics.tokens_per_success), tokens.count)
    cost_row = (
        dollars(cost.mean),
        f"${spread(cost, 4)}" if cost.low is not None else NOTHING,
        dollars(metrics.cost_usd_per_success),
        cost.count,
    )
    unit = unit_of(metrics)
    yield Table.of(
        (Column("All roles"), *figures(f"Per {unit}", "95% interval", "Per success", "Conversations")),
        (("Tokens", *tokens_row), ("Cost", *cost_row)),
    )
    finished = tokens.count + tokens.missing
    yield (
        f"{tokens.count:,} of the {finished:,} finished conversations report tokens, "
        f"{cost.count:,} report costs; the rest is not counted. Per success: the reported total divided by "
        "the successes among the sessions that report it."
    )
    roles = metrics.token_usage.values()
    no_cost = sum(usage.unknown_cost_calls or 0 for usage in roles)
    no_usage = sum(usage.unknown_usage_calls or 0 for usage in roles)
    if no_cost or no_usage:
        yield (
            f"{no_cost:,} calls are of unknown cost and {no_usage:,} of unknown tokens (timed out, "
            "canceled, or not reported by the server): a sum with ≥ is the least it was."
        )


def _by_role(metrics: Metrics) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for role in sorted({*metrics.token_usage, *metrics.cost_usd}):
        tokens, cost = metrics.token_usage.get(role), metrics.cost_usd.get(role)
        sessions = max(each.sessions or each.conversations for each in (tokens, cost) if each)
        usd = dollars(cost.usd if cost else None)
        usd = at_least(usd, (tokens.unknown_cost_calls or 0) if tokens else 0)
        rows.append((role, *(_role_tokens(tokens) if tokens else (None,) * 7), usd, sessions))
    header = figures(
        *("Prompt", "Cached", "Completion", "Total", "Calls", "Failed", "Unknown tokens"),
        *("Cost", "Sessions"),
    )
    return Table.of((Column("Role"), *header), rows)


def _role_tokens(tokens: RoleTokens) -> tuple[Cell, ...]:
    cached = None
    if tokens.cached_tokens is not None and tokens.prompt_tokens:
        cached = f"{tokens.cached_tokens / tokens.prompt_tokens:.0%}"
    return (
        tokens.prompt_tokens,
        cached,
        tokens.completion_tokens,
        tokens.total_tokens if tokens.conversations else None,
        tokens.calls,
        tokens.failed_calls,
        tokens.unknown_usage_calls,
    )


def _means(metrics: Metrics) -> Table:
    means = {
        "Harness reward (share of correct turns)": metrics.harness_reward_summary,
        "Session reward (judges)": metrics.reward_summary,
        f"Seconds per {unit_of(metrics)}": metrics.duration_seconds,
    }
    return Table.of(
        (Column("Measure"), *figures("Mean", "95% interval", "Std. dev.", "Conversations")),
        (
            (name, number(mean.mean, 3), spread(mean, 3), number(mean.stddev, 3), mean.count)
            for name, mean in means.items()
        ),
    )


def _loop(loop: LoopFigures) -> Table:
    rewards, teacher = loop.rewards, loop.teacher
    first = loop.first_attempt_strict_success
    rows: dict[str, Cell] = {
        "Sessions with a reward": rewards.scored,
        "Sessions without a reward (no usable reply from the judges)": rewards.failed,
        "Sessions decided by the large judge": rewards.escalated,
        "Last attempt accepted by the teacher": teacher.valid,
        "Last attempt rejected by the teacher": teacher.invalid,
        "No verdict from the teacher": teacher.without_verdict,
        "Sessions with guidance from the teacher": teacher.intervened,
        "Sessions with more than one attempt": teacher.repeated,
        "Strict success of first attempts": f"{percent(first)} ({of(first)})",
        "Learning keys": loop.learning_keys,
        "Playbook entries at the start": loop.entries_at_start,
        "Playbook entries accepted": loop.entries_learnt,
        "Playbook entries rejected": loop.entries_rejected,
        "Sessions without a usable reply from the learner": loop.learner_failures,
    }
    return Table.of((Column("What"), *figures("Count")), rows.items())


def _learning(curve: Sequence[CurveBlock]) -> Iterator[Block]:
    """Yield the first and last third of each key's sessions, the longest keys first."""
    by_key = attrgetter("key")
    keys = [list(blocks) for _, blocks in groupby(sorted(curve, key=by_key), by_key)]
    ranked = sorted(keys, key=lambda blocks: (-blocks[-1].last, blocks[0].label, blocks[0].key))
    yield Table.of(
        (
            Column("Workflow and complexity"),
            *figures("Sessions", "Mean reward", "First third", "Last third"),
        ),
        (
            (
                blocks[0].label,
                blocks[-1].last,
                number(_mean_reward(blocks), 3),
                number(_mean_reward(blocks[: len(blocks) // 3]), 3),
                number(_mean_reward(blocks[len(blocks) - len(blocks) // 3 :]), 3),
            )
            for blocks in ranked[:_MOST_KEYS]
        ),
    )
    if ranked[_MOST_KEYS:]:
        yield f"{len(ranked) - _MOST_KEYS:,} more keys are in metrics.json."


def _mean_reward(blocks: Sequence[CurveBlock]) -> float | None:
    """Return the mean over sessions; None without any, or with too few sessions for thirds."""
    rewarded = sum(block.rewarded for block in blocks)
    if not rewarded:
        return None
    return sum(block.rewarded * (block.reward or 0.0) for block in blocks) / rewarded


def _repeats(repeats: Repeats) -> Table:
    header = ("k", "pass^k (all k)", "95% interval", "pass@k (any of k)", "95% interval", "Conversations")
    pairs = ((k, repeats.pass_hat_k[k], repeats.pass_at_k[k]) for k in repeats.pass_hat_k)
    return Table.of(
        figures(*header),
        (
            (k, number(hat.mean, 3), spread(hat, 3), number(at.mean, 3), spread(at, 3), hat.count)
            for k, hat, at in pairs
        ),
    )


def _provenance(metrics: Metrics, revision: Mapping[str, Any]) -> Table:
    commit = revision.get("git_commit")
    rows: dict[str, Cell] = {
        "Run": metrics.run_id,
        "Dataset SHA-256": metrics.dataset_revision,
        "Dataset git commit": str(commit) if commit else None,
        "Conversations": relative(metrics.conversations_path or revision.get("path")),
        "Tasks": relative(metrics.tasks_path),
        "Configuration": relative(metrics.config_path),
    }
    rows |= {f"Agent {name}": _setting(value) for name, value in _settings(metrics.agent_config or {})}
    rows |= {f"Version of {name}": version for name, version in sorted(metrics.software.items())}
    return Table.of((Column("Fact"), Column("Value", "code")), rows.items())


def _settings(agent: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for name, value in sorted(agent.items()):
        if isinstance(value, Mapping):
            yield from ((f"{name} {inner}", found) for inner, found in value.items())
        else:
            yield name, value


def _setting(value: object) -> str:
    text = plain(str(value))
    return text if len(text) <= _LONGEST_SETTING else f"{text[: _LONGEST_SETTING - 1]}…"
