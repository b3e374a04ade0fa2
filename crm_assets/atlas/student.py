"""The student: the language model that works on the CRM, one tool call a turn.

It gets the user's text and the results of its calls. Expected calls, replies and verdicts never reach this
module, so they cannot reach a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from crm_assets.atlas.config import AtlasConfig
from crm_assets.atlas.student_prompt import (
    function_tools,
    plan_question,
    prompt_sha256,
    system_prompt,
    text_outcome,
)
from crm_assets.crm import TOOLS
from crm_assets.errors import ConfigError
from crm_assets.harness import Agent, AgentSession, Outcome, ToolCall, TurnEnd
from crm_assets.llm import (
    Caller,
    ChatReply,
    ChatRequest,
    ContextOverflow,
    FunctionCall,
    MalformedReply,
    Message,
    Models,
    ProviderState,
    ReplyCheck,
    Spending,
    calls_in_text,
    object_arguments,
)
from crm_assets.records import TokenUsage

__all__ = ["Student", "student_plan"]

_ENDS: Mapping[str, TurnEnd] = {"length": "length", "refusal": "refusal"}
_OPENING = 2  # messages: the system prompt and the first that the user says
_CHARACTERS_A_TOKEN = 4


class Student(Agent):
    """A language model as an agent of the harness."""

    def __init__(
        self,
        models: Models,
        caller_session: str,
        config: AtlasConfig,
        *,
        pamphlet: str | None = None,
        plan: str | None = None,
        guidance: str | None = None,
    ) -> None:
        """Prepare the student for one session.

        Args:
            models: the model client.
            caller_session: the session's ID in the ledger.
            config: the student's model, prompt and parameters.
            pamphlet: the playbook block before its prompt.
            plan: its plan, reviewed by the teacher.
            guidance: the teacher's guidance on the attempt before.
        """
        self._models = models
        self._caller = Caller(caller_session, "student")
        self._config = config
        self._prompt = system_prompt(config.agent, pamphlet=pamphlet, plan=plan, guidance=guidance)

    def begin(self, conversation_id: str) -> AgentSession:
        """Begin a conversation; the model is not shown its ID."""
        return _StudentSession(self._models, self._caller, self._config, self._prompt)

    def describe(self) -> Mapping[str, object]:
        """Return name, model, and the hash of the prompt without learned content and guidance."""
        agent = self._config.agent
        return {
            "name": agent.name,
            "model": agent.llm.name,
            "tool_mode": agent.tool_mode,
            "prompt_sha256": prompt_sha256(agent),
        }


class _StudentSession(AgentSession):
    def __init__(self, models: Models, caller: Caller, config: AtlasConfig, prompt: str) -> None:
        self._models = models
        self._caller = caller
        self._config = config
        self._messages = [Message("system", prompt)]
        self._said: str | None = None
        """The reply in a turn without a call."""
        self._call_id = ""
        self._calls = 0
        self._spent: list[Spending] = []
        self._end: TurnEnd | None = None
        self._overflowed = False
        """The conversation is longer than the model's context."""

    async def act(self, utterance: str) -> ToolCall | None:
        """Ask for the tool call that answers `utterance`; return None if the student only talks.

        Raises:
            ModelError: the model's call failed.
            ConfigError: not even the system prompt and the tools fit the model's context.
            BudgetExhausted: the run's budget is spent.
        """
        self._spent = []
        self._said = self._end = None
        self._messages.append(Message("user", utterance))
        required = self._config.student.tool_choice == "required"
        reply = await self._ask(_check_required if required else _check_act, called=False)
        step = _read(reply)
        if step is None:
            self._said = reply.content or ""
            self._say(self._said)
            return None
        self._calls += 1
        self._remember_call(reply, step)
        return ToolCall(step.name, step.arguments)

    async def reply(self, outcome: Outcome) -> str | None:
        """Ask for the reply to the user; a turn without a call already has one."""
        if self._said is not None:
            return self._said
        document = {"result": outcome.result} if outcome.error is None else {"error": outcome.error}
        if self._in_text:
            self._messages.append(Message("user", text_outcome(document)))
        else:
            content = orjson.dumps(document).decode()
            self._messages.append(Message("tool", content, tool_call_id=self._call_id))
        reply = await self._ask(_check_reply, called=True)
        text = reply.content or ""
        self._say(text)
        return text

    def usage(self) -> Mapping[str, TokenUsage]:
        """Return the tokens of the turn, including retries."""
        usage = Spending.total(self._spent).usage
        return {"student": TokenUsage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)}

    def ended_by(self) -> TurnEnd | None:
        """Return what cut the turn short."""
        return self._end

    @property
    def _in_text(self) -> bool:
        return self._config.agent.tool_mode == "text"

    async def _ask(self, check: ReplyCheck, *, called: bool) -> ChatReply:
        """Return a reply; one that stays malformed counts as the agent's text."""
        request = ChatRequest(
            self._config.agent.llm,
            tuple(self._messages),
            tools=() if self._in_text else function_tools(),
            tool_choice="none" if called else self._config.student.tool_choice,
            max_output_tokens=self._config.student.max_step_tokens,
        )
        if self._overflowed:
            return self._nothing()
        try:
            answer = await self._models.complete(self._caller, request, check=check)
        except MalformedReply as error:
            if error.reply is None:
                raise
            reply, spending = error.reply, error.spending
        except ContextOverflow as error:
            self._require_room(request, error)
            return self._nothing()
        else:
            reply, spending = answer.reply, answer.spending
        if spending is not None:
            self._spent.append(spending)
        self._end = _ENDS.get(reply.finish_reason, self._end)
        return reply

    def _nothing(self) -> ChatReply:
        """Return what the student says once the conversation is longer than the model's context."""
        self._overflowed, self._end = True, "context_overflow"
        return ChatReply("")

    def _require_room(self, request: ChatRequest, error: ContextOverflow) -> None:
        """Tell a conversation that has grown too long from a context that is too small for any."""
        said = sum(len(message.encoded) for message in request.messages[1:])
        if len(self._messages) == _OPENING and said < request.characters - said:
            raise ConfigError(
                f"{error} The system prompt and the tools alone, about "
                f"{(request.characters - said) // _CHARACTERS_A_TOKEN:,} tokens, do not fit: serve "
                f"{self._config.agent.llm.name} with a larger context, or choose another model."
            ) from None

    def _new_id(self) -> str:
        taken = {call.id for message in self._messages for call in message.tool_calls}
        number = self._calls
        while f"call_{number}" in taken:
            number += 1
        return f"call_{number}"

    def _say(self, text: str) -> None:
        if text:  # providers refuse empty messages
            self._messages.append(Message("assistant", text))

    def _remember_call(self, reply: ChatReply, step: _Step) -> None:
        """Add the call to the history in a form that providers accept: one call with JSON arguments."""
        arguments = step.arguments if isinstance(step.arguments, dict) else {}
        if self._in_text:
            call = {"tool": step.name, "arguments": arguments}
            self._messages.append(Message("assistant", orjson.dumps(call).decode()))
            return
        self._call_id = step.id or self._new_id()
        made = FunctionCall(self._call_id, step.name, orjson.dumps(arguments).decode(), step.state)
        content = reply.content if reply.tool_calls else None
        self._messages.append(Message("assistant", content or None, tool_calls=(made,), state=reply.state))


