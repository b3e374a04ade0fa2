"""A session as a sample of an Inspect log.

Samples are dictionaries in the shape of `inspect_ai.log.EvalSample`: going through its models would take
most of the time of an export.
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from crm_assets.exports.inspect_scores import scores_of
from crm_assets.records import LoopSession, RoleUsage, TurnResult
from crm_assets.records.results import TurnCall
from crm_assets.reporting.wording import describe_kind

__all__ = ["RunFacts", "Sample", "add_usage", "sample_of", "shorten"]

_LONGEST_TEXT: Final = 5120  # of input and target in a summary, as Inspect cuts them
_SHORT: Final = 300  # of input and target in a list of samples
_LONGEST_VALUE: Final = 1024  # of explanations and metadata
_ENDED_BY: Final = {
    "length": "max_tokens",
    "refusal": "content_filter",
    "context_overflow": "model_length",
}


@dataclass(frozen=True)
class RunFacts:
    """The facts of a run that its samples repeat."""

    started: str
    """ISO 8601, UTC; stands for the time of every event, as sessions do not record those of calls."""
    model: str
    """Model of the student, or the scripted agent."""
    system_prompt: str | None
    """The configured prompt of the student."""
    models: Mapping[str, str]
    """Model of each role; a role that several models play is left out."""
    budget: tuple[str, float] | None
    """Kind of limit (`cost`, `token`) and size of the run's budget."""
    flips: Mapping[str, str] = field(default_factory=dict)
    """Change of a conversation's strict success against another run: gained, lost, same."""


@dataclass(frozen=True)
class Sample:
    """A session for a log."""

    document: dict[str, Any]
    """In the shape of `EvalSample`."""
    summary: dict[str, Any]
    """In the shape of `EvalSampleSummary`."""
    values: tuple[tuple[str, float | None], ...]
    """Name and value of each score; None for no verdict."""


def sample_of(session: LoopSession, run: RunFacts) -> Sample:
    """Return a session as a sample, with its summary."""
    result = session.conversation_result
    turns = result.per_turn_results
    uuid = hashlib.sha256(f"{session.task_id}::{session.epoch}".encode()).hexdigest()[:22]
    scored = list(scores_of(session))
    messages = list(_messages(turns, run.system_prompt))
    for number, message in enumerate(messages):
        message["id"] = f"{uuid}-{number}"
    roles = _role_usage(session)
    shared: dict[str, Any] = {
        "id": session.conversation_id,
        "epoch": session.epoch,
        "input": _input(turns),
        "target": [_target(turn) for turn in turns],
        "metadata": _metadata(session, run),
        "model_usage": _model_usage(roles, run.models),
        "role_usage": roles,
        "uuid": uuid,
        **_known(total_time=result.metadata.get("duration_seconds")),
    }
    scores = {name: score for name, _, score in scored}
    document = {
        **shared,
        "messages": messages,
        "output": _output(messages, run.model, _stop_reason(turns)),
        "store": {"state_match": result.state_match, "state_diff": result.state_diff},
        "events": list(_events(messages, run)),
        "events_data": {"messages": messages, "calls": []},
        "attachments": {},
        **_end(session, run),
    }
    summary = {**_thin(shared), "completed": True, "message_count": len(messages)}
    if "error" in document:
        summary["error"] = document["error"]["message"]
    if "limit" in document:
        summary["limit"] = document["limit"]["type"]
        summary["limit_reason"] = document["limit"]["reason"]
    if scores:
        document["scores"] = scores
        summary["scores"] = {name: _thin_score(score) for name, score in scores.items()}
    return Sample(document, summary, tuple((name, value) for name, value, _ in scored))


