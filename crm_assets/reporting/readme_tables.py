"""The tables of a baseline's README.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crm_assets.reporting.figures import Mean, Rate
from crm_assets.reporting.formats import (
    NOTHING,
    dollars,
    interval,
    number,
    of,
    percent,
    plain,
    relative,
    spread,
)
from crm_assets.reporting.markdown import code, escape, table
from crm_assets.reporting.models import (
    ConversationGroup,
    CurveBlock,
    LoopFigures,
    Metrics,
    Repeats,
    TurnGroup,
)

__all__ = ["all_tables", "describe_kind"]

_LONGEST_SETTING = 80
_MOST_KEYS = 12
_KINDS = {
    "unexpected_success": "Succeeded where it should have failed",
    "wrong_error": "Failed otherwise than it should have",
    "no_tool_call": "No tool called",
    "unknown_tool": "A tool that does not exist",
    "tool_mismatch": "Another tool than the expected one",
    "argument_mismatch": "The right tool, other arguments",
    "tool_error": "The tool refused the call",
    "response_mismatch": "The right action, another reply",
    "judged_failure": "Another call than the expected one, and a judge found it wrong",
}


def describe_kind(kind: str) -> str:
    """A failure kind in words."""
    return _KINDS.get(kind, plain(kind).replace("_", " ").capitalize())


def all_tables(metrics: Metrics, revision: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Title and body of every table that has something to say, in reading order."""
    yield "Headline", _headline(metrics)
    yield "By workflow", _conversation_groups("Workflow", metrics.by_workflow)
    yield "By complexity", _conversation_groups("Complexity", metrics.by_complexity)
    if metrics.by_tool:
        yield "By expected tool", _turn_groups("Tool", metrics.by_tool)
        yield "By turn", _by_turn(metrics)
    if metrics.failure_kinds:
        yield "Failure kinds", _failure_kinds(metrics)
    yield "Tokens and cost", _spending(metrics)
    yield "Rewards and time", _means(metrics)
    if metrics.loop is not None:
        yield "The loop", _loop(metrics.loop)
    if metrics.learning_curve:
        yield "Rewards by learning key", _learning(metrics)
    if metrics.repeats is not None:
        yield "Repeats", _repeats(metrics.repeats)
    yield "Provenance", _provenance(metrics, revision)


def _headline(metrics: Metrics) -> str:
    rates: list[tuple[str, Rate]] = [
        ("Strict success (every turn right)", metrics.strict_success),
        ("State match", metrics.state_match),
        ("Chains with every segment right", metrics.chain_success),
        ("Conversations with ≥ 1 tool success", metrics.conversations_with_tool_success),
        ("Conversations with ≥ 1 response success", metrics.conversations_with_response_success),
        ("Turn success (tool and reply)", metrics.turn_success),
        ("Turn-level tool success", metrics.turn_tool_success),
        ("Turn-level response success", metrics.turn_response_success),
        ("Expected failures that failed as expected", metrics.expected_failures),
    ]
    rows = [(name, percent(rate), interval(rate), of(rate)) for name, rate in rates]
    return table(("Measure", "Value", "95% interval", "Count"), rows)


def _conversation_groups(title: str, groups: Mapping[str, ConversationGroup]) -> str:
    header = (title, "Ran", "Strict", "95% interval", "State match", "Tool calls", "Replies")
    return table(
        header,
        [
            (
                escape(name),
                number(group.ran)
                if group.ran == group.conversations
                else f"{group.ran:,} of {group.conversations:,}",
                percent(group.strict_success),
                interval(group.strict_success),
                percent(group.state_match),
                percent(group.turn_tool_success),
                percent(group.turn_response_success),
            )
            for name, group in groups.items()
        ],
    )


def _turn_groups(title: str, groups: Mapping[str, TurnGroup]) -> str:
    header = (title, "Turns", "Success", "95% interval", "Tool calls", "Replies", "Scored")
    return table(header, [(code(name), *_turn_cells(group)) for name, group in groups.items()])


def _by_turn(metrics: Metrics) -> str:
    header = ("Turn", "Turns", "Success", "95% interval", "Tool calls", "Replies", "Scored")
    return table(
        (*header, "First failures"),
        [
            (name, *_turn_cells(group), number(metrics.first_failed_turn.get(name, 0)))
            for name, group in metrics.by_turn.items()
        ],
        left=0,
    )


