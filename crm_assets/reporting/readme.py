"""A baseline's README.md: what a person wants to know first, then the tables."""

from __future__ import annotations

from typing import Any

from crm_assets.errors import InputError
from crm_assets.reporting.formats import (
    counted,
    dollars,
    interval,
    number,
    of,
    percent,
    plain,
    share,
    spread,
    with_interval,
)
from crm_assets.reporting.markdown import code, escape
from crm_assets.reporting.models import FailureExample, FailureKind, Metrics
from crm_assets.reporting.readme_tables import all_tables, describe_kind

__all__ = ["render_readme"]

_TOP_KINDS = 3
_SHORT_HASH = 12


def render_readme(metrics: Metrics, *, revision: dict[str, Any] | None = None) -> str:
    """The README of a baseline, in Markdown.

    Args:
        metrics: the baseline's figures.
        revision: the baseline's revision.json, for what the sessions don't know of the dataset: its
            git commit, and how many conversations it holds.

    Raises:
        InputError: `revision` is that of another state of the dataset.
    """
    revision = revision or {}
    known = revision.get("sha256")
    if known and metrics.dataset_revision and known != metrics.dataset_revision:
        raise InputError(
            f"The sessions ran on dataset revision {metrics.dataset_revision[:_SHORT_HASH]}, and "
            f"revision.json names {str(known)[:_SHORT_HASH]}; use the files of one baseline."
        )
    sections = [
        f"# Baseline: {_agent(metrics)} on {code(metrics.dataset or 'an unnamed dataset')}",
        _lead(metrics),
        _section("What ran", _what_ran(metrics, revision)),
        _section("How well", _how_well(metrics)),
        *([_section("How the loop went", _loop(metrics))] if metrics.loop else []),
        _section("How sure", _how_sure(metrics)),
        _section("What failed most", _what_failed(metrics)),
        *(f"## {title}\n\n{body}" for title, body in all_tables(metrics, revision)),
    ]
    return "\n\n".join(sections) + "\n"


