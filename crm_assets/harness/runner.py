"""Runs one conversation: agent → tool calls → verification, turn by turn, in a leased sandbox."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from crm_assets.concurrency import gather_all, in_thread
from crm_assets.conversations import Conversation, JsonObject, Turn, find_references, resolve, turn_output
from crm_assets.crm import SandboxPool, Session, ToolError, deterministic_ids
from crm_assets.database import DatabaseGone
from crm_assets.errors import ConfigError, CrmAssetsError
from crm_assets.harness.assembly import SandboxEnd, assemble, without_verdict
from crm_assets.harness.ground_truth import GroundTruth, ids_of
from crm_assets.harness.protocol import (
    Agent,
    AgentSession,
    MadeCall,
    NotRecordedError,
    Outcome,
    TakenTurn,
    ToolCall,
    TurnEnd,
    enter,
    take_turn,
)
from crm_assets.harness.verification import (
    CallVerdict,
    Judge,
    judge_calls,
    judge_reply,
    judged,
    open_question,
)
from crm_assets.llm.spending import BudgetExhausted
from crm_assets.records.results import ConversationResult, TurnCall, TurnResult, Verification

__all__ = ["ConversationRunner"]

_Result = TypeVar("_Result")


@dataclass
class _Run:
    """A conversation that is under way in a sandbox."""

    conversation: Conversation
    truth: GroundTruth
    agent: AgentSession
    seed_ids: frozenset[str]
    outputs: dict[int, JsonObject] = field(default_factory=dict)
    """By turn: what later turns may refer to; failed turns have none."""
    turns: list[TurnResult] = field(default_factory=list)


class ConversationRunner:
    """Runs conversations over one pool of sandboxes.

    Args:
        pool: where they run.
        database_is_local: whether a statement takes less than handing the wait to a thread would.
    """

    def __init__(self, pool: SandboxPool, *, database_is_local: bool = True) -> None:
        self._pool = pool
        # A local server answers in microseconds, less than handing the wait to a thread would take;
        # a distant one would hold up every other session meanwhile.
        self._is_local = database_is_local

    async def run(
        self,
        conversation: Conversation,
        truth: GroundTruth | Exception,
        *,
        agent: Agent,
        judge: Judge | None = None,
        now: datetime | None = None,
    ) -> ConversationResult:
        """Run `conversation`; the result's status says if something around the agent failed.

        Args:
            conversation: what is run.
            truth: its ground truth, or what kept it from being computed.
            agent: the agent to run.
            judge: decides what comparison cannot; None for no judge.
            now: what the CRM's clock stands at, for a run that is to be the same again; None for the time.

        Raises:
            ConfigError: a model cannot be asked at all, which is so for every other conversation, too.
            DatabaseGone: the sandbox's connection was lost; the conversation can begin again.
        """
        started = time.perf_counter()
        facts: dict[str, object] = {"agent": agent.describe()}
        if judge is not None:
            facts["judge"] = judge.describe()
        try:
            if isinstance(truth, Exception):
                raise truth
            run = _Run(conversation, truth, enter(agent, conversation), ids_of(truth.seeds))
            try:
                end = await self._run_in_sandbox(run, now)
            finally:
                await run.agent.end()
            facts |= run.agent.notes()
            facts["duration_seconds"] = round(time.perf_counter() - started, 6)  # without the judge's
            turns = run.turns if judge is None else await _judged(judge, conversation, run.turns)
        except NotRecordedError as error:
            facts["not_recorded"] = error.reason
            return without_verdict(conversation, "not_recorded", str(error), facts)
        except BudgetExhausted as error:
            return without_verdict(conversation, "not_run", str(error), facts)
        except (ConfigError, DatabaseGone):
            raise
        except CrmAssetsError as error:
            return without_verdict(conversation, "infrastructure_error", str(error), facts)
        return assemble(conversation, truth, turns, end, facts)

    async def _run_in_sandbox(self, run: _Run, now: datetime | None) -> SandboxEnd:
        ids = deterministic_ids(f"session {run.conversation.conversation_id}")
        sandbox = self._pool.acquire_idle()
        if sandbox is None:  # opening one would hold up every other session, however near the database is
            sandbox = await in_thread(self._pool.acquire, undo=self._pool.release)
        try:
            session = await self._off(
                lambda: sandbox.begin(run.truth.seeds, ids=ids, now=now), undo=Session.end
            )
            try:
                for turn in run.conversation.turns:
                    run.turns.append(await self._run_turn(run, turn, session))
                rows = await self._off(session.rows)
            finally:
                await self._off(session.end)
        finally:
            restored = await self._off(lambda: self._pool.release(sandbox))
        return SandboxEnd(rows, run.seed_ids, restored)

    async def _off(
        self, work: Callable[[], _Result], *, undo: Callable[[_Result], object] | None = None
    ) -> _Result:
        """Do database work: here and now if the server is local, else in a thread."""
        return work() if self._is_local else await in_thread(work, undo=undo)

    async def _run_turn(self, run: _Run, turn: Turn, session: Session) -> TurnResult:
        utterance = _spoken(run, turn)
        taken = await take_turn(run.agent, utterance, lambda call: self._make(session, call))
        expected = resolve(turn.expected_args, _known(run), strict=False)
        verdict = judge_calls(turn, expected, taken)
        if (output := _output(taken, verdict)) is not None:
            run.outputs[turn.turn_id] = turn_output(output.outcome.result)
        replied = judge_reply(run.conversation, turn, taken.reply)
        end = run.agent.ended_by()
        success = verdict.success and replied.success is not False and end != "agent_error"
        decisive = verdict.decisive
        return TurnResult(
            turn_id=turn.turn_id,
            segment_number=run.conversation.segment_of(turn.turn_id),
            user_utterance=utterance,
            tool_name=decisive.call.name if decisive else None,
            arguments=decisive.call.arguments if decisive else None,
            expected_tool=turn.expected_tool,
            expected_arguments=expected,
            expect_success=turn.expect_success,
            matches_expected_tool=verdict.matches_tool,
            matches_expected_arguments=verdict.matches_arguments,
            argument_mismatch_reason=verdict.reason,
            result=decisive.outcome.result if decisive else None,
            error=decisive.outcome.error if decisive else None,
            error_kind=_error_kind(decisive) if decisive else None,
            tool_success=verdict.success,
            response_success=replied.success,
            response_status=replied.status,
            agent_response_text=taken.reply,
            success=success,
            verification=_verification(verdict.verification, verdict.success, success, end),
            ended_by=end,
            token_usage=run.agent.usage(),
            calls=_calls(taken),
        )

    async def _make(self, session: Session, call: ToolCall) -> MadeCall:
        try:
            result = await self._off(lambda: session.call(call.name, call.arguments))
        except ToolError as error:
            return MadeCall(call, Outcome(called=True, error=error.message), error)
        return MadeCall(call, Outcome(called=True, result=result))


def _output(taken: TakenTurn, verdict: CallVerdict) -> MadeCall | None:
    """Return the call to whose result later turns refer: the expected one, else the last that succeeded."""
    if verdict.found and verdict.decisive is not None:
        return verdict.decisive if verdict.decisive.refusal is None else None
    return next((made for made in reversed(taken.made) if made.refusal is None), None)


def _error_kind(made: MadeCall) -> str | None:
    return made.refusal.kind if made.refusal else None


def _calls(taken: TakenTurn) -> tuple[TurnCall, ...]:
    """Return all calls of a turn that asked for several; those of others are in the result itself."""
    if len(taken.made) + len(taken.dropped) <= 1:
        return ()
    made = (
        TurnCall(
            each.call.name,
            each.call.arguments,
            made=True,
            writes=each.call.writes,
            result=each.outcome.result,
            error=each.outcome.error,
            error_kind=_error_kind(each),
        )
        for each in taken.made
    )
    dropped = (
        TurnCall(each.name, each.arguments, made=False, writes=each.writes) for each in taken.dropped
    )
    return (*made, *dropped)


def _verification(call: Verification, call_right: bool, success: bool, end: TurnEnd | None) -> Verification:
    """Return the verdict's kind; a turn that failed because the agent was cut short is of that kind."""
    if success:
        return call
    return end or ("response_mismatch" if call_right else call)


