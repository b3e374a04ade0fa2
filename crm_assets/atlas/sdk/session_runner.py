"""The session runner of `engine: sdk`: the Atlas SDK drives, on our sandbox and through our client."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson

from crm_assets.atlas.config_file import LoadedConfig
from crm_assets.atlas.records import session_start
from crm_assets.atlas.sdk.package import AtlasSdk, load_sdk, sdk_environment
from crm_assets.atlas.sdk.provider import register_client
from crm_assets.atlas.sdk.records import sdk_record
from crm_assets.atlas.sdk.session import SdkSession, enter_session, storable
from crm_assets.atlas.sdk.translation import database_url, sdk_config
from crm_assets.atlas.session_runners import LoopRunner
from crm_assets.atlas.store import session_start_time
from crm_assets.atlas.tasks import AtlasTask
from crm_assets.atlas.telemetry import TelemetryStore
from crm_assets.atlas.telemetry.documents import start_metadata
from crm_assets.atlas.telemetry.jsonb import clean_text
from crm_assets.engine import Finished, WorkItem, ledger_key
from crm_assets.errors import InfrastructureError
from crm_assets.harness import ConversationRunner, GroundTruth, without_verdict
from crm_assets.llm import RecordingModels
from crm_assets.llm.failures import one_line
from crm_assets.workspace.files import write_text

__all__ = ["SdkRunner"]

_AT_ONCE = 32
"""Sessions at a time, whatever the run allows: each has a connection of its own to the telemetry database,
and a server takes a hundred."""

_UNAVAILABLE = ("08", "28", "3D", "53", "57")
"""Classes of SQLSTATEs: connection, authorisation, no such database, resources, operator intervention."""


class SdkRunner(LoopRunner):
    """Runs sessions of the SDK's loop.

    Those of one learning key must not overlap while they learn: updates would get lost.
    """

    def __init__(
        self,
        config: LoadedConfig,
        models: RecordingModels,
        runner: ConversationRunner,
        telemetry: TelemetryStore,
        stack: AsyncExitStack,
        *,
        address: str,
        dataset: str,
        redact: Callable[[str], str],
    ) -> None:
        """Load the SDK, and prepare for sessions.

        Args:
            config: the run's.
            models: whom all roles ask.
            runner: what takes the student through a conversation.
            telemetry: open, so that the tables are there.
            stack: closes what is opened here.
            address: of the telemetry database.
            dataset: its name.
            redact: takes secrets out of a text.

        Raises:
            ConfigError: the SDK is not installed, or does not take the configuration.
        """
        super().__init__(config, models)
        self._notes = models
        self._runner = runner
        self._telemetry = telemetry
        self._dataset = dataset
        self._redact = redact
        stack.enter_context(sdk_environment())
        self._sdk = load_sdk()
        register_client()
        document = sdk_config(config, address, self._sdk)
        # Open to this user alone: the address may hold a password.
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crm-assets-sdk-")))
        self._file = self._folder / "atlas.yaml"
        write_text(self._file, orjson.dumps(document).decode())  # JSON is YAML
        self._traces = _Traces(self._sdk, address, self._folder)
        stack.push_async_callback(self._traces.aclose)
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._beginning = asyncio.Lock()
        self._begun: set[str] = set()

    async def run(self, item: WorkItem, task: AtlasTask, truth: GroundTruth | Exception) -> Finished:
        """Let the SDK take a session to its end, and read back what it has stored."""
        async with self._gate:
            await self._close_interrupted(task.run_id)
            session = self._session(task, item, truth)
            failure = await self._drive(session)
            if failure is not None:
                return self._failed(task, item, session, failure)
            assert session.id is not None  # the SDK stores a session before it begins
            trace = await self._traces.read(session.id)
        spent = self._spent(task, item)
        record = sdk_record(task, item.epoch, session, trace, spent=spent)
        result = session.attempts[-1]
        return Finished(result.status, result.overall_success, record)

    def _session(self, task: AtlasTask, item: WorkItem, truth: GroundTruth | Exception) -> SdkSession:
        start = session_start(
            task,
            item.epoch,
            learning_key=item.learning_key,
            dataset=self._dataset,
            tags=self._config.adaptive_teaching.default_tags,
        )
        key = ledger_key(task.conversation.conversation_id, item.epoch)
        return SdkSession(
            conversation=task.conversation,
            truth=truth,
            ledger_key=key,
            started_at=session_start_time(self._notes, key),
            task=clean_text(start.task),
            metadata=storable(start_metadata(start)),
            config=self._config,
            models=self._models,
            runner=self._runner,
            judge=self._judge(task, item),
            sdk_context=self._sdk.context,
        )

    async def _drive(self, session: SdkSession) -> str | None:
        """Run the SDK; returns why it failed, None if it did not.

        Raises:
            CrmAssetsError: no session can go on.
        """
        # In a task of its own, since the SDK keeps its memory in the context of whoever calls it.
        session.driver = asyncio.create_task(self._in_context(session))
        failure: str | None = None
        try:
            await session.driver
        except asyncio.CancelledError:
            if session.fatal is None:
                raise
        except Exception as error:  # whatever the SDK raises says nothing of the agent
            failure = self._reason(session, error)
        if session.fatal is not None:
            if session.id is not None:
                await asyncio.to_thread(self._telemetry.fail, session.id, str(session.fatal))
            raise session.fatal
        return failure

    async def _in_context(self, session: SdkSession) -> None:
        enter_session(session)
        context = self._sdk.context()
        try:
            await self._sdk.arun(
                session.task, str(self._file), session_metadata=session.metadata, stream_progress=False
            )
        finally:
            session.memory = dict(context.metadata)
            session.id = session.memory.get("session_id")

    def _reason(self, session: SdkSession, error: Exception) -> str:
        """Return why the SDK's session failed.

        Raises:
            InfrastructureError: the telemetry database did, on which all sessions stand.
        """
        said = one_line(str(error) or type(error).__name__, self._redact).rstrip(".")
        if _is_of_the_database(error):
            raise InfrastructureError(
                f"The telemetry database failed ({said}); run `crm-assets doctor`."
            ) from error
        known = [session.failures[place] for place in ("student", "teacher") if place in session.failures]
        return known[0] if known else f"The Atlas SDK could not finish the session ({said})."

    def _failed(self, task: AtlasTask, item: WorkItem, session: SdkSession, reason: str) -> Finished:
        """Return the record of a session that did not end: no verdict, even if the student had finished."""
        last = session.attempts[-1] if session.attempts else None
        if last is None or last.status == "completed":
            last = without_verdict(task.conversation, "infrastructure_error", reason, {})
        return self.record(item, task, last)

    async def _close_interrupted(self, run_id: str) -> None:
        """Close what an earlier start of the run left open; this process alone works on it now."""
        async with self._beginning:
            if run_id in self._begun:
                return
            await asyncio.to_thread(self._close_all, run_id)
            self._begun.add(run_id)

    def _close_all(self, run_id: str) -> None:
        for session_id in self._telemetry.session_ids(run_id).values():
            self._telemetry.fail(session_id, "The process that ran it ended before it did.")


def _is_of_the_database(error: Exception) -> bool:
    """Tell whether every session would fail like this: no connection, no room, or a server going down."""
    state = getattr(error, "sqlstate", None)  # of asyncpg's errors that the server has told
    if isinstance(state, str):
        return state[:2] in _UNAVAILABLE
    return isinstance(error, OSError) or type(error).__module__.startswith("asyncpg")


class _Traces:
    """Reads sessions back as the SDK's exporter writes them."""

    def __init__(self, sdk: AtlasSdk, address: str, folder: Path) -> None:
        self._sdk = sdk
        self._folder = folder
        self._storage = sdk.storage_config(
            database_url=database_url(address), max_connections=2, apply_schema_on_connect=False
        )
        self._opening = asyncio.Lock()
        self._database: Any = None

    async def read(self, session_id: int) -> dict[str, Any]:
        """Return the session as the exporter writes it."""
        async with self._opening:
            if self._database is None:
                database = self._sdk.database(self._storage)
                await database.connect()
                self._database = database
        path = self._folder / f"{session_id}.jsonl"
        await self._sdk.export_sessions(
            self._database, path, session_ids=[session_id], include_all_review_statuses=True
        )
        try:
            trace: dict[str, Any] = orjson.loads(path.read_bytes())
        finally:
            path.unlink()
        return trace

    async def aclose(self) -> None:
        """Disconnect."""
        if self._database is not None:
            await self._database.disconnect()
