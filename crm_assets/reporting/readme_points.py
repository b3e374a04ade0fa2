"""The points of a baseline's README: what ran, how well, how certain that is, what failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from crm_assets.records.estimate import CostEstimate
from crm_assets.reporting.document import Point, Points, Section, Text, code, strong
from crm_assets.reporting.estimate.wording import came_to
from crm_assets.reporting.formats import (
    at_least,
    counted,
    dollars,
    interval,
    number,
    of,
    percent,
    share,
    spread,
    with_interval,
)
from crm_assets.reporting.models import FailureExample, FailureKind, LoopFigures, Metrics
from crm_assets.reporting.wording import (
    STRICT_MEANING,
    describe_floor,
    describe_kind,
    describe_not_recorded,
    unit_of,
)

__all__ = ["RESULTS_TITLE", "agent_name", "lead", "point_sections"]

RESULTS_TITLE: Final = "Results"
"""Title of the section that a reader looks for first."""

_TOP_KINDS = 3
_SHORT_HASH = 12


def point_sections(metrics: Metrics, revision: Mapping[str, Any]) -> Iterator[Section]:
    """Yield the sections that come before the tables, in reading order."""
    yield _points("What ran", _what_ran(metrics, revision))
    yield _points(RESULTS_TITLE, _results(metrics))
    if metrics.loop:
        yield _points("Teacher, judges, and learning", _loop(metrics, metrics.loop))
    yield _points("Uncertainty", _uncertainty(metrics))
    yield _points("Most common failures", _failures(metrics))


def _points(title: str, points: Iterator[Text | Point]) -> Section:
    return Section(title, (Points(tuple(points)),))


def agent_name(metrics: Metrics) -> Text:
    """Return the agent's name, with its model if it has one."""
    agent = metrics.agent_config or {}
    name = code(str(agent.get("name") or "unnamed agent"))
    return (name, " (", code(str(agent["model"])), ")") if agent.get("model") else name


def lead(metrics: Metrics) -> Text:
    """Return the strict success rate in a sentence."""
    strict = metrics.strict_success
    if strict.value is None:
        return strong("No conversation has a verdict."), " The sections below say why."
    meaning = STRICT_MEANING[metrics.strict_success_formula]
    repeated = f" sessions of {_conversations(strict.conversations)}" if _is_repeated(metrics) else ""
    return (
        strong(f"{percent(strict)} of {unit_of(metrics)}s have {meaning}"),
        f" ({of(strict)}{repeated}; 95% interval {interval(strict)}).",
    )


def _what_ran(metrics: Metrics, revision: Mapping[str, Any]) -> Iterator[Text]:
    judge = {
        True: "; replies judged by a model",
        False: "; replies scored by comparison only, without a model as judge",
        None: "",
    }[metrics.use_llm_judge]
    modes = ", ".join(metrics.execution_modes)
    name, about = agent_name(metrics), _about_agent(metrics)
    yield strong("Agent"), " ", name, "; execution mode ", code(modes), ".", about
    yield (
        strong("Dataset"), " ", code(metrics.dataset or "unnamed"), f", {_size(metrics, revision)}; ",
        _revision(metrics, revision), ".",
    )  # fmt: skip
    yield strong("Sandbox"), " ", code(metrics.backend or "unnamed backend"), f"{judge}."
    if metrics.answered_by:
        yield strong("Models"), ": ", *_answers(metrics)
    yield strong("Run"), " ", code(metrics.run_id or "unnamed"), ": ", _outcome(metrics), "."
    if metrics.estimate is not None:
        yield strong("Cost"), " ", _came_to(metrics, metrics.estimate)


def _came_to(metrics: Metrics, estimate: CostEstimate) -> str:
    """Return what the run cost, beside what was estimated before it began."""
    was = came_to(estimate, metrics.own_cost_usd, metrics.own_tokens)
    partly = (
        f" for all {estimate.sessions:,} sessions, of which the budget covered some"
        if metrics.not_run
        else ""
    )
    return f"{was}{partly}. Estimated from {estimate.basis}."


def _answers(metrics: Metrics) -> Iterator[Text]:
    """Yield which model answered for each that was asked, and a warning where there were several."""
    for index, (asked, answered) in enumerate(metrics.answered_by.items()):
        yield "; " if index else ""
        yield code(asked)
        yield " answered by "
        yield code(answered[0])
        for other in answered[1:]:
            yield " and "
            yield code(other)
    yield "."
    if any(len(answered) > 1 for answered in metrics.answered_by.values()):
        yield strong(" Mixed: results of different models or servers are in one baseline.")


