"""What an agent of the user's own takes a turn, beside bare MCP, and how many run side by side."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

import orjson
import psutil

from benchmarks import agent_parts
from benchmarks.data import REPOSITORY
from crm_assets.agents.command import CommandHost
from crm_assets.agents.external import ExternalAgent, TurnLimits
from crm_assets.agents.links import AgentHost
from crm_assets.agents.python import PythonHost
from crm_assets.agents.service import ServiceHost
from crm_assets.atlas.student_prompt import function_tools
from crm_assets.conversations import Conversation
from crm_assets.crm import SandboxPool
from crm_assets.database import connect_databases
from crm_assets.harness import (
    Action,
    Agent,
    AgentSession,
    AgentSpec,
    ConversationRunner,
    GroundTruthStore,
    Outcome,
    make_agent,
)
from crm_assets.records import ConversationResult
from crm_assets.workspace.project import Project

_CLIENT = "11111111-1111-4111-8111-111111111111"
_PARTS = [sys.executable, "-m", "benchmarks.agent_parts"]
_SHORT, _LONG = 20, 220
_THINK_SECONDS = 2.0
_SESSIONS = 64


class Cost(NamedTuple):
    """CPU of a turn with one call, in milliseconds."""

    ours: float
    """Of the harness's process, beyond what the turn takes with a replay."""
    agents: float


