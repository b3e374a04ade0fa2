"""One session that the SDK drives: the calls of its agent and of its models."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn, TypedDict

import orjson
from pydantic import BaseModel

from crm_assets.atlas.config import AtlasConfig
from crm_assets.atlas.sdk.package import Document, SdkMapping
from crm_assets.atlas.sdk.places import ROLES, Place
from crm_assets.atlas.student import Student, student_plan
from crm_assets.atlas.telemetry.jsonb import jsonb
from crm_assets.atlas.transcript import make_transcript
from crm_assets.concurrency import time_limit
from crm_assets.conversations import Conversation
from crm_assets.errors import CrmAssetsError, InfrastructureError
from crm_assets.harness import ConversationRunner, GroundTruth, Judge
from crm_assets.llm import (
    BudgetExhausted,
    Caller,
    ChatReply,
    ChatRequest,
    Message,
    ModelError,
    Models,
    ModelSpec,
    ReplyCheck,
    Role,
    UnitScore,
    parse_object,
)
from crm_assets.llm.json_replies import json_check
from crm_assets.records import ConversationResult

__all__ = [
    "TRANSCRIPT",
    "PlanDocument",
    "SdkSession",
    "StepAnswer",
    "current_session",
    "enter_session",
    "storable",
]

TRANSCRIPT = "transcript"
"""Key of the session's metadata under which judges and learner find the transcript."""

_PLAYBOOK = re.compile(r"SYSTEM: (>>> Student Playbook >>>\n.*?\n>>> End Student Playbook >>>)", re.DOTALL)
_PLAN = "Follow this reviewed plan while responding:\n"
_NUMBER = re.compile(r"^\s*(?:\d+[.)]|[-*])\s+")
_NO_REPLY = "(no reply)"
"""For a last turn without a reply: the SDK would replace an empty answer by the whole transcript."""

_NO_PLAN = "(no plan)"
"""For a student that gave none: the SDK's plans have steps."""

_GRACE_SECONDS = 0.1


class _Judgment(BaseModel):
    """The SDK's fields of a judge's reply; it does not check the range itself."""

    score: UnitScore
    uncertainty: UnitScore


_CURRENT: ContextVar[SdkSession] = ContextVar("crm_assets_sdk_session")


def current_session() -> SdkSession:
    """Return the session in whose context this runs."""
    return _CURRENT.get()


def enter_session(session: SdkSession) -> None:
    """Make `session` the current one for the running task and the tasks that it starts."""
    _CURRENT.set(session)


class SdkPlanStep(TypedDict):
    """A step of the SDK's plan."""

    id: int
    description: str
    depends_on: list[int]


class PlanDocument(TypedDict):
    """The SDK's plan."""

    steps: list[SdkPlanStep]


class StepAnswer(TypedDict):
    """The answer to a step."""

    content: str
    """JSON: the last reply and the transcript, without verdicts."""