def _turn_cells(group: TurnGroup) -> tuple[str, ...]:
    return (
        number(group.turns),
        percent(group.turn_success),
        interval(group.turn_success),
        percent(group.turn_tool_success),
        percent(group.turn_response_success),
        number(group.turn_response_success.count),
    )


def _failure_kinds(metrics: Metrics) -> str:
    header = ("Kind", "What happened", "Turns", "Of all turns", "95% interval")
    kinds = table(
        (*header, "Conversations", "First failures"),
        [
            (
                code(kind.kind),
                describe_kind(kind.kind),
                number(kind.turns),
                percent(kind.share_of_turns),
                interval(kind.share_of_turns),
                number(kind.conversations),
                number(kind.first_failures),
            )
            for kind in metrics.failure_kinds
        ],
        left=2,
    )
    examples = table(
        ("Kind", "Conversation", "Turn", "Expected", "Called"),
        [
            (
                code(kind.kind),
                code(example.conversation_id),
                str(example.turn_id),
                code(example.expected_tool) if example.expected_tool else NOTHING,
                code(example.called_tool) if example.called_tool else NOTHING,
            )
            for kind in metrics.failure_kinds
            for example in kind.examples
        ],
        left=5,
    )
    return f"{kinds}\n\nWhere to look:\n\n{examples}"


def _spending(metrics: Metrics) -> str:
    if not metrics.token_usage and not metrics.cost_usd:
        return "No tokens and no cost were reported."
    tokens_each, cost_each = metrics.tokens_per_conversation, metrics.cost_usd_per_conversation
    note = (
        f"Tokens are reported by {tokens_each.count:,} of the {metrics.atlas_successful_runs:,} "
        f"conversations that ran, costs by {cost_each.count:,}; what is not reported is not "
        "counted. Per success: all that was reported, by the successes among its sessions."
    )
    return f"{_by_role(metrics)}\n\n{_by_conversation(metrics)}\n\n{note}"


def _by_role(metrics: Metrics) -> str:
    roles = sorted({*metrics.token_usage, *metrics.cost_usd})
    rows = []
    for role in roles:
        tokens, cost = metrics.token_usage.get(role), metrics.cost_usd.get(role)
        rows.append(
            (
                escape(role),
                number(tokens.prompt_tokens if tokens else None),
                number(tokens.completion_tokens if tokens else None),
                number(tokens.total_tokens if tokens else None),
                number(tokens.calls if tokens else None),
                number(tokens.failed_calls if tokens else None),
                dollars(cost.usd if cost else None),
                number(max(each.conversations for each in (tokens, cost) if each)),
            )
        )
    header = ("Role", "Prompt", "Completion", "Total", "Calls", "Failed", "Cost", "Conversations")
    return table(header, rows)


def _by_conversation(metrics: Metrics) -> str:
    tokens, cost = metrics.tokens_per_conversation, metrics.cost_usd_per_conversation
    rows = [
        (
            "Tokens",
            number(tokens.mean),
            spread(tokens, 0),
            number(metrics.tokens_per_success),
            number(tokens.count),
        ),
        (
            "Cost",
            dollars(cost.mean),
            f"${spread(cost, 4)}" if cost.low is not None else NOTHING,
            dollars(metrics.cost_usd_per_success),
            number(cost.count),
        ),
    ]
    header = ("All roles", "Per conversation", "95% interval", "Per success", "Conversations")
    return table(header, rows)


def _means(metrics: Metrics) -> str:
    means: list[tuple[str, Mean]] = [
        ("Harness reward (share of turns right)", metrics.harness_reward_summary),
        ("Session reward (judges)", metrics.reward_summary),
        ("Seconds a conversation", metrics.duration_seconds),
    ]
    header = ("Measure", "Mean", "95% interval", "Std. dev.", "Conversations")
    return table(
        header,
        [
            (
                name,
                number(mean.mean, 3),
                spread(mean, 3),
                number(mean.stddev, 3),
                number(mean.count),
            )
            for name, mean in means
        ],
    )