def report(project: Project, divisor: int) -> None:
    """Print the figures."""
    rounds = max(3, 10 // divisor)
    kinds = ("python", "http", "mcp")
    seen: dict[str, list[Cost]] = {kind: [] for kind in (*kinds, "bare", "endpoint")}
    with _bench(project, 1) as bench:
        for _ in range(rounds):  # interleaved, since the machine's speed varies
            for kind in kinds:
                seen[kind].append(_cost(bench, kind))
            seen["bare"].append(_served_by_bare(bench.result))
            seen["endpoint"].append(_served_by_ours(bench.result))
    cost = {kind: Cost(*(median(part) for part in zip(*each, strict=True))) for kind, each in seen.items()}
    for kind in kinds:
        ours, agents = cost[kind]
        print(f"a turn of type {kind}: {ours:.2f} ms of CPU of ours, {agents:.2f} ms of the agent's")
    bare, endpoint = cost["bare"], cost["endpoint"]
    print(
        f"a call by MCP: {bare.ours:.2f} ms of CPU of a bare server, {bare.agents:.2f} ms of the client; "
        f"with our endpoint {endpoint.ours:.2f} ms and {endpoint.agents:.2f} ms, "
        f"{sum(endpoint) / sum(bare):.2f} times both; a whole turn {sum(cost['mcp']) / sum(bare):.2f} times"
    )
    ideal = _SESSIONS / _THINK_SECONDS
    for kind in kinds:
        with _bench(project, _SESSIONS) as bench:
            rate = _side_by_side(bench, kind, max(12, 20 // divisor))
        print(
            f"{_SESSIONS} sessions, {_THINK_SECONDS:g} s of thought a turn, {kind}: {rate:.1f} turns/s, "
            f"{rate / ideal:.1%} of the ideal {ideal:g}"
        )


class _Bench:
    """Runs conversations of one call a turn."""

    def __init__(self, runner: ConversationRunner, store: GroundTruthStore) -> None:
        self._runner = runner
        self._store = store
        self.replay = make_agent(AgentSpec("replay"))
        (first,) = asyncio.run(self._run(self.replay, 1)).per_turn_results
        self.result = orjson.dumps(first.result).decode()
        """Of the call."""

    async def _run(self, agent: Agent, turns: int) -> ConversationResult:
        talk = _conversation(turns)
        (truth,) = self._store.get_many([talk])
        result = await self._runner.run(talk, truth, agent=agent)
        assert result.overall_success, result
        return result

    def cpu(self, kind: str) -> tuple[float, float]:
        """CPU seconds a turn of this process and of the agent's."""
        used, replies = [], []

        async def run(agent: Agent, host: AgentHost | None) -> None:
            try:
                for turns in (1, _SHORT, _LONG):
                    started = time.process_time()
                    result = await self._run(agent, turns)
                    used.append(time.process_time() - started)
                    replies[:] = [entry.agent_response_text for entry in result.per_turn_results]
            finally:
                if host is not None:
                    await host.aclose()

        if kind == "replay":
            asyncio.run(run(self.replay, None))
            return (used[2] - used[1]) / (_LONG - _SHORT), 0.0
        with _hosting(kind) as host:
            asyncio.run(run(_agent(host), host))
        agents = (float(replies[-1]) - float(replies[_SHORT - 1])) / (_LONG - _SHORT)
        return (used[2] - used[1]) / (_LONG - _SHORT), agents

    async def run_many(self, agent: Agent, turns: int) -> None:
        """Run conversations side by side."""
        await asyncio.gather(*(self._run(agent, turns) for _ in range(_SESSIONS)))


@contextmanager
def _bench(project: Project, sessions: int) -> Iterator[_Bench]:
    sandbox = connect_databases(project).sandbox
    with SandboxPool(sandbox, size=sessions) as pool, SandboxPool(sandbox) as alone:
        store = GroundTruthStore(sandbox, alone)
        opened = [pool.acquire() for _ in range(sessions)]
        for one in opened:
            pool.release(one)
        yield _Bench(ConversationRunner(pool), store)
        store.close()


def _agent(host: AgentHost) -> ExternalAgent:
    tools = [tool.document for tool in function_tools()]
    return ExternalAgent(host, {}, tools, "", TurnLimits(1, 600.0))


def _cost(bench: _Bench, kind: str) -> Cost:
    ours, agents = bench.cpu(kind)
    return Cost((ours - bench.cpu("replay")[0]) * 1000, agents * 1000)


def _served_by_bare(result: str) -> Cost:
    """CPU of a call of the program's on an MCP server that does nothing else."""
    with _part("bare-server", {**os.environ, "BENCHMARK_RESULT": result}) as (port, server):
        return _calls(f"http://127.0.0.1:{port}/mcp", "any", server)


def _served_by_ours(result: str) -> Cost:
    """The same on our endpoint, with nothing behind it."""
    with subprocess.Popen(
        [*_PARTS, "endpoint"],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, "BENCHMARK_RESULT": result},
    ) as server:
        assert server.stdout is not None
        try:
            return _calls(*orjson.loads(server.stdout.readline()), server)
        finally:
            server.kill()


def _calls(url: str, token: str, server: subprocess.Popen[bytes]) -> Cost:
    with subprocess.Popen(
        [*_PARTS, "program"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, "MCP_URL": url, "MCP_TOKEN": token},
        bufsize=0,
    ) as program:
        assert program.stdin is not None and program.stdout is not None
        used, replies = [], []
        for turns in (_SHORT, _LONG):
            for _ in range(turns):
                program.stdin.write(b"{}\n")
                replies.append(float(orjson.loads(program.stdout.readline())["reply"]))
            used.append(sum(psutil.Process(server.pid).cpu_times()[:2]))
        program.stdin.close()
    agents = replies[-1] - replies[_SHORT - 1]
    return Cost((used[1] - used[0]) / _LONG * 1000, agents / _LONG * 1000)


class _Watched(Agent):
    """Notes when turns begin; the second ones begin together, once all sessions have started."""

    def __init__(self, inner: Agent) -> None:
        self._inner = inner
        self.begun: list[list[float]] = []
        self._started = 0
        self._all_started = asyncio.Event()

    async def take_off(self) -> None:
        self._started += 1
        if self._started == _SESSIONS:
            self._all_started.set()
        await self._all_started.wait()

    def begin(self, conversation_id: str) -> AgentSession:
        self.begun.append([])
        return _WatchedSession(self, self._inner.begin(conversation_id), self.begun[-1])

    def describe(self) -> Mapping[str, object]:
        return self._inner.describe()


class _WatchedSession(AgentSession):
    def __init__(self, watch: _Watched, inner: AgentSession, begun: list[float]) -> None:
        self._watch = watch
        self._inner = inner
        self._begun = begun

    async def act(self, utterance: str) -> Action:
        if len(self._begun) == 1:
            await self._watch.take_off()
        self._begun.append(time.perf_counter())
        return await self._inner.act(utterance)

    async def proceed(self, outcomes: Sequence[Outcome], *, may_call: bool) -> Action:
        return await self._inner.proceed(outcomes, may_call=may_call)

    async def end(self) -> None:
        await self._inner.end()


def _side_by_side(bench: _Bench, kind: str, turns: int) -> float:
    """Turns a second, from the second turns on until the first session is in its last."""

    async def run(watched: Agent, host: AgentHost) -> None:
        try:
            await bench.run_many(watched, turns)
        finally:
            await host.aclose()

    with _hosting(kind, _THINK_SECONDS) as host:
        watched = _Watched(_agent(host))
        asyncio.run(run(watched, host))
    first = max(begun[1] for begun in watched.begun)
    last = min(begun[-1] for begun in watched.begun)
    return sum(first <= at < last for begun in watched.begun for at in begun) / (last - first)


def _conversation(turns: int) -> Conversation:
    said = {
        "user_utterance": "Find Acme",
        "expected_tool": agent_parts.NAME,
        "expected_args": agent_parts.ARGUMENTS,
    }
    client = {_CLIENT: {"name": "Acme", "email": "a@acme.example"}}
    return Conversation.model_validate(
        {
            "conversation_id": f"turns-{turns}",
            "workflow_category": "Client Management",
            "complexity_level": "simple",
            "turns": [{"turn_id": number, **said} for number in range(1, turns + 1)],
            "initial_entities": {"seed_data": {"Client": client}},
        }
    )


@contextmanager
def _hosting(kind: str, think: float = 0.0) -> Iterator[AgentHost]:
    environment = {**os.environ, agent_parts.THINK: str(think)}
    if kind == "python":
        yield PythonHost("benchmarks.agent_parts:Caller", search=[REPOSITORY], environment=environment)
    elif kind == "mcp":
        program = "light-program" if think else "program"
        yield CommandHost([*_PARTS, program], folder=REPOSITORY, environment=environment)
    else:
        with _part("service", environment) as (port, _):
            yield ServiceHost(f"http://127.0.0.1:{port}/turn")


@contextmanager
def _part(name: str, environment: dict[str, str]) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run a part that listens; its port and process."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        process = subprocess.Popen(
            [*_PARTS, name, str(listening.fileno())],
            pass_fds=[listening.fileno()],
            cwd=REPOSITORY,
            env=environment,
        )
        port = listening.getsockname()[1]
    try:
        yield port, process
    finally:
        process.kill()
        process.wait()