def _size(metrics: Metrics, revision: Mapping[str, Any]) -> str:
    """Return how many conversations ran, of how many there are, and how many are copies."""
    copies, held = metrics.copied_conversations, revision.get("conversations")
    ran = metrics.total_conversations + copies
    size = f"{ran:,} of its {held:,} conversations" if held and held > ran else _conversations(ran)
    if copies:
        size += f" ({copies:,} of them a copy of another under a different ID, and no conversation more)"
    if metrics.subset is not None:
        size += f", {metrics.subset}"
    return f"{size}, each run {metrics.repeats.epochs:,} times" if metrics.repeats else size


def _about_agent(metrics: Metrics) -> Text:
    """Return what a reader must know of an agent that is not a model."""
    agent = metrics.agent_config or {}
    if metrics.replay_of and not agent.get("recorded_sha256"):
        return (
            " ", strong("Replay"), " of ", code(metrics.replay_of.name), ": all replies of models come "
            "from that run; nothing was asked or paid anew, so this is no new sample.",
        )  # fmt: skip
    if agent.get("offline"):
        return " Offline models: built-in rules for trying the loop; scores don't reflect a real LLM."
    if imported := agent.get("imported"):
        file = code(str(imported["file"]))
        return (
            " ", strong("Imported"), ": calls and replies come from a past run (", file,
            "), replayed and scored again on this sandbox", *_copied(metrics), ".",
        )  # fmt: skip
    if recorded := agent.get("recorded_sha256") and agent.get("recorded"):
        return (
            " ", strong("Scored again"), ": calls and replies come from a results file (",
            code(str(recorded)), ")", *_copied(metrics), ".",
        )  # fmt: skip
    return ""


def _copied(metrics: Metrics) -> Iterator[Text]:
    """Say which baseline a results file was."""
    if metrics.replay_of:
        yield "; the file is that of "
        yield code(metrics.replay_of.name)
        yield ", so this is no new sample"


def _revision(metrics: Metrics, revision: Mapping[str, Any]) -> Text:
    sha = metrics.dataset_revision or revision.get("sha256")
    text: Text = ("revision ", code(sha[:_SHORT_HASH])) if sha else "revision unknown"
    if commit := revision.get("git_commit"):
        state = {True: " (file modified since)", False: " (unmodified)"}.get(revision.get("git_dirty"), "")  # type: ignore[arg-type]
        return text, ", git commit ", code(str(commit)[:_SHORT_HASH]), state
    if mtime := revision.get("mtime"):
        return text, f", not in git, file modified {mtime}"
    return text


def _outcome(metrics: Metrics) -> Text:
    total, unit = metrics.total_sessions, unit_of(metrics)
    if metrics.atlas_successful_runs == total:
        what = f"{unit}s" if total != 1 else unit
        return f"all {total:,} {what} finished" if total != 1 else f"the {what} finished"
    parts: list[Text] = [f"{metrics.atlas_successful_runs:,} of {counted(total, unit)} finished"]
    if metrics.failed_runs:
        parts += [", ", strong(f"{metrics.failed_runs:,} ended by an infrastructure failure")]
    if metrics.not_recorded_runs:
        parts.append(f", {metrics.not_recorded_runs:,} not in the recorded run")
    if metrics.not_run:
        parts += [", ", strong(f"{metrics.not_run:,} not run because the budget was spent")]
    return tuple(parts)


def _results(metrics: Metrics) -> Iterator[Text]:
    strict = strong(f"Strict success {with_interval(metrics.strict_success)}")
    yield strict, f": {STRICT_MEANING[metrics.strict_success_formula]}."
    if metrics.strict_success_formula != "turns":
        yield (
            strong(f"Every turn correct {with_interval(metrics.turns_right)}"),
            ", whatever the end state.",
        )
    state, floor = strong(f"State match {with_interval(metrics.state_match)}"), metrics.state_match_floor
    yield (
        state,
        ": the CRM ended in the expected state.",
        f" An agent that calls nothing gets {percent(floor)} ({describe_floor(floor)})." if floor else "",
    )
    yield f"Correct tool calls, by turn: {with_interval(metrics.turn_tool_success)}."
    yield f"Correct replies, by turn: {with_interval(metrics.turn_response_success)}."
    if metrics.expected_failures.count:
        yield f"Expected failures that failed as expected: {with_interval(metrics.expected_failures)}."
    if further := metrics.turns_with_further_calls:
        yield (
            strong(f"In {further:,} of {metrics.turns_executed:,} turns the agent asked for further calls"),
            ", which were not made (", code("agent.calls_per_turn"),
            "); a turn that asked for a further write is wrong.",
        )  # fmt: skip