@dataclass(frozen=True)
class _Step:
    """A tool call from the model."""

    id: str
    name: str
    arguments: Any
    """An object, or the raw text if it is not an object."""
    state: ProviderState | None = None
    """What the provider wants back with the call."""


def _read(reply: ChatReply) -> _Step | None:
    """Return the first call of a reply, ignoring others; None without one."""
    if reply.tool_calls:
        call = reply.tool_calls[0]
        return _Step(call.id, call.name, object_arguments(call.arguments), call.state)
    written = calls_in_text(reply.content)
    return _Step("", written[0].name, written[0].arguments) if written else None


def _check_act(reply: ChatReply) -> str | None:
    step = _read(reply)
    if step is None:
        return None if (reply.content or "").strip() else "It has neither a text nor a tool call."
    if step.name not in TOOLS:
        return f"It calls {step.name[:80]!r}, which is none of the tools."
    if not isinstance(step.arguments, dict):
        return f"The arguments of {step.name} are no JSON object."
    return None


def _check_required(reply: ChatReply) -> str | None:
    return "It has no tool call." if _read(reply) is None else _check_act(reply)


def _check_reply(reply: ChatReply) -> str | None:
    return None if (reply.content or "").strip() else "It has no text."


async def student_plan(
    models: Models, session: str, config: AtlasConfig, opening_utterance: str, pamphlet: str | None
) -> str:
    """Ask the student, without tools, for its plan for a conversation.

    Raises:
        ModelError: the model's call failed, or its reply is empty.
        BudgetExhausted: the run's budget is spent.
    """
    agent = config.agent.model_copy(update={"tool_mode": "native"})  # no tools in the text either
    request = ChatRequest(
        agent.llm,
        (
            Message("system", system_prompt(agent, pamphlet=pamphlet)),
            Message("user", plan_question(opening_utterance)),
        ),
        max_output_tokens=config.student.max_step_tokens,
    )
    answer = await models.complete(Caller(session, "student"), request, check=_check_reply)
    return (answer.reply.content or "").strip()
