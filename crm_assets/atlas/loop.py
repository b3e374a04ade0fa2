"""One Atlas session: student, teacher, judges, learner, in the order of spec and mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from crm_assets.atlas.choices import LearningMode
from crm_assets.atlas.config import AtlasConfig
from crm_assets.atlas.learning import LearningCase, LearningOutcome, learn
from crm_assets.atlas.modes import choose_mode
from crm_assets.atlas.outcomes import ModeDecision, PlanReview, Reward, Validation
from crm_assets.atlas.playbook import (
    LearningState,
    Lesson,
    TurnFacts,
    UsageReport,
    render_playbook,
    track_usage,
)
from crm_assets.atlas.rewards import RewardCase, judge_session
from crm_assets.atlas.store import OpenSession
from crm_assets.atlas.student import student_plan
from crm_assets.atlas.teacher import review_plan, validate
from crm_assets.atlas.trajectory import Trajectory
from crm_assets.atlas.transcript import make_transcript
from crm_assets.atlas.working_agents import Agents, Told
from crm_assets.concurrency import time_limit
from crm_assets.conversations import Conversation
from crm_assets.errors import InfrastructureError
from crm_assets.harness import ConversationRunner, GroundTruth, Judge
from crm_assets.llm import BudgetExhausted, Models
from crm_assets.records import ConversationResult, TurnResult

__all__ = ["AtlasLoop", "Attempt", "SessionRun", "describe_task", "shown_metadata"]

_SHOWN = ("dataset", "workflow_category", "complexity_level", "source", "tags")


@dataclass(frozen=True)
class Attempt:
    """One run of the student through the conversation."""

    result: ConversationResult
    validation: Validation | None
    """None if no teacher was asked."""


@dataclass
class SessionRun:
    """A session's course; parts are filled in as they happen."""

    open: OpenSession
    conversation: Conversation
    trajectory: Trajectory
    judge: Judge | None
    """Decides what comparison cannot; None for no judge."""
    state: LearningState
    """The playbook so far, if it may be used."""
    mode: ModeDecision | None = None
    plan: PlanReview | None = None
    attempts: list[Attempt] = field(default_factory=list)
    guidance: list[str] = field(default_factory=list)
    """The teacher's guidance for the student, in order."""
    reward: Reward | None = None
    usage: UsageReport | None = None
    learnt: LearningOutcome | None = None

    @property
    def result(self) -> ConversationResult:
        """Return the last attempt's result."""
        return self.attempts[-1].result


