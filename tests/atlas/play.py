"""Single sessions of the loop: a real sandbox and flow, models and store in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import orjson

from crm_assets.atlas.config import AtlasConfig
from crm_assets.atlas.config_file import LoadedConfig
from crm_assets.atlas.loop import AtlasLoop
from crm_assets.atlas.playbook import LearningState, Lesson
from crm_assets.atlas.session_runners import AtlasRunner
from crm_assets.atlas.store import OpenSession, SessionContext, SessionStore
from crm_assets.atlas.tasks import AtlasTask, task_id
from crm_assets.atlas.telemetry import SessionEnd, SessionStart
from crm_assets.atlas.working_agents import Students
from crm_assets.conversations import Conversation
from crm_assets.crm import TOOLS, SandboxPool
from crm_assets.engine import Finished, WorkItem
from crm_assets.harness import ConversationRunner, GroundTruth, GroundTruthStore
from crm_assets.llm import (
    Answer,
    Caller,
    ChatReply,
    ChatRequest,
    FunctionCall,
    MalformedReply,
    ReplyCheck,
    Role,
    Spending,
    Usage,
)
from crm_assets.offline_models import OfflineRequest, answer

__all__ = [
    "NOW",
    "RUN",
    "MemoryModels",
    "MemoryStore",
    "Played",
    "Say",
    "Stage",
    "call",
    "context",
    "document_of",
]

RUN = "20260101T000000Z-play"
NOW = datetime(2026, 1, 1, 9, 30, tzinfo=timezone.utc)

Say = str | Mapping[str, Any] | ChatReply | Exception
Script = Mapping[str, "Say | Callable[[ChatRequest], Say]"]
"""By role: what it says, or how that follows from what it is asked."""


def call(tool: str, **arguments: Any) -> ChatReply:
    """A reply that calls a tool."""
    return ChatReply(None, (FunctionCall("call_1", tool, json.dumps(arguments)),), "tool_calls")


class MemoryModels:
    """Models in memory: those of a script, else the offline ones. Each attempt costs 10 + 5 tokens."""

    _ATTEMPTS = 2
    _USAGE = Usage(prompt_tokens=10, completion_tokens=5)

    def __init__(self, script: Script, *, seconds: float = 0.0) -> None:
        self._script = script
        self._seconds = seconds
        self._spent: dict[str, dict[Role, Spending]] = {}
        self.asked: list[tuple[str, ChatRequest]] = []
        """Role and question."""

    async def complete(
        self, caller: Caller, request: ChatRequest, *, check: ReplyCheck | None = None
    ) -> Answer:
        await asyncio.sleep(self._seconds)
        spending = Spending()
        for _ in range(self._ATTEMPTS):
            self.asked.append((caller.role, request))
            said = self._say(caller.role, request)
            if isinstance(said, Exception):
                raise said
            spending += self._charge(caller)
            complaint = check(said) if check else None
            if complaint is None:
                return Answer(said, spending)
        raise MalformedReply(f"No use: {complaint}", reply=said, spending=spending)

    def _say(self, role: str, request: ChatRequest) -> ChatReply | Exception:
        said = self._script.get(role)
        if callable(said):
            said = said(request)
        if said is None:
            tools = tuple(tool.document for tool in request.tools)
            temperature = request.effective_temperature or 0.0
            question = OfflineRequest(request.messages, tools, request.tool_choice, temperature)
            said = answer("learner" if role == "learner" else role.replace("_", " "), question)
        if isinstance(said, (Exception, ChatReply)):
            return said
        return ChatReply(said if isinstance(said, str) else json.dumps(said))

    def _charge(self, caller: Caller) -> Spending:
        one = Spending(calls=1, usage=self._USAGE)
        sums = self._spent.setdefault(caller.session, {})
        sums[caller.role] = sums.get(caller.role, Spending()) + one
        return one

    def spent(self, session: str) -> Mapping[Role, Spending]:
        return self._spent.get(session, {})

    def of(self, role: str) -> list[ChatRequest]:
        """What a role was asked."""
        return [request for asked, request in self.asked if asked == role]

    def texts(self, role: str) -> list[str]:
        """The same, each as one text."""
        return [document_of(request) for request in self.of(role)]


def document_of(request: ChatRequest) -> str:
    """All of a question, as text."""
    return orjson.dumps(
        {
            "model": request.model.model_dump(),
            "messages": [message.document() for message in request.messages],
            "tools": [tool.name for tool in request.tools],
            "tool_choice": request.tool_choice,
            "temperature": request.effective_temperature,
            "max_output_tokens": request.effective_max_output_tokens,
        }
    ).decode()


class MemoryStore(SessionStore):
    """Sessions' beginnings and ends in memory."""

    def __init__(self, start_from: SessionContext) -> None:
        self.start_from = start_from
        self.started: list[SessionStart] = []
        self.ended: list[SessionEnd] = []
        self.failed: list[str] = []
        self.learnt: LearningState | None = None
        """What came of the last merge; None without one."""

    async def begin(self, start: SessionStart, ledger_key: str) -> OpenSession:
        self.started.append(start)
        return OpenSession(start, self.start_from, ledger_key, len(self.started))

    async def finish(self, session: OpenSession, end: SessionEnd, lesson: Lesson | None) -> None:
        self.ended.append(end)
        self.learnt = lesson.merged_into(session.context.learning) if lesson else None

    async def fail(self, session: OpenSession, reason: str) -> None:
        self.failed.append(reason)