def shorten(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return as much of a summary as a list of samples shows."""
    tokens = sum(used["total_tokens"] for used in summary["role_usage"].values())
    return {
        **summary,
        "input": summary["input"][:_SHORT],
        "target": "; ".join(summary["target"])[:_SHORT],
        "model_usage": {"all": {"total_tokens": tokens}} if tokens else {},
        "role_usage": {},
        **_known(scores=_values_of(summary.get("scores"))),
    }


def _values_of(scores: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Any] | None:
    if scores is None:
        return None
    return {name: {"value": score["value"]} for name, score in scores.items()}


def _input(turns: tuple[TurnResult, ...]) -> str:
    if len(turns) == 1:
        return turns[0].user_utterance
    return "\n".join(f"{turn.turn_id}. {turn.user_utterance}" for turn in turns)


def _target(turn: TurnResult) -> str:
    call = f"{turn.expected_tool}({_json(turn.expected_arguments)})"
    return call if turn.expect_success else f"{call}, which is to be rejected"


def _metadata(session: LoopSession, run: RunFacts) -> dict[str, Any]:
    """Return what a reader filters by."""
    facts, result = session.atlas_metadata, session.conversation_result
    failed = next((turn for turn in result.per_turn_results if turn.success is False), None)
    ran = session.ran is not None
    return _known(
        session=session.status,
        workflow=facts.workflow_category,
        complexity=facts.complexity_level,
        mode=facts.execution_mode,
        failure=describe_kind(failed.verification) if ran and failed else None,
        failed_turn=failed.turn_id if ran and failed else None,
        flip=run.flips.get(session.conversation_id),
        turns=len(result.per_turn_results),
        not_recorded=result.metadata.get("not_recorded"),
        attempts=facts.attempts,
        teacher_intervened=facts.teacher_intervened,
        teacher_valid=facts.teacher_valid,
        learning_key=facts.learning_key,
        replay_of=facts.replay_of,
        task_id=session.task_id,
    )


def _messages(turns: tuple[TurnResult, ...], system_prompt: str | None) -> Iterator[dict[str, Any]]:
    if system_prompt:
        yield {"role": "system", "content": system_prompt}
    for turn in turns:
        yield {"role": "user", "content": turn.user_utterance}
        calls = turn.asked_calls
        if calls:
            named = [(f"turn{turn.turn_id}-call{number}", call) for number, call in enumerate(calls, 1)]
            yield {
                "role": "assistant",
                "content": "",
                "tool_calls": [_call(name, call) for name, call in named],
            }
            for name, call in named:
                yield _answer(name, call)
        if turn.agent_response_text or not calls:
            yield {"role": "assistant", "content": turn.agent_response_text or ""}


def _call(name: str, call: TurnCall) -> dict[str, Any]:
    document = {"id": name, "function": call.tool_name, "arguments": call.arguments, "type": "function"}
    if not isinstance(call.arguments, Mapping):
        document["arguments"] = {}
        document["parse_error"] = f"The arguments are no JSON object: {_json(call.arguments)}"
    return document


def _answer(name: str, call: TurnCall) -> dict[str, Any]:
    error = call.error if call.made else "Not made: it is beyond the most calls of a turn."
    document: dict[str, Any] = {
        "role": "tool",
        "content": "" if error is not None else _json(call.result),
        "tool_call_id": name,
        "function": call.tool_name,
    }
    if error is not None:
        document["error"] = {"type": "unknown" if call.made else "limit", "message": error}
    return document


def _stop_reason(turns: tuple[TurnResult, ...]) -> str | None:
    return _ENDED_BY.get(turns[-1].ended_by or "") if turns else None


def _output(messages: list[dict[str, Any]], model: str, reason: str | None = None) -> dict[str, Any]:
    """Return the last of `messages` that is the agent's as the output of a model."""
    last = next((message for message in reversed(messages) if message["role"] == "assistant"), None)
    if last is None:
        return {"model": model, "choices": [], "completion": ""}
    reason = reason or ("tool_calls" if "tool_calls" in last else "stop")
    return {
        "model": model,
        "choices": [{"message": last, "stop_reason": reason}],
        "completion": last["content"],
    }


def _events(messages: list[dict[str, Any]], run: RunFacts) -> Iterator[dict[str, Any]]:
    """Yield the agent's messages as calls of its model: `messages_df` reads messages from nothing else.

    What it was asked is named by its place in the pool of messages, so that no message stands there twice.
    """
    for place, message in enumerate(messages):
        if message["role"] == "assistant":
            yield {
                "event": "model",
                "uuid": f"{message['id']}-call",
                "timestamp": run.started,
                "working_start": 0,
                "model": run.model,
                "role": "student",
                "input": [],
                "input_refs": [(0, place)],
                "tools": [],
                "tool_choice": "auto",
                "config": {},
                "output": _output([message], run.model),
            }


def _end(session: LoopSession, run: RunFacts) -> dict[str, Any]:
    """Return how a session ended that did not run to its end: an error, or the budget's limit."""
    reason = session.conversation_result.error_message or "No reason was recorded."
    if session.status == "not_run" and run.budget is not None:
        kind, most = run.budget
        return {"limit": {"type": kind, "limit": most, "reason": reason}}
    if session.status in ("failed", "not_run"):
        return {"error": {"message": reason, "traceback": "", "traceback_ansi": ""}}
    return {}


def _role_usage(session: LoopSession) -> dict[str, dict[str, Any]]:
    """Return the tokens of each role of which they are known; unknown is not 0."""
    facts = session.atlas_metadata
    usage = {
        role: _usage(used, facts.cost_usd.get(role))
        for role, used in facts.token_usage.items()
        if used.prompt_tokens is not None and used.completion_tokens is not None
    }
    return {role: used for role, used in usage.items() if used["total_tokens"]}


def _usage(used: RoleUsage, dollars: float | None) -> dict[str, Any]:
    prompt, completion = used.prompt_tokens or 0, used.completion_tokens or 0
    cached = used.cached_tokens or 0
    return {
        "input_tokens": prompt - cached,
        "output_tokens": completion,
        "total_tokens": prompt + completion if used.total_tokens is None else used.total_tokens,
        **_known(
            input_tokens_cache_read=used.cached_tokens,
            reasoning_tokens=used.reasoning_tokens,
            total_cost=dollars,
        ),
    }


def _model_usage(roles: Mapping[str, Mapping[str, Any]], models: Mapping[str, str]) -> dict[str, Any]:
    """Return the tokens by model."""
    found: dict[str, dict[str, Any]] = {}
    for role, used in roles.items():
        if (model := models.get(role)) is not None:
            add_usage(found.setdefault(model, {}), used)
    return found


def add_usage(total: dict[str, Any], used: Mapping[str, Any]) -> None:
    """Add one usage to another, in the shape of `inspect_ai.model.ModelUsage`."""
    for name, count in used.items():
        total[name] = total.get(name, 0) + count


def _known(**values: object) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def _thin(shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return what sample and summary share, as short as Inspect makes it in summaries."""
    return {
        **shared,
        "input": _cut(shared["input"]),
        "target": [_cut(target) for target in shared["target"]],
        "metadata": _thin_values(shared["metadata"]),
    }


def _thin_score(score: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **score,
        "explanation": _thin_text(score["explanation"]),
        "metadata": _thin_values(score["metadata"]),
    }


def _thin_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _thin_text(value) if isinstance(value, str) else value for name, value in values.items()}


def _thin_text(text: str) -> str:
    line = " ".join(text.split())
    return (
        line
        if len(line) <= _LONGEST_VALUE
        else textwrap.shorten(line, width=_LONGEST_VALUE, placeholder="...")
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "...\n(content truncated)"