def shown_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what judges are told of a session: nothing of one run alone, and no ground truth."""
    return {name: metadata[name] for name in _SHOWN if name in metadata}


def _usage_facts(turn: TurnResult) -> TurnFacts:
    called: dict[str, bool] = {}
    for call in turn.made_calls:
        called[call.tool_name] = called.get(call.tool_name, False) or call.error is None
    return TurnFacts(turn.user_utterance, called)


def describe_task(conversation: Conversation) -> str:
    """Return the task as teacher, judges and telemetry are told it, without any ground truth."""
    turns = len(conversation.turns)
    opening = conversation.turns[0].user_utterance
    plural = "s" if turns != 1 else ""
    return f"A conversation of {turns} turn{plural} with a CRM user, who begins: {opening}"


class AtlasLoop:
    """Takes sessions through the loop; one for all sessions of a run."""

    def __init__(
        self,
        config: AtlasConfig,
        learning: LearningMode,
        models: Models,
        agents: Agents,
        runner: ConversationRunner,
        *,
        handles: Mapping[str, str],
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """Prepare for sessions.

        Args:
            config: the run's.
            learning: whether what was learnt is used, and added to.
            models: whom all roles ask.
            agents: makes the agent of each session.
            runner: what takes the student through a conversation.
            handles: the CRM's tools with what they are for.
            clock: what dates entries of the playbook.
        """
        self._config = config
        self._learning = learning
        self._models = models
        self._agents = agents
        self._runner = runner
        self._handles = handles
        self._clock = clock

    async def run(
        self,
        opened: OpenSession,
        conversation: Conversation,
        truth: GroundTruth | Exception,
        judge: Judge | None = None,
    ) -> SessionRun:
        """Take one session to its end.

        Its result's status tells if something around the agent failed; then there is no reward.

        Raises:
            BudgetExhausted: the run's budget is spent; the session has no result.
            ModelError: the teacher's plan review or the student's plan could not be had.
        """
        run = SessionRun(opened, conversation, Trajectory(self._clock), judge, self._usable(opened))
        run.trajectory.begin(opened.start.task)
        run.mode = await choose_mode(
            self._models,
            opened.ledger_key,
            self._config,
            opened.context.history,
            opened.start.task,
        )
        run.trajectory.mode(run.mode)
        if run.mode.mode == "coach":
            await self._plan(run)
        await self._attempts(run, truth)
        if run.result.status == "completed":
            await self._judge(run)
            await self._learn(run)
        run.trajectory.end(run.result.status)
        return run

    def lesson_of(self, run: SessionRun) -> Lesson | None:
        """Return what the session taught; None if there is nothing to merge into its key's state."""
        if self._learning != "on" or run.result.status != "completed":
            return None
        return Lesson(
            update=run.learnt.update if run.learnt else None,
            usage=run.usage,
            session=run.open.start.session_key,
            conversation=run.conversation.conversation_id,
            reward=run.reward.score if run.reward else None,
            now=self._now(),
            pruning=self._config.learning.pruning_config,
        )

    def _usable(self, opened: OpenSession) -> LearningState:
        return LearningState() if self._learning == "off" else opened.context.learning

    async def _plan(self, run: SessionRun) -> None:
        session, opening = run.open.ledger_key, run.conversation.turns[0].user_utterance
        pamphlet = self._pamphlet(run, "student")
        plan = await student_plan(self._models, session, self._config, opening, pamphlet)
        run.plan = await review_plan(
            self._models,
            session,
            self._config,
            opening=opening,
            plan=plan,
            pamphlet=self._pamphlet(run, "teacher"),
        )
        run.trajectory.plan(run.plan)
        if run.plan.guidance:
            run.guidance.append(run.plan.guidance)

    async def _attempts(self, run: SessionRun, truth: GroundTruth | Exception) -> None:
        """Run the student, and once more with guidance if the teacher finds its work wrong."""
        for number in range(1, self._config.orchestration.max_retries + 2):
            result = await self._attempt(run, truth)
            if result.status == "not_run":
                raise BudgetExhausted(result.error_message or "The run's budget is spent.")
            run.trajectory.attempt(number, result)
            validation = None
            if result.status == "completed" and run.mode is not None and run.mode.mode != "auto":
                validation = await self._validate(run, result)
                run.trajectory.validation(number, validation)
            run.attempts.append(Attempt(result, validation))
            if validation is None or validation.valid is not False or not validation.guidance:
                return
            if number <= self._config.orchestration.max_retries:
                run.guidance.append(validation.guidance)

    async def _attempt(self, run: SessionRun, truth: GroundTruth | Exception) -> ConversationResult:
        told = Told(
            pamphlet=self._pamphlet(run, "student"),
            plan=run.plan.plan if run.plan else None,
            guidance=run.guidance[-1] if run.guidance else None,
        )
        agent = self._agents.of(run.open.ledger_key, told)
        limit = self._config.orchestration.step_timeout_seconds
        started = run.open.context.started_at
        try:
            with time_limit(limit):
                return await self._runner.run(
                    run.conversation, truth, agent=agent, judge=run.judge, now=started
                )
        except TimeoutError:  # in a replay, what the recorded run did not wait for ends like this, too
            late = InfrastructureError(f"The student took longer than {limit:g} s (step_timeout_seconds).")
        return await self._runner.run(run.conversation, late, agent=agent)

    async def _validate(self, run: SessionRun, result: ConversationResult) -> Validation:
        return await validate(
            self._models,
            run.open.ledger_key,
            self._config,
            make_transcript(result, run.conversation, feedback="none"),
            pamphlet=self._pamphlet(run, "teacher"),
            guidance_given=run.guidance[-1] if run.guidance else None,
        )

    async def _judge(self, run: SessionRun) -> None:
        assert run.mode is not None
        turns = run.result.per_turn_results
        case = RewardCase(
            task=run.open.start.task,
            plan=run.plan.plan if run.plan else None,
            transcript=make_transcript(run.result, run.conversation, feedback=self._config.feedback),
            final_answer=turns[-1].agent_response_text if turns else None,
            mode=run.mode.mode,
            teacher_intervened=bool(run.guidance),
            focus_prompt=self._config.adaptive_teaching.focus_prompt,
            session_metadata=shown_metadata(run.open.start.metadata),
        )
        run.reward = await judge_session(self._models, run.open.ledger_key, self._config, case)
        run.trajectory.reward(run.reward)

    async def _learn(self, run: SessionRun) -> None:
        learning = self._config.learning
        # Entries that were never shown have not been tried.
        if self._learning != "off" and learning.apply_to_prompts and learning.usage_tracking.enabled:
            run.usage = track_usage(run.state, [_usage_facts(turn) for turn in run.result.per_turn_results])
        if self._learning != "on" or run.reward is None or run.reward.score is None or run.mode is None:
            return
        case = LearningCase(
            transcript=make_transcript(run.result, run.conversation, feedback=self._config.feedback),
            reward=run.reward,
            state=run.state,
            history=run.open.context.history,
            mode=run.mode.mode,
            guidance=run.guidance[-1] if run.guidance else None,
            now=self._now(),
            tools=self._handles,
        )
        run.learnt = await learn(self._models, run.open.ledger_key, self._config, case)
        run.trajectory.learning(run.learnt)

    def _pamphlet(self, run: SessionRun, audience: Any) -> str | None:
        if not self._config.learning.apply_to_prompts:
            return None
        return render_playbook(run.state, audience)

    def _now(self) -> str:
        return self._clock().isoformat(timespec="milliseconds")
