"""The student: the language model that works on the CRM by calling tools.

It gets the user's text and the results of its calls. Expected calls, replies and verdicts never reach this
module, so they cannot reach a request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crm_assets.atlas.config import AtlasConfig
from crm_assets.atlas.student_history import StudentHistory, asked_calls, outcome_document
from crm_assets.atlas.student_prompt import function_tools, plan_question, prompt_sha256, system_prompt
from crm_assets.errors import ConfigError
from crm_assets.harness import Action, Agent, AgentSession, Outcome, ToolCall, TurnEnd
from crm_assets.llm import (
    Caller,
    ChatReply,
    ChatRequest,
    ContextOverflow,
    MalformedReply,
    Message,
    Models,
    Spending,
    ToolChoice,
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
            "model": agent.model.name,
            "tool_mode": agent.tool_mode,
            "calls_per_turn": agent.calls_per_turn,
            "prompt_sha256": prompt_sha256(agent),
        }


class _StudentSession(AgentSession):
    def __init__(self, models: Models, caller: Caller, config: AtlasConfig, prompt: str) -> None:
        self._models = models
        self._caller = caller
        self._config = config
        self._history = StudentHistory(prompt, in_text=config.agent.tool_mode == "text")
        self._spent: list[Spending] = []
        self._end: TurnEnd | None = None
        self._overflowed = False
        """The conversation is longer than the model's context."""

    @property
    def most_calls(self) -> int:
        """Number of calls made per turn."""
        return self._config.agent.most_calls

    async def act(self, utterance: str) -> Action:
        """Ask for the calls that answer `utterance`, or for words.

        Raises:
            ModelError: the model's call failed.
            ConfigError: not even the system prompt and the tools fit the model's context.
            BudgetExhausted: the run's budget is spent.
        """
        self._spent, self._end = [], None
        self._history.add_user(utterance)
        return await self._next(self._config.student.tool_choice)

    async def proceed(self, outcomes: Sequence[Outcome], *, may_call: bool) -> Action:
        """Tell the outcomes, and ask for what comes next: the reply to the user, or further calls."""
        told = outcomes if self.most_calls > 1 else outcomes[:1]
        documents = [outcome_document(outcome, most_calls=self.most_calls) for outcome in told]
        self._history.add_outcomes(documents, may_call=may_call)
        return await self._next("auto" if may_call else "none")

    def usage(self) -> Mapping[str, TokenUsage]:
        """Return the tokens of the turn, including retries."""
        usage = Spending.total(self._spent).usage
        return {"student": TokenUsage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)}

    def ended_by(self) -> TurnEnd | None:
        """Return what cut the turn short."""
        return self._end

    async def _next(self, tool_choice: ToolChoice) -> Action:
        reply = await self._ask(tool_choice)
        may_call = tool_choice != "none"
        asked = asked_calls(reply, may_call=may_call)
        text = reply.content or ""
        if asked and may_call:
            # Where one call is made, the student goes on as if it had asked for no other.
            self._history.add_calls(reply, asked if self.most_calls > 1 else asked[:1])
        else:
            self._history.add_reply(text)
        return Action(tuple(ToolCall(call.name, call.arguments) for call in asked), text)

    async def _ask(self, tool_choice: ToolChoice) -> ChatReply:
        """Return a reply; one that stays empty counts as the agent's silence."""
        agent = self._config.agent
        request = ChatRequest(
            agent.model,
            tuple(self._history.messages),
            tools=() if agent.tool_mode == "text" else function_tools(),
            tool_choice=tool_choice,
            parallel_tool_calls=agent.calls_per_turn == "many",
            max_output_tokens=self._config.student.max_step_tokens,
        )
        if self._overflowed:
            return self._nothing()
        try:
            answer = await self._models.complete(self._caller, request, check=_check)
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
        if len(request.messages) == _OPENING and said < request.characters - said:
            raise ConfigError(
                f"{error} The system prompt and the tools alone, about "
                f"{(request.characters - said) // _CHARACTERS_A_TOKEN:,} tokens, do not fit: serve "
                f"{self._config.agent.model.name} with a larger context, or choose another model."
            ) from None


def _check(reply: ChatReply) -> str | None:
    """Complain of a reply that has not arrived whole; all else that the student wrote is its answer."""
    calls = asked_calls(reply)
    if not calls:
        return None if (reply.content or "").strip() else "It has neither a text nor a tool call."
    if reply.finish_reason == "length" and not isinstance(calls[-1].arguments, dict):
        return f"The arguments of {calls[-1].name[:80]} are cut off."
    return None


def _check_plan(reply: ChatReply) -> str | None:
    return None if (reply.content or "").strip() else "It has no text."


async def student_plan(
    models: Models, session: str, config: AtlasConfig, opening_utterance: str, pamphlet: str | None
) -> str:
    """Ask the student, without tools, for its plan for a conversation; one that stays empty is its plan.

    Raises:
        ModelError: the model's call failed.
        BudgetExhausted: the run's budget is spent.
    """
    agent = config.agent.model_copy(update={"tool_mode": "native"})  # no tools in the text either
    request = ChatRequest(
        agent.model,
        (
            Message("system", system_prompt(agent, pamphlet=pamphlet)),
            Message("user", plan_question(opening_utterance)),
        ),
        max_output_tokens=config.student.max_step_tokens,
    )
    try:
        reply = (await models.complete(Caller(session, "student"), request, check=_check_plan)).reply
    except MalformedReply as error:
        if error.reply is None:
            raise
        reply = error.reply
    return (reply.content or "").strip()