def _loop(metrics: Metrics, loop: LoopFigures) -> Iterator[Text]:
    agent = metrics.agent_config or {}
    reward, missing = metrics.reward_summary, loop.rewards.failed
    yield (
        strong(f"Mean reward {number(reward.mean, 3)}"),
        f" (95% interval {spread(reward, 3)}) from the judges, over {_conversations(reward.count)}",
        f" ({counted(loop.rewards.scored, 'session')})" if loop.rewards.scored > reward.count else "",
        f"; {missing:,} without a reward." if missing else ".",
    )
    yield (
        f"The teacher gave guidance in {counted(loop.teacher.intervened, 'session')}. Strict success of "
        f"the first attempts alone: {with_interval(loop.first_attempt_strict_success)}."
    )
    start = counted(loop.entries_at_start or 0, "playbook entry", "playbook entries")
    learning = agent.get("learning")
    if learning == "on":
        yield (
            f"Learning was on: {counted(loop.learning_keys, 'learning key')} started with {start} in "
            f"total, {number(loop.entries_learnt)} were accepted, {number(loop.entries_rejected)} rejected."
        )
    elif learning == "frozen":
        yield f"Learning was frozen: {start} available, none added."
    elif learning == "off":
        yield "Learning was off: no playbook was used."
    yield from _playbook(metrics)
    if agent.get("feedback") == "oracle":
        yield strong(
            "Judges and learner saw the expected calls (feedback oracle): the playbook was learned from "
            "the answers."
        )
    yield _cost(metrics)


def _playbook(metrics: Metrics) -> Iterator[Text]:
    """Say whose playbook was used, and whether results may be remembered."""
    used, repeats = metrics.playbook, metrics.repeats
    if used is not None:
        yield (
            "Playbook of namespace ", code(used.namespace), f", version {used.version:,} before the run "
            f"and {used.version_after:,} after it (", code(used.sha256[:_SHORT_HASH]), " and ",
            code(used.sha256_after[:_SHORT_HASH]), ").",
        )  # fmt: skip
        if used.taught_by:
            yield strong(
                f"{_conversations(used.taught_by)} of this run had taught that playbook before: a rise "
                "over earlier runs may be memory of these conversations."
            )
        if used.awaiting_approval:
            waiting = counted(used.awaiting_approval, "session")
            yield (
                f"Waiting for approval, so not in the playbook yet: what {waiting} taught (",
                code("crm-assets review list"), ").",
            )  # fmt: skip
    if repeats is not None and (metrics.agent_config or {}).get("learning") == "on":
        yield strong("Later epochs were taught by earlier ones of the same conversations.")


def _cost(metrics: Metrics) -> Text:
    roles = metrics.token_usage.values()
    calls = sum(usage.calls or 0 for usage in roles)
    tokens = sum(usage.total_tokens for usage in roles)
    no_cost = sum(usage.unknown_cost_calls or 0 for usage in roles)
    no_usage = sum(usage.unknown_usage_calls or 0 for usage in roles)
    paid = metrics.total_cost_usd if metrics.origin is None else metrics.recorded_cost_usd
    cost = "unknown" if paid is None and calls else at_least(dollars(paid), no_cost)
    least = at_least(number(tokens), no_usage)
    if metrics.origin is not None:
        return (
            f"Cost: {dollars(metrics.own_cost_usd)} and no tokens. The recorded run's: {cost} and {least} "
            f"tokens in {number(calls)} calls, retries included."
        )
    return f"Cost: {cost} and {least} tokens in {number(calls)} calls, retries included."