def context(**fields: Any) -> SessionContext:
    """What a session starts from; nothing, unless said."""
    return SessionContext(started_at=NOW, **fields)


@dataclass
class Played:
    """A session that is over."""

    finished: Finished
    models: MemoryModels
    store: MemoryStore
    record: dict[str, Any] = field(init=False)
    """Its line, as JSON."""

    def __post_init__(self) -> None:
        options = orjson.OPT_NON_STR_KEYS
        self.record = orjson.loads(orjson.dumps(self.finished.record, option=options))

    @property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = self.record["atlas_metadata"]
        return facts

    @property
    def events(self) -> list[str]:
        return [event["name"] for event in self.record["trajectory_events"]]


@dataclass
class Stage:
    """Where sessions are played."""

    pool: SandboxPool
    truths: GroundTruthStore

    def play(
        self,
        conversation: Conversation,
        config: AtlasConfig,
        script: Script | None = None,
        *,
        start_from: SessionContext | None = None,
        seconds: float = 0.0,
        truth: GroundTruth | Exception | None = None,
        is_local: bool = True,
    ) -> Played:
        """Take one session to its end; `seconds` is what each answer takes."""
        loaded = LoadedConfig(Path("loop.yaml"), config, offline=False)
        models = MemoryModels(script or {}, seconds=seconds)
        store = MemoryStore(start_from or context())
        runner = self.runner(loaded, models, store, is_local=is_local)
        known = truth or self.truths.get_many([conversation])[0]
        name = task_id(conversation.conversation_id, RUN)
        task = AtlasTask(task_id=name, run_id=RUN, conversation=conversation, dataset_revision="5e" * 32)
        override = config.adaptive_teaching.learning_key_override
        item = WorkItem.skim(name, conversation.model_dump(), line=1, offset=0)
        if override:
            item = item._replace(learning_key=override)
        finished = asyncio.run(runner.run(item, task, known))
        return Played(finished, models, store)

    def runner(
        self, loaded: LoadedConfig, models: MemoryModels, store: SessionStore, *, is_local: bool = True
    ) -> AtlasRunner:
        runner = ConversationRunner(self.pool, database_is_local=is_local)
        handles = {tool.name: tool.description for tool in TOOLS.values()}
        loop = AtlasLoop(
            loaded.config,
            loaded.learning_mode,
            models,
            Students(models, loaded.config),
            runner,
            handles=handles,
            clock=lambda: NOW,
        )
        return AtlasRunner(loaded, models, loop, store, dataset="dev")
