"""One session, turn by turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from crm_assets.records import LoopSession, PastTurnVerdicts, TurnResult
from crm_assets.records.trace import TraceEvent
from crm_assets.reporting.document import Block, Cell, Column, Section, Table, figures
from crm_assets.reporting.formats import NOTHING, dollars, plain
from crm_assets.reporting.sessions_view.finding import Found
from crm_assets.reporting.sessions_view.wording import (
    arguments,
    mark,
    recorded_verdict,
    result,
    state_lines,
    text,
    verdict,
)

__all__ = ["session_blocks"]

Rows = Iterable[tuple[str, str]]
"""Names and values."""


def session_blocks(found: Found) -> Iterator[Block]:
    """Yield what a terminal shows of a session."""
    session = found.session
    yield from _section(plain(session.conversation_id), _header(found))
    yield from _section("Plan", _plan(session))
    theirs = _recorded_turns(session)
    for turn in session.conversation_result.per_turn_results:
        yield from _section(f"Turn {turn.turn_id}", _turn(turn, theirs.get(turn.turn_id)))
    yield from _section("End state", _state(session))
    yield from _section("Teacher", _teacher(session))
    yield from _section("Reward", _reward(session))
    yield from _section("Learning", _learnt(session))
    yield from _costs(session)


def _header(found: Found) -> Iterator[tuple[str, str]]:
    session, epochs, agent = found.session, found.epochs, found.run.agent or {}
    meta, outcome = session.atlas_metadata, session.conversation_result
    if session.task:
        yield "task", text(session.task)
    yield "kind", plain(f"{meta.workflow_category or 'no workflow'} · {meta.complexity_level or NOTHING}")
    yield "agent", plain(f"{agent.get('name', 'unnamed')}, {agent.get('model') or 'no model'}")
    if meta.replay_of:
        yield "replay of", plain(f"{meta.replay_of}; tokens and cost are that run's")
    yield "mode", _mode(session)
    if len(epochs) > 1:
        yield "epoch", f"{session.epoch} of {len(epochs)}"
    if meta.attempts and meta.attempts > 1:
        yield "attempts", f"{meta.attempts}; the turns below are of the last one"
    yield "session", "finished" if session.status == "succeeded" else session.status.replace("_", " ")
    if outcome.error_message:
        yield "because", text(outcome.error_message)
    strict = f"{mark(outcome.overall_success)} strict success, " if outcome.schema_version > 1 else ""
    verdicts = f"{mark(outcome.every_turn)} every turn correct, {mark(outcome.state_match)} end state"
    yield "harness", f"{strict}{verdicts}"
    if meta.review_status or meta.drift_alert:
        drift = "its reward is far from earlier ones" if meta.drift_alert else "by its configuration"
        yield "run", f"{plain(meta.review_status or 'no')} for learning ({drift}); not reviewed by a person"
    if meta.imported is not None:
        yield from _imported(session)


def _imported(session: LoopSession) -> Iterator[tuple[str, str]]:
    imported = session.atlas_metadata.imported
    assert imported is not None  # as the caller checked
    model = f", {plain(imported.model)}" if imported.model else ""
    yield "imported", f"{plain(imported.file)}{model}; replayed and scored again here"
    recorded = imported.recorded
    if recorded is None:
        yield "recorded", "missing: the file does not have this conversation"
        return
    reward = f", reward {recorded.recorded_reward:.3f}" if recorded.recorded_reward is not None else ""
    yield "recorded", f"{mark(recorded.recorded_overall_success)} every turn correct{reward}"
    if recorded.recorded_error_message:
        yield "", text(recorded.recorded_error_message)


def _mode(session: LoopSession) -> str:
    said = plain(session.atlas_metadata.execution_mode or "none")
    for event in session.events("mode"):
        confidence, source = event.data.get("confidence"), event.data.get("source")
        said += f", {plain(str(source)).replace('_', ' ')}" if source else ""
        said += f", confidence {confidence:g}" if isinstance(confidence, (int, float)) else ""
        said += f": {_of(event, 'reason')}" if event.data.get("reason") else ""
    return said


def _plan(session: LoopSession) -> Iterator[tuple[str, str]]:
    for event in session.events("plan_review"):
        yield "plan", _of(event, "plan")
        approved = event.data.get("approved")
        yield (
            "teacher",
            f"{mark(approved if isinstance(approved, bool) else None)} {_of(event, 'guidance')}",
        )
        if event.data.get("error"):
            yield "", _of(event, "error")


def _turn(turn: TurnResult, recorded: PastTurnVerdicts | None) -> Iterator[tuple[str, str]]:
    yield "user", text(turn.user_utterance)
    if turn.tool_name is None:
        yield "call", "none"
    else:
        yield "call", f"{plain(turn.tool_name)}\n{arguments(turn.arguments)}"
    if turn.error is not None:
        yield "rejected", text(turn.error)
    elif turn.tool_name is not None:
        yield "result", result(turn.result)
    for number, call in enumerate(turn.calls or (), 1):
        outcome = "not made" if not call.made else f"rejected: {text(call.error)}" if call.error else "made"
        yield f"call {number}", f"{plain(call.tool_name)} ({outcome})\n{arguments(call.arguments)}"
    if turn.agent_response_text:
        yield "reply", text(turn.agent_response_text)
    yield "verdict", verdict(turn)
    if turn.success is not True and turn.expected_tool:
        fails = "" if turn.expect_success else " (and should be rejected)"
        yield "expected", f"{plain(turn.expected_tool)}{fails}\n{arguments(turn.expected_arguments)}"
    judge = turn.judge
    for what, score in (("call", judge.call), ("reply", judge.reply)) if judge else ():
        if score is not None:
            yield "judge", f"{mark(score.success)} {what} {score.score:g}: {text(score.rationale)}"
    if judge and judge.error:
        yield "judge", text(judge.error)
    if recorded is not None:
        yield "recorded", recorded_verdict(recorded)


def _recorded_turns(session: LoopSession) -> dict[int, PastTurnVerdicts]:
    imported = session.atlas_metadata.imported
    return {each.turn_id: each for each in imported.recorded_turns if each.turn_id} if imported else {}


def _state(session: LoopSession) -> Iterator[tuple[str, str]]:
    outcome = session.conversation_result
    if outcome.state_match is True:
        yield mark(True), "as expected" + (", as without any call" if outcome.noop_state_match else "")
    elif outcome.state_match is False:
        for line in state_lines(outcome.state_diff):
            yield mark(False), line


def _teacher(session: LoopSession) -> Iterator[tuple[str, str]]:
    for event in session.events("validation"):
        valid = event.data.get("valid")
        said = f"{mark(valid)} accepted" if valid is True else f"{mark(False)} rejected"
        if not isinstance(valid, bool):
            said = f"{mark(None)} no verdict"
        yield f"attempt {event.attempt or NOTHING}", said
        for name in ("guidance", "error"):
            if event.data.get(name):
                yield "", _of(event, name)


def _reward(session: LoopSession) -> Iterator[tuple[str, str]]:
    meta = session.atlas_metadata
    reward = meta.session_reward
    if reward is None or reward.score is None:
        if meta.reward_status == "failed":
            yield "none", "no usable reply from the judges; this is not a reward of 0"
        return
    yield "score", f"{reward.score:.3f}"
    for judge in reward.judges:
        if judge.rationale:
            yield "because", text(judge.rationale)
        if judge.escalated:
            yield (
                "escalated",
                f"to the large judge: {text(judge.escalation_reason or 'no reason given')}",
            )
        for principle in judge.principles:
            weight = f" ({principle.weight:g})" if principle.weight is not None else ""
            yield "principle", f"{plain(principle.name)}{weight}: {text(principle.description)}"
        for sample in judge.samples:
            facts = f"{sample.score:.3f}"
            facts += f", uncertainty {sample.uncertainty:g}" if sample.uncertainty is not None else ""
            facts += f", temperature {sample.temperature:g}" if sample.temperature is not None else ""
            yield "sample", f"{facts}: {text(sample.rationale or NOTHING)}"


def _learnt(session: LoopSession) -> Iterator[tuple[str, str]]:
    meta = session.atlas_metadata
    if meta.entries_available is not None:
        yield "before", f"{meta.entries_available:,} playbook entries available"
    for event in session.events("learning"):
        entries, rejected = (event.data.get(name) or [] for name in ("entries", "rejected"))
        for entry in entries if isinstance(entries, list) else ():
            yield "accepted", plain(str(entry))
        for entry in rejected if isinstance(rejected, list) else ():
            yield "rejected", arguments(entry)
    if meta.learning_error:
        yield "failed", text(meta.learning_error)
    for name, note in (("student", session.student_learning), ("teacher", session.teacher_learning)):
        if note:
            yield name, text(note)


def _of(event: TraceEvent, name: str) -> str:
    value = event.data.get(name)
    return text(str(value)) if value is not None else ""


def _costs(session: LoopSession) -> Iterator[Section]:
    meta = session.atlas_metadata
    usage, costs = meta.token_usage or {}, meta.cost_usd or {}
    rows: list[tuple[Cell, ...]] = []
    for role in dict.fromkeys((*usage, *costs)):
        spent = usage.get(role)
        counts = (
            (spent.calls, spent.failed_calls, spent.prompt_tokens, spent.completion_tokens)
            if spent
            else (None,) * 4
        )
        rows.append((role, *counts, dollars(costs.get(role))))
    if rows:
        columns = (Column("Role"), *figures("Calls", "Failed", "Prompt", "Completion", "Cost"))
        yield Section("Cost", (Table.of(columns, rows),))


def _section(title: str, rows: Rows) -> Iterator[Section]:
    """Yield the section, unless it would be empty."""
    pairs = tuple(rows)
    if pairs:
        yield Section(title, (Table.pairs(pairs),))