async def _judged(judge: Judge, conversation: Conversation, turns: list[TurnResult]) -> list[TurnResult]:
    """Return the turns with the judge's verdicts, asked for together once the sandbox is given back."""

    async def settle(number: int) -> TurnResult:
        question = open_question(conversation.turns[number], turns[number], tuple(turns[:number]))
        return judged(question, *await judge.judge(question)) if question else turns[number]

    return await gather_all(settle(number) for number in range(len(turns)))


def _known(run: _Run) -> dict[int, JsonObject]:
    """Return what expected arguments may refer to, by turn: this run's results, else the ground truth's.

    Never shown to the agent.
    """
    known = dict(run.outputs)
    for number, output in run.truth.outputs.items():
        known[number] = {**output, **run.outputs.get(number, {})}
    return known


def _spoken(run: _Run, turn: Turn) -> str:
    """Return what the user says, references filled from this run's results.

    A turn that failed has none. Where the ground truth's value is the ID of a seed row, the user means
    that row, which is there whatever the agent did; nothing else of the ground truth is ever said.
    """
    said: dict[int, JsonObject] = {}
    for reference in find_references(turn.user_utterance):
        name, number = reference.field, reference.turn
        values = run.outputs.get(number, {})
        meant = run.truth.outputs.get(number, {}).get(name)
        if name in values:
            value = values[name]
        elif isinstance(meant, str) and meant in run.seed_ids:
            value = meant
        else:
            value = f"[no {name} from turn {number}]"
        said.setdefault(number, {})[name] = value
    return str(resolve(turn.user_utterance, said)) if said else turn.user_utterance
