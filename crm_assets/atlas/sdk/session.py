"""One session of the SDK's: what its agent and its models are asked meanwhile."""

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
from typing import Any, NoReturn

import anyio
import orjson

from crm_assets.atlas.config import AtlasConfig
from crm_assets.atlas.sdk.provider import PLACES, Place
from crm_assets.atlas.student import Student, student_plan
from crm_assets.atlas.telemetry.jsonb import jsonb
from crm_assets.atlas.transcript import make_transcript
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
    parse_object,
)
from crm_assets.records import ConversationResult

__all__ = ["TRANSCRIPT", "SdkSession", "current_session", "enter_session", "storable"]

TRANSCRIPT = "transcript"
"""Under which key of the session's metadata judges and learner find what happened."""

_PLAYBOOK = re.compile(r"SYSTEM: (>>> Student Playbook >>>\n.*?\n>>> End Student Playbook >>>)", re.DOTALL)
_PLAN = "Follow this reviewed plan while responding:\n"
_NUMBER = re.compile(r"^\s*(?:\d+[.)]|[-*])\s+")
_NO_REPLY = "(no reply)"
"""For a last turn without one: of an empty answer the SDK would make the whole transcript."""

_GRACE_SECONDS = 0.1

_CURRENT: ContextVar[SdkSession] = ContextVar("crm_assets_sdk_session")


def current_session() -> SdkSession:
    """The session in whose context this runs."""
    return _CURRENT.get()


def enter_session(session: SdkSession) -> None:
    """Make it the current one, for the running task and whatever it starts."""
    _CURRENT.set(session)


@dataclass
class SdkSession:
    """A session while the SDK drives it; what happens is kept for the session's line."""

    conversation: Conversation
    truth: GroundTruth | Exception
    account: str
    """On which its calls stand in the ledger."""
    started_at: datetime
    """What the CRM's clock stands at."""
    task: str
    """What is to be done, in words."""
    metadata: dict[str, Any]
    """What the SDK is told of the session; its judges and its learner see all of it."""
    config: AtlasConfig
    models: Models
    runner: ConversationRunner
    judge: Judge | None
    """Of turns that comparison cannot decide."""
    sdk_context: Any
    """Gives the SDK's memory of the session (`ExecutionContext.get`)."""
    attempts: list[ConversationResult] = field(default_factory=list)
    guidance: list[str] = field(default_factory=list)
    """What the teacher told the student, in order."""
    entries_available: int = 0
    """Playbook entries that the session's key had when it began."""
    asked: Counter[str] = field(default_factory=Counter)
    """How often each place has asked."""
    failures: dict[str, str] = field(default_factory=dict)
    """Why a place had no answer, the last time that it had none."""
    fatal: CrmAssetsError | None = None
    """What no session can go on from."""
    driver: asyncio.Task[None] | None = None
    """What runs the SDK."""
    id: int | None = None
    """Its row in the telemetry database, once there is one."""
    memory: Mapping[str, Any] = field(default_factory=dict)
    """What the SDK knew of the session at its end."""

    async def plan(self, prompt: str) -> dict[str, Any]:
        """The student's plan, a step a line, as the SDK wants it.

        Raises:
            CrmAssetsError: it could not be had.
        """
        opening = self.conversation.turns[0].user_utterance
        try:
            text = await student_plan(
                self.models, self.account, self.config, opening, student_playbook(prompt)
            )
        except CrmAssetsError as error:
            self._note(error, "student")
            raise
        return {"steps": plan_steps(text)}

    async def attempt(self, prompt: str, step: Mapping[str, Any]) -> dict[str, Any]:
        """Run the student through the conversation; the answer holds the transcript, without verdicts.

        Raises:
            CrmAssetsError: something around the student failed, or the run's budget is spent.
        """
        memory = self.sdk_context().metadata
        if not self.attempts:
            self.entries_available = _entries(memory)
        self.guidance = list(memory.get("steps", {}).get(step["step_id"], {}).get("guidance", ()))
        student = Student(
            self.models,
            self.account,
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
        self._tell(result)
        return {"content": self._answer(result)}

    async def answer(
        self, place: Place, messages: Sequence[Message], temperature: float | None
    ) -> ChatReply:
        """What the model in `place` says, one JSON object: all that the SDK asks for are.

        It is asked like every other model, again while it says something else, and counted in its role.

        Raises:
            ModelError: it could not be had; the SDK does with that what it does.
        """
        self.asked[place] += 1
        # Three judges are asked at temperatures that are the SDK's; else the model's own counts, where the
        # SDK would make 0 of none.
        request = ChatRequest(
            self._spec(place),
            tuple(messages),
            temperature=temperature if PLACES[place] == "judge" else None,
            json_object=True,
        )
        try:
            reply = await self._complete(place, request)
        except ModelError as error:
            self.failures[place] = str(error)
            raise
        except CrmAssetsError as error:
            await self._give_up(error)
        # What stands around the object (a code fence) the SDK could not read.
        return dataclasses.replace(reply, content=orjson.dumps(parse_object(reply.content)).decode())

    async def _give_up(self, error: CrmAssetsError) -> NoReturn:
        """End the session: where a judge, a learner or a probe raises, the SDK would go on."""
        self.fatal = error
        assert self.driver is not None  # nobody else asks
        # A little later, when the calls that litellm is putting together have come here, too.
        asyncio.get_running_loop().call_later(_GRACE_SECONDS, self.driver.cancel)
        await asyncio.Event().wait()
        raise error

    async def _complete(self, place: Place, request: ChatRequest) -> ChatReply:
        asking = self.models.complete(Caller(self.account, PLACES[place]), request, check=_no_object)
        limit = self.config.adaptive_teaching.probe.timeout_seconds if place == "probe" else None
        try:
            return (await asyncio.wait_for(asking, limit)).reply
        except asyncio.TimeoutError:
            raise ModelError(f"The {place} did not answer within {limit:g} s.") from None

    async def _run(self, student: Student) -> ConversationResult:
        limit = self.config.orchestration.step_timeout_seconds
        try:
            with anyio.fail_after(limit):
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
        """Keep what the SDK would turn into an error of its own."""
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

    def _tell(self, result: ConversationResult) -> None:
        """Show judges and learner what happened; neither student nor teacher sees the metadata."""
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


def storable(document: Mapping[str, Any]) -> dict[str, Any]:
    """`document` without what Postgres takes in no JSON, which the SDK would hand it as it is."""
    cleaned: dict[str, Any] = json.loads(jsonb(document))
    return cleaned


def student_playbook(prompt: str) -> str | None:
    """The block of what was learnt, where the SDK has put one before everything else."""
    found = _PLAYBOOK.match(prompt)
    return found.group(1) if found else None


def reviewed_plan(description: str) -> str | None:
    """The plan that the teacher let pass, out of the step that it was made into."""
    return description.partition(_PLAN)[2].strip() or None


def plan_steps(text: str) -> list[dict[str, Any]]:
    """A plan in words as steps, each after the one before."""
    lines = [_NUMBER.sub("", line).strip() for line in text.splitlines() if line.strip()]
    return [
        {"id": number, "description": line, "depends_on": [number - 1] if number > 1 else []}
        for number, line in enumerate(lines, 1)
    ]


def _entries(memory: Mapping[str, Any]) -> int:
    learnt = (memory.get("learning_state") or {}).get("metadata")
    entries = learnt.get("playbook_entries") if isinstance(learnt, Mapping) else None
    return len(entries) if isinstance(entries, list) else 0