def _loop(loop: LoopFigures) -> str:
    rewards, teacher = loop.rewards, loop.teacher
    first = loop.first_attempt_strict_success
    rows = [
        ("Sessions with a reward", number(rewards.scored)),
        ("Sessions whose judges gave nothing usable (no reward)", number(rewards.failed)),
        ("Sessions on which the large judge had the last word", number(rewards.escalated)),
        ("Last attempt found good by the teacher", number(teacher.valid)),
        ("Last attempt found wanting", number(teacher.invalid)),
        ("Without the teacher's verdict", number(teacher.without_verdict)),
        ("Sessions with guidance from the teacher", number(teacher.intervened)),
        ("Sessions in which the student ran again", number(teacher.repeated)),
        ("Strict success of first attempts", f"{percent(first)} ({of(first)})"),
        ("Learning keys", number(loop.learning_keys)),
        ("Playbook entries that were there at the start", number(loop.entries_at_start)),
        ("Playbook entries learnt", number(loop.entries_learnt)),
        ("Playbook entries rejected by the gates", number(loop.entries_rejected)),
        ("Sessions whose learner gave nothing usable", number(loop.learner_failures)),
    ]
    return table(("What", "How many"), rows)


def _learning(metrics: Metrics) -> str:
    """First and last third of each key's sessions, the longest keys first."""
    keys: dict[str, list[CurveBlock]] = {}
    for block in metrics.learning_curve:
        keys.setdefault(block.key, []).append(block)
    ranked = sorted(keys.values(), key=lambda blocks: (-blocks[-1].last, blocks[0].label, blocks[0].key))
    rows = [
        (
            escape(blocks[0].label),
            number(blocks[-1].last),
            number(_mean_reward(blocks), 3),
            number(_mean_reward(blocks[: len(blocks) // 3]), 3),
            number(_mean_reward(blocks[len(blocks) - len(blocks) // 3 :]), 3),
        )
        for blocks in ranked[:_MOST_KEYS]
    ]
    header = ("Workflow and complexity", "Sessions", "Mean reward", "First third", "Last third")
    more = len(ranked) - len(rows)
    note = f"\n\n{more:,} more keys are in metrics.json." if more else ""
    return table(header, rows) + note


def _mean_reward(blocks: Sequence[CurveBlock]) -> float | None:
    """Mean over sessions; None without any, or where there are too few sessions for thirds."""
    rewarded = sum(block.rewarded for block in blocks)
    if not rewarded:
        return None
    return sum(block.rewarded * (block.reward or 0.0) for block in blocks) / rewarded


def _repeats(repeats: Repeats) -> str:
    rows = [
        (
            k,
            number(repeats.pass_hat_k[k].mean, 3),
            spread(repeats.pass_hat_k[k], 3),
            number(repeats.pass_at_k[k].mean, 3),
            spread(repeats.pass_at_k[k], 3),
            number(repeats.pass_hat_k[k].count),
        )
        for k in repeats.pass_hat_k
    ]
    header = ("k", "pass^k (all k)", "95% interval", "pass@k (any of k)", "95% interval", "Conversations")
    return table(header, rows, left=0)


def _provenance(metrics: Metrics, revision: Mapping[str, Any]) -> str:
    rows = [
        ("Run", code(metrics.run_id) if metrics.run_id else NOTHING),
        (
            "Dataset SHA-256",
            code(metrics.dataset_revision) if metrics.dataset_revision else NOTHING,
        ),
        ("Dataset git commit", code(str(revision.get("git_commit") or NOTHING))),
        ("Conversations", code(relative(metrics.conversations_path or revision.get("path")))),
        ("Tasks", code(relative(metrics.tasks_path))),
        ("Configuration", code(relative(metrics.config_path))),
    ]
    rows += [
        (f"Agent {escape(name)}", code(_setting(value)))
        for name, value in _settings(metrics.agent_config or {})
    ]
    rows += [
        (f"Version of {escape(name)}", code(version)) for name, version in sorted(metrics.software.items())
    ]
    return table(("What", "Which"), rows, left=2)


def _settings(agent: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for name, value in sorted(agent.items()):
        if isinstance(value, Mapping):
            yield from ((f"{name} {inner}", found) for inner, found in value.items())
        else:
            yield name, value


def _setting(value: object) -> str:
    text = plain(str(value))
    return text if len(text) <= _LONGEST_SETTING else f"{text[: _LONGEST_SETTING - 1]}…"