@dataclass
class SdkSession:
    """A session while the SDK drives it; it collects what the session's record needs."""

    conversation: Conversation
    truth: GroundTruth | Exception
    ledger_key: str
    """The session's ID in the ledger."""
    started_at: datetime
    """The CRM's clock."""
    task: str
    """The task in words."""
    metadata: Document
    """Passed to the SDK, which shows all of it to its judges and its learner."""
    config: AtlasConfig
    models: Models
    runner: ConversationRunner
    judge: Judge | None
    """Judges turns that comparison cannot decide."""
    sdk_context: Any
    """Returns the SDK's context of the session (`ExecutionContext.get`)."""
    attempts: list[ConversationResult] = field(default_factory=list)
    guidance: list[str] = field(default_factory=list)
    """The teacher's, in order."""
    entries_available: int = 0
    """Playbook entries that the session's key had when it began."""
    asked: Counter[str] = field(default_factory=Counter)
    """Number of calls by place."""
    failures: dict[str, str] = field(default_factory=dict)
    """The last error of each place that had one."""
    fatal: CrmAssetsError | None = None
    """An error that ends the session, and the run."""
    driver: asyncio.Task[None] | None = None
    """The task that runs the SDK."""
    id: int | None = None
    """Its row in the telemetry database, once there is one."""
    memory: SdkMapping = field(default_factory=dict)
    """The metadata of the SDK's context at the end."""

    async def plan(self, prompt: str) -> PlanDocument:
        """Ask the student for its plan; each line is a step.

        Raises:
            CrmAssetsError: the student's model failed.
        """
        opening = self.conversation.turns[0].user_utterance
        try:
            text = await student_plan(
                self.models, self.ledger_key, self.config, opening, student_playbook(prompt)
            )
        except CrmAssetsError as error:
            self._note(error, "student")
            raise
        return {"steps": plan_steps(text or _NO_PLAN)}

    async def attempt(self, prompt: str, step: SdkMapping) -> StepAnswer:
        """Run the student through the conversation; return its last reply and the transcript.

        Raises:
            CrmAssetsError: something around the student failed, or the run's budget is spent.
        """
        memory = self.sdk_context().metadata
        if not self.attempts:
            self.entries_available = _entries(memory)
        self.guidance = list(memory.get("steps", {}).get(step["step_id"], {}).get("guidance", ()))
        student = Student(
            self.models,
            self.ledger_key,
            self.config,
            pamphlet=student_playbook(prompt),
            plan=reviewed_plan(str(step["description"])),
            guidance=self.guidance[-1] if self.guidance else None,
        )
        result = await self._run(student)
        self.attempts.append(result)
        if result.status != "completed":
            kind = BudgetExhausted if result.status == "not_run" else InfrastructureError
            self._refuse(kind(result.error_message or "The session could not be run."))
        self._show(result)
        return {"content": self._answer(result)}

    async def answer(
        self, place: Place, messages: Sequence[Message], temperature: float | None
    ) -> ChatReply:
        """Call the model in `place` and return its reply: one JSON object, as the SDK always requests.

        The call is retried while the reply is malformed, and is counted in the place's role.

        Args:
            place: where the model stands in the SDK's configuration.
            messages: the SDK's.
            temperature: the SDK's; used for judges only, which differ by it.

        Raises:
            ModelError: the call failed; the SDK handles it.
        """
        self.asked[place] += 1
        # The SDK turns a missing temperature into 0, so other places use that of the model.
        request = ChatRequest(
            self._spec(place),
            tuple(messages),
            temperature=temperature if ROLES[place] == "judge" else None,
            json_object=True,
        )
        try:
            reply = await self._complete(place, request)
        except ModelError as error:
            self.failures[place] = str(error)
            raise
        except CrmAssetsError as error:
            await self._give_up(error)
        # The SDK cannot read an object with text (a code fence) around it.
        return dataclasses.replace(reply, content=orjson.dumps(parse_object(reply.content)).decode())

    async def _give_up(self, error: CrmAssetsError) -> NoReturn:
        """End the session: the SDK would continue after an error of a judge, a learner or a probe."""
        self.fatal = error
        assert self.driver is not None  # it makes all calls
        # A little later, when the calls that litellm is preparing have arrived here, too.
        asyncio.get_running_loop().call_later(_GRACE_SECONDS, self.driver.cancel)
        await asyncio.Event().wait()
        raise error

    async def _complete(self, place: Place, request: ChatRequest) -> ChatReply:
        role = ROLES[place]
        asking = self.models.complete(
            Caller(self.ledger_key, role), request, check=_CHECKS.get(role, _no_object)
        )
        limit = self.config.adaptive_teaching.probe.timeout_seconds if place == "probe" else None
        try:
            return (await asyncio.wait_for(asking, limit)).reply
        except asyncio.TimeoutError:
            raise ModelError(f"The {place} did not answer within {limit:g} s.") from None

    async def _run(self, student: Student) -> ConversationResult:
        limit = self.config.orchestration.step_timeout_seconds
        try:
            with time_limit(limit):
                return await self.runner.run(
                    self.conversation, self.truth, agent=student, judge=self.judge, now=self.started_at
                )
        except TimeoutError:
            late = InfrastructureError(f"The student took longer than {limit:g} s (step_timeout_seconds).")
        except CrmAssetsError as error:
            self._refuse(error)
        return await self.runner.run(self.conversation, late, agent=student)

    def _refuse(self, error: CrmAssetsError) -> NoReturn:
        self._note(error, "student")
        raise error

    def _note(self, error: CrmAssetsError, place: str) -> None:
        """Keep an error that the SDK would replace by its own."""
        if isinstance(error, InfrastructureError):
            self.failures[place] = str(error)
        else:
            self.fatal = error

    def _spec(self, place: Place) -> ModelSpec:
        config = self.config
        if place == "probe":
            return config.adaptive_teaching.probe.llm or config.teacher.llm
        return {
            "teacher": config.teacher.llm,
            "judge": config.rim.small_model,
            "arbiter": config.rim.large_model,
            "learner": config.learning.llm,
        }[place]

    def _show(self, result: ConversationResult) -> None:
        """Show the transcript to judges and learner; neither student nor teacher sees the metadata."""
        transcript = make_transcript(result, self.conversation, feedback=self.config.feedback)
        self.metadata[TRANSCRIPT] = storable(transcript.model_dump(mode="json", exclude_none=True))

    def _answer(self, result: ConversationResult) -> str:
        transcript = make_transcript(result, self.conversation, feedback="none")
        replies = [turn.agent_response_text for turn in result.per_turn_results]
        document = {
            "status": "completed",
            "result": {
                "deliverable": (replies[-1] if replies else None) or _NO_REPLY,
                "artifacts": transcript.model_dump(mode="json", exclude_none=True),
            },
        }
        return jsonb(document)


def _no_object(reply: ChatReply) -> str | None:
    try:
        parse_object(reply.content)
    except ValueError as error:
        return str(error)
    return None


_CHECKS: Mapping[Role, ReplyCheck] = {"judge": json_check(_Judgment)}
"""Return what is wrong with a reply, where the SDK itself would not see it."""


def storable(document: Mapping[str, object]) -> Document:
    """Return `document` without characters that Postgres refuses in JSON, as the SDK does not check it."""
    cleaned: Document = json.loads(jsonb(document))
    return cleaned


def student_playbook(prompt: str) -> str | None:
    """Return the student playbook's block if the SDK has put one at the start of the prompt."""
    found = _PLAYBOOK.match(prompt)
    return found.group(1) if found else None


def reviewed_plan(description: str) -> str | None:
    """Return the reviewed plan in the description of the SDK's single step; None without one."""
    return description.partition(_PLAN)[2].strip() or None


def plan_steps(text: str) -> list[SdkPlanStep]:
    """Split a plan into steps, one a line, each depending on the one before."""
    lines = [_NUMBER.sub("", line).strip() for line in text.splitlines() if line.strip()]
    return [
        {"id": number, "description": line, "depends_on": [number - 1] if number > 1 else []}
        for number, line in enumerate(lines, 1)
    ]


def _entries(memory: SdkMapping) -> int:
    learnt = (memory.get("learning_state") or {}).get("metadata")
    entries = learnt.get("playbook_entries") if isinstance(learnt, Mapping) else None
    return len(entries) if isinstance(entries, list) else 0