def _uncertainty(metrics: Metrics) -> Iterator[Text]:
    strict = metrics.strict_success
    if strict.low is not None and strict.high is not None:
        yield (
            f"95% interval of the strict success rate: {interval(strict)}, from "
            f"{_conversations(strict.conversations)}. Conversations are treated as independent; turns of "
            "one conversation are not."
        )
        yield _sampling(metrics)
    else:
        yield "No conversation has a verdict, so there is no interval."
    if bounds := metrics.strict_success_bounds:
        not_run = f", {metrics.not_run:,} not run because the budget was spent" if metrics.not_run else ""
        yield (
            strong(f"Not in any rate, without a verdict: {counted(bounds.missing, unit_of(metrics))}"),
            f" ({metrics.failed_runs:,} ended by an infrastructure failure, "
            f"{metrics.conversations_without_verdict:,} undecided{not_run}). Counted as failures, strict "
            f"success would be {percent(bounds.worst)}; counted as successes, {percent(bounds.best)}.",
        )
    if metrics.not_recorded_runs:
        missing = counted(metrics.not_recorded_runs, unit_of(metrics))
        why = describe_not_recorded(metrics.not_recorded_reasons)
        yield f"Not in any rate, missing from the recorded run: {missing}{f' ({why})' if why else ''}."
    yield from _excluded_turns(metrics)


def _sampling(metrics: Metrics) -> Text:
    covered = "The interval covers the choice of conversations"
    if metrics.repeats is None:
        return f"{covered}, not how much results vary between runs: each conversation ran once."
    k = str(metrics.repeats.epochs)
    hat, at = metrics.repeats.pass_hat_k[k], metrics.repeats.pass_at_k[k]
    return (
        f"{covered}. Each conversation ran {k} times: all runs succeeded for {share(hat.mean)} of "
        f"conversations (pass^{k}), at least one for {share(at.mean)} (pass@{k})."
    )


def _excluded_turns(metrics: Metrics) -> Iterator[Text]:
    if metrics.turns_undecided:
        yield (
            f"Not in any turn rate, undecided: {metrics.turns_undecided:,} of {metrics.turns_executed:,} "
            "turns, for which a judge was needed and not available."
        )
    replies = metrics.replies
    if replies.unscored:
        yield (
            f"Replies: {replies.scored:,} scored, {replies.unscored:,} unscored (no verdict was possible), "
            f"{replies.not_applicable:,} with nothing to compare. Reply rates count only scored replies."
        )
    planned = metrics.turns_planned
    if planned is not None and planned > metrics.turns_executed:
        yield (
            f"Turns: {metrics.turns_executed:,} of {planned:,} were executed; turn rates count only those."
        )


def _failures(metrics: Metrics) -> Iterator[Text | Point]:
    reasons, kinds = metrics.infrastructure_failures[:_TOP_KINDS], metrics.failure_kinds[:_TOP_KINDS]
    for reason in reasons:
        sessions = counted(reason.sessions, "session")
        yield f"Infrastructure: {reason.message} ({sessions}, e.g. ", code(reason.example), ")."
    yield from map(_kind, kinds)
    if not reasons and not kinds:
        yield "No turn failed." if metrics.turns_executed else "No turn was executed."
    elif metrics.first_failed_turn:
        turn, count = max(metrics.first_failed_turn.items(), key=lambda item: (item[1], item[0]))
        failed = sum(metrics.first_failed_turn.values())
        yield (
            f"The first failure is most often at turn {turn}: in {count:,} of the "
            f"{counted(failed, unit_of(metrics))} with a failed turn."
        )


def _kind(kind: FailureKind) -> Point:
    turns = f"{of(kind.share_of_turns)} turns ({percent(kind.share_of_turns)})"
    text = (
        strong(describe_kind(kind.kind)), " (", code(kind.kind), f"): {turns} in "
        f"{_conversations(kind.conversations)}; the first failure in {kind.first_failures:,}.",
    )  # fmt: skip
    return Point(text, tuple(map(_example, kind.examples[:1])))


def _example(example: FailureExample) -> Text:
    called = example.called_tool
    expected: Text = (
        ("expected ", code(example.expected_tool)) if example.expected_tool else "expected no tool"
    )
    what: tuple[Text, ...] = (expected, ", called ", code(called) if called else "no tool")
    if called == example.expected_tool and called:
        what = ("called ", code(called))
    if example.detail and (not called or called == example.expected_tool):
        what = (*what, f": {example.detail}")  # of another tool, the names say all that the detail would
    return code(example.conversation_id), f", turn {example.turn_id}: “{example.user_utterance}” – ", what


def _is_repeated(metrics: Metrics) -> bool:
    return unit_of(metrics) == "session"


def _conversations(count: int) -> str:
    return counted(count, "conversation")