def _section(title: str, points: list[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {point}" for point in points)


def _agent(metrics: Metrics) -> str:
    agent = metrics.agent_config or {}
    name = code(str(agent.get("name") or "unnamed agent"))
    return f"{name} ({code(str(agent['model']))})" if agent.get("model") else name


def _lead(metrics: Metrics) -> str:
    strict = metrics.strict_success
    if strict.value is None:
        return "**No conversation could be decided.** The sections below say why."
    return (
        f"**{percent(strict)} of conversations right in every turn** ({of(strict)}; "
        f"95% interval {interval(strict)})."
    )


def _what_ran(metrics: Metrics, revision: dict[str, Any]) -> list[str]:
    held = revision.get("conversations")
    count = _conversations(metrics.total_conversations)
    if held is not None and held > metrics.total_conversations:
        count = f"{metrics.total_conversations:,} of its {held:,} conversations"
    judge = {
        True: "; replies judged by a model",
        False: "; replies judged by comparison only, without a model as judge",
        None: "",
    }[metrics.use_llm_judge]
    modes = ", ".join(f"{code(mode)}" for mode in metrics.execution_modes)
    return [
        f"**Agent** {_agent(metrics)}; execution mode {modes}.{_about_agent(metrics)}",
        f"**Dataset** {code(metrics.dataset or 'unnamed')}, {count}; {_revision(metrics, revision)}.",
        f"**Sandbox** {code(metrics.backend or 'unnamed backend')}{judge}.",
        f"**Run** {code(metrics.run_id or 'unnamed')}: {_outcome(metrics)}.",
    ]


def _about_agent(metrics: Metrics) -> str:
    """What must be known of an agent that is not what it seems."""
    agent = metrics.agent_config or {}
    if agent.get("offline"):
        return (
            " Offline models: rules that come along, to see the loop work; they say nothing of a language "
            "model."
        )
    if imported := agent.get("imported"):
        return (
            f" **Imported**: calls and replies are those of a past run ({code(imported['file'])}), made "
            "and scored again on this sandbox."
        )
    return ""


def _revision(metrics: Metrics, revision: dict[str, Any]) -> str:
    sha = metrics.dataset_revision or revision.get("sha256")
    text = f"revision {code(sha[:_SHORT_HASH])}" if sha else "revision unknown"
    if commit := revision.get("git_commit"):
        state = {True: ", and the file has changed since", False: ", unchanged since"}
        text += f", git commit {code(str(commit)[:_SHORT_HASH])}"
        text += state.get(revision.get("git_dirty"), "")  # type: ignore[arg-type]
    elif mtime := revision.get("mtime"):
        text += f", no git, file of {plain(str(mtime))}"
    return text


def _outcome(metrics: Metrics) -> str:
    total = metrics.total_conversations
    if metrics.atlas_successful_runs == total:
        return f"all {_conversations(total)} ran to their end"
    parts = [f"{metrics.atlas_successful_runs:,} of {_conversations(total)} ran to their end"]
    if metrics.failed_runs:
        parts.append(f"**the infrastructure ended {metrics.failed_runs:,}**")
    if metrics.not_recorded_runs:
        parts.append(f"{metrics.not_recorded_runs:,} are not in the recorded run")
    if metrics.not_run:
        parts.append(f"**the budget ended before {metrics.not_run:,}**")
    return ", ".join(parts)


def _how_well(metrics: Metrics) -> list[str]:
    points = [
        f"**Strict success {with_interval(metrics.strict_success)}**: every turn right.",
        f"**State match {with_interval(metrics.state_match)}**: the CRM was left as the right "
        "actions leave it.",
        f"Tool calls right, turn by turn: {with_interval(metrics.turn_tool_success)}.",
        f"Replies right, turn by turn: {with_interval(metrics.turn_response_success)}.",
    ]
    if metrics.expected_failures.count:
        points.append(
            f"Turns meant to fail that failed as they should: {with_interval(metrics.expected_failures)}."
        )
    return points


def _loop(metrics: Metrics) -> list[str]:
    """What teacher, judges and learner did, and what it cost."""
    loop = metrics.loop
    assert loop is not None
    agent = metrics.agent_config or {}
    reward, teacher = metrics.reward_summary, loop.teacher
    points = [
        f"**Mean reward {number(reward.mean, 3)}** (95% interval {spread(reward, 3)}) over "
        f"{_conversations(reward.count)}, as the judges see it"
        + (f"; {loop.rewards.failed:,} without a reward." if loop.rewards.failed else "."),
        f"The teacher sent the student back with guidance in {_conversations(teacher.intervened)}; first "
        f"attempts alone: {with_interval(loop.first_attempt_strict_success)} strict success.",
    ]
    learning = agent.get("learning")
    if learning == "on":
        points.append(
            f"Learning was on: {loop.learning_keys:,} learning keys began with "
            f"{number(loop.entries_at_start)} playbook entries between them; {number(loop.entries_learnt)} "
            f"were accepted on the way, {number(loop.entries_rejected)} rejected."
        )
    elif learning == "frozen":
        points.append(
            f"Learning was frozen: {number(loop.entries_at_start)} playbook entries were used, none added."
        )
    elif learning == "off":
        points.append("Learning was off: nothing that earlier sessions taught was used.")
    if agent.get("feedback") == "oracle":
        points.append(
            "**Judges and learner were shown the right calls (feedback `oracle`): what was learnt was "
            "learnt from the answers.**"
        )
    calls = [usage.calls for usage in metrics.token_usage.values() if usage.calls is not None]
    points.append(
        f"Cost: {dollars(metrics.total_cost_usd)} and "
        f"{number(sum(usage.total_tokens for usage in metrics.token_usage.values()))} tokens in "
        f"{number(sum(calls))} calls, retries included."
    )
    return points


def _how_sure(metrics: Metrics) -> list[str]:
    points = []
    strict = metrics.strict_success
    if strict.low is not None and strict.high is not None:
        points.append(
            f"{_conversations(strict.count)} put the true strict success rate at "
            f"{interval(strict)}: of 100 such samples, about 95 give an interval that holds it. "
            "Conversations count as independent, the turns of one conversation do not."
        )
        points.append(_again(metrics))
    if bounds := metrics.strict_success_bounds:
        points.append(
            f"**Without a verdict, and so in no rate: {_conversations(bounds.missing)}** "
            f"({metrics.failed_runs:,} ended by the infrastructure, "
            f"{metrics.conversations_without_verdict:,} undecided{_not_run(metrics)}). Counted as "
            f"failed, strict success would be {percent(bounds.worst)}; counted as succeeded, "
            f"{percent(bounds.best)}."
        )
    if metrics.not_recorded_runs:
        points.append(
            f"Not in the recorded run, and so in no rate: {_conversations(metrics.not_recorded_runs)}."
        )
    points += _unseen(metrics)
    return points or ["Nothing was decided, so there is nothing to be sure of."]


def _not_run(metrics: Metrics) -> str:
    return f", {metrics.not_run:,} not run for want of budget" if metrics.not_run else ""


def _again(metrics: Metrics) -> str:
    covered = "The intervals cover the choice of conversations."
    if metrics.repeats is None:
        return f"{covered} Whether the agent would do the same again, one run cannot say."
    k = str(metrics.repeats.epochs)
    hat, at = metrics.repeats.pass_hat_k[k], metrics.repeats.pass_at_k[k]
    return (
        f"{covered} Each was run {metrics.repeats.epochs} times: all of them succeeded for "
        f"{share(hat.mean)} of conversations (pass^{k}), at least one for {share(at.mean)} (pass@{k})."
    )


def _unseen(metrics: Metrics) -> list[str]:
    points = []
    if metrics.turns_undecided:
        points.append(
            f"Undecided, and so in no rate: {metrics.turns_undecided:,} of {metrics.turns_executed:,} "
            "turns, for which a judge was needed and could not be had."
        )
    replies = metrics.replies
    if replies.unscored:
        points.append(
            f"Replies: {replies.scored:,} scored, {replies.unscored:,} unscored (nobody could tell "
            f"right from wrong), {replies.not_applicable:,} with nothing to compare. Only scored "
            "ones are in the reply rates."
        )
    planned = metrics.turns_planned
    if planned is not None and planned > metrics.turns_executed:
        points.append(
            f"Turns: {metrics.turns_executed:,} of {planned:,} were executed; turn rates are of those."
        )
    return points


def _what_failed(metrics: Metrics) -> list[str]:
    points = [
        f"Infrastructure: {escape(failure.message)} ("
        f"{counted(failure.sessions, 'session')}, e.g. {code(failure.example)})."
        for failure in metrics.infrastructure_failures[:_TOP_KINDS]
    ]
    points += [_kind(kind, metrics) for kind in metrics.failure_kinds[:_TOP_KINDS]]
    if not points:
        return ["Nothing: no turn failed." if metrics.turns_executed else "No turn was executed."]
    if metrics.first_failed_turn:
        turn, count = max(metrics.first_failed_turn.items(), key=lambda item: (item[1], item[0]))
        points.append(
            f"Conversations go wrong first at turn {turn} most often: {count:,} of "
            f"{metrics.failed_conversations:,} failed ones."
        )
    return points


def _kind(kind: FailureKind, metrics: Metrics) -> str:
    turns = f"{of(kind.share_of_turns)} turns ({share(kind.share_of_turns.value)})"
    text = f"**{describe_kind(kind.kind)}** ({code(kind.kind)}): {turns} in "
    text += f"{_conversations(kind.conversations)}, the first failure of {kind.first_failures:,}."
    return text + "".join(f"\n  - {_example(example)}" for example in kind.examples[:1])


def _example(example: FailureExample) -> str:
    called = code(example.called_tool or "")
    expected = code(example.expected_tool) if example.expected_tool else "no tool"
    if example.called_tool and example.called_tool != example.expected_tool:
        what = f"expected {expected}, called {called}"  # which says all that the detail would
    else:
        what = f"called {called}" if example.called_tool else f"expected {expected}, called no tool"
        what += f": {escape(example.detail)}" if example.detail else ""
    return (
        f"{code(example.conversation_id)}, turn {example.turn_id}: "
        f"“{escape(example.user_utterance)}” – {what}"
    )


def _conversations(count: int) -> str:
    return counted(count, "conversation")
