"""Reads logs of Inspect (.eval) as results files: the calls and replies of each sample, turn by turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import orjson

from crm_assets.errors import InputError
from crm_assets.exports.inspect_package import require_inspect
from crm_assets.workspace.files import write_jsonl

if TYPE_CHECKING:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatMessage

__all__ = ["as_results_file"]

Document = dict[str, Any]


@contextmanager
def as_results_file(file: Path) -> Iterator[Path]:
    """Yield the results file that a log of Inspect comes to, of the same name; any other file as it is.

    A user's message begins a turn; the calls and the text that follow it are the agent's. Of several
    epochs the first one counts.

    Raises:
        InputError: Inspect is not installed, or the log cannot be read.
    """
    if file.suffix != ".eval":
        yield file
        return
    require_inspect()
    with TemporaryDirectory() as folder:
        results = Path(folder) / file.name
        write_jsonl(results, _results(file))
        yield results


def _results(file: Path) -> Iterator[Document]:
    from inspect_ai.log import (  # noqa: PLC0415  (takes seconds)
        read_eval_log,
        read_eval_log_sample,
        read_eval_log_sample_summaries,
    )

    try:
        provider, _, model = read_eval_log(str(file), header_only=True).eval.model.partition("/")
        summaries = read_eval_log_sample_summaries(str(file))
    except Exception as error:  # whatever Inspect, its ZIP reader or its models raise
        raise InputError(f"{file} is no log that Inspect can read: {error}") from error
    agent = {"provider": provider, "model": model or provider}
    # The last result of a conversation counts.
    for summary in sorted(summaries, key=lambda each: (-each.epoch, str(each.id))):
        sample = read_eval_log_sample(str(file), summary.id, summary.epoch)
        yield {**_result(sample), "format": "inspect", "metadata": {"agent": agent}}


def _result(sample: EvalSample) -> Document:
    error = sample.error.message if sample.error else sample.limit.reason if sample.limit else None
    turns = [] if sample.error else list(_turns(sample.messages))
    verdicts = {name: score.value for name, score in (sample.scores or {}).items()}
    return {
        "schema_version": 2,
        "conversation_id": str(sample.id),
        "status": "error" if error and not turns else "completed",
        "error_message": error,
        "overall_success": _verdict(verdicts.get("strict_success")),
        "turns_right": _verdict(verdicts.get("every_turn")),
        "state_match": _verdict(verdicts.get("state_match")),
        "per_turn_results": turns,
    }


def _verdict(value: object) -> bool | None:
    """Return a score as a verdict; anything but right and wrong is none."""
    known: dict[object, bool] = {"C": True, "I": False, 1: True, 0: False}
    return known.get(value) if isinstance(value, str | int | float) else None


def _turns(messages: list[ChatMessage]) -> Iterator[Document]:
    number, turn = 0, None
    for message in messages:
        if message.role == "user":
            if turn is not None:
                yield _finished(turn)
            number += 1
            turn = {"turn_id": number, "user_utterance": message.text, "calls": []}
        elif turn is not None and message.role == "assistant":
            turn["calls"] += [_call(call) for call in message.tool_calls or ()]
            if message.text:
                turn["agent_response_text"] = message.text
        elif turn is not None and message.role == "tool":
            _answer(turn["calls"], message)
    if turn is not None:
        yield _finished(turn)


def _call(call: Any) -> Document:
    """Return a call; arguments that could not be parsed are a text: what Inspect says of them."""
    arguments = call.parse_error if call.parse_error else call.arguments
    return {"id": call.id, "tool_name": call.function, "arguments": arguments, "made": True}


def _answer(calls: list[Document], message: Any) -> None:
    for call in calls:
        if call["id"] == message.tool_call_id and "result" not in call:
            call["result"] = _value(message.text)
            if message.error is not None:
                call["error"] = message.error.message
                call["made"] = message.error.type != "limit"
            return


def _value(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text or None


def _finished(turn: Document) -> Document:
    """Return a turn as results files have it: its first call by itself, and all if there are several."""
    calls = turn.pop("calls")
    first = (
        {name: calls[0].get(name) for name in ("tool_name", "arguments", "result", "error")}
        if calls
        else {}
    )
    return {**turn, **first, **({"calls": calls} if len(calls) > 1 else {})}
