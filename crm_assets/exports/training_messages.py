"""A session as a chat: messages and tools as models are trained on, in OpenAI's form.

The messages are those of the student's history (`atlas.student_history`), without what a session learned or
was told by its teacher; of a run whose tools stood in the prompt's text, with tool calls all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from crm_assets.atlas.config import AgentConfig
from crm_assets.atlas.student_history import outcome_document
from crm_assets.atlas.student_prompt import function_tools, system_prompt
from crm_assets.errors import InputError, first_line
from crm_assets.harness import Outcome
from crm_assets.records import RunHeader, TurnResult
from crm_assets.records.results import TurnCall

__all__ = ["Message", "RunChat", "tool_documents"]

Message = dict[str, Any]


@cache
def tool_documents() -> tuple[bytes, ...]:
    """Return all tools of the CRM as JSON, as the student is given them."""
    return tuple(tool.encoded for tool in function_tools())


class RunChat(NamedTuple):
    """The settings that all chats of a run share."""

    system: str | None
    """The student's system prompt; None for an agent that is no model."""
    most_calls: int
    """Calls that a turn could make."""

    @classmethod
    def of(cls, header: RunHeader) -> RunChat:
        """Return what a run's header says.

        Raises:
            InputError: its settings are of another version.
        """
        settings = (header.settings or {}).get("agent")
        if settings is None:
            return cls(None, 1)
        try:
            agent = AgentConfig.model_validate({**settings, "tool_mode": "native"})
        except ValidationError as error:
            raise InputError(
                f"Run {header.run_id} has settings that this version cannot read ({first_line(error)}); "
                "export it with the version that made it."
            ) from None
        return cls(system_prompt(agent), agent.max_calls_per_turn if agent.calls_per_turn == "many" else 1)

    @property
    def opening(self) -> list[Message]:
        """Return the messages before the first that the user says."""
        return [] if self.system is None else [{"role": "system", "content": self.system}]

    def turns(self, turns: tuple[TurnResult, ...]) -> Iterator[list[Message]]:
        """Yield the messages of each turn, the user's first."""
        number = 0
        for turn in turns:
            messages: list[Message] = [{"role": "user", "content": turn.user_utterance}]
            calls = self._calls(turn)
            if calls:
                names = [f"call_{number + place}" for place in range(1, len(calls) + 1)]
                number += len(calls)
                messages.append(
                    {"role": "assistant", "content": "", "tool_calls": list(map(_asked, names, calls))}
                )
                messages += map(self._told, names, calls)
            if turn.agent_response_text or not calls:
                messages.append({"role": "assistant", "content": turn.agent_response_text or ""})
            yield messages

    def _calls(self, turn: TurnResult) -> list[TurnCall]:
        """Return the calls that stand in the history: where one is made, only that."""
        calls = turn.asked_calls
        return list(calls) if self.most_calls > 1 else [call for call in calls if call.made][:1]

    def _told(self, name: str, call: TurnCall) -> Message:
        outcome = Outcome(call.made, call.result, call.error)
        content = orjson.dumps(outcome_document(outcome, most_calls=self.most_calls)).decode()
        return {"role": "tool", "content": content, "name": call.tool_name, "tool_call_id": name}


def _asked(name: str, call: TurnCall) -> Message:
    # Chat templates take an object for the arguments; the student's history has one in their place, too.
    arguments = call.arguments if isinstance(call.arguments, dict) else {}
    return {
        "id": name,
        "type": "function",
        "function": {"name": call.tool_name, "arguments": arguments},
    }
