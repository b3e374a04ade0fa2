"""Agents of each type; each fault of one is a failure of its session alone."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import psutil
import pytest

from crm_assets.agents.command import CommandHost
from crm_assets.agents.external import ExternalAgent, TurnLimits
from crm_assets.agents.links import AgentHost, LinkEnd
from crm_assets.agents.messages import Reply, ToAgent
from crm_assets.agents.python import PythonHost
from crm_assets.agents.service import ServiceHost
from crm_assets.conversations import Conversation
from crm_assets.errors import ConfigError
from crm_assets.harness import ConversationRunner
from crm_assets.records import ConversationResult
from tests.agents.kinds import KINDS, Kind, hosting
from tests.harness.build import Harness, conversation, turn
from tests.projects import REPOSITORY
from tests.waiting import HANG_SECONDS, eventually

TOOL = {"type": "function", "function": {"name": "client_search", "description": "", "parameters": {}}}


def says(text: str) -> Any:
    return {**turn("client_search", {"name": "Acme"}), "user_utterance": text}


def run(
    harness: Harness,
    agent: str,
    talk: Conversation,
    *,
    kind: Kind = "python",
    calls: int = 1,
    seconds: float = HANG_SECONDS,
    at_once: int = 1,
    environment: Mapping[str, str] | None = None,
) -> list[ConversationResult]:
    """Run conversations side by side; check that no process is left."""

    async def main(host: AgentHost) -> list[ConversationResult]:
        one = ExternalAgent(host, {"name": agent}, [TOOL], "Be kind.", TurnLimits(calls, seconds))
        runner = ConversationRunner(harness.pool)
        truth = harness.truth(talk)
        try:
            return await asyncio.gather(*(runner.run(talk, truth, agent=one) for _ in range(at_once)))
        finally:
            await host.aclose()

    before = set(psutil.Process().children(recursive=True))
    with hosting(kind, agent, os.environ if environment is None else environment) as host:
        results = asyncio.run(main(host))
    assert not set(psutil.Process().children(recursive=True)) - before
    return results


def verdicts(result: ConversationResult) -> list[str]:
    return [entry.verification for entry in result.per_turn_results]


@pytest.mark.parametrize(
    ("kind", "agent"), [("python", "AsyncSearcher"), *((kind, "Searcher") for kind in KINDS)]
)
def test_an_agent_calls_tools_and_replies(harness: Harness, kind: Kind, agent: str):
    (result,) = run(harness, agent, conversation(says("Find Acme")), kind=kind)
    assert verdicts(result) == ["exact_match"]
    assert result.per_turn_results[0].agent_response_text == "Found 1."
    assert result.overall_success


@pytest.mark.parametrize("kind", KINDS)
def test_an_agent_lasts_for_its_conversation_and_what_it_reports_is_its_own_word(
    harness: Harness, kind: Kind
):
    talk = conversation(says("Find Acme"), says("Again: Acme"))
    first, second = run(harness, "Searcher", talk, kind=kind, at_once=2)
    for result in (first, second):
        assert [entry.agent_response_text for entry in result.per_turn_results] == ["Found 1.", "Found 2."]
        assert result.metadata["agent_reported"] == {
            "prompt_tokens": 14,
            "completion_tokens": 4,
            "cost_usd": 1.0,
        }


def test_an_agent_is_given_tools_and_instructions_and_a_process_of_its_own(harness: Harness):
    results = run(harness, "Reader", conversation(says("Go")), at_once=2, environment={"PATH": os.defpath})
    replies = [str(result.per_turn_results[0].agent_response_text).split("|") for result in results]
    assert [reply[:3] for reply in replies] == [["Be kind.", "1", "[]"]] * 2
    assert replies[0][3] != replies[1][3] != str(os.getpid())


@pytest.mark.parametrize(("kind", "calls"), [("python", 1), *((kind, 2) for kind in KINDS)])
def test_calls_beyond_the_most_of_a_turn_are_refused_and_recorded(harness: Harness, kind: Kind, calls: int):
    (result,) = run(harness, "Greedy", conversation(says("Find Acme")), kind=kind, calls=calls)
    (taken,) = result.per_turn_results
    assert str(taken.agent_response_text).count("called") == calls
    assert "may make no more calls" in str(taken.agent_response_text)
    assert taken.calls is not None
    assert [call.made for call in taken.calls] == [True] * calls + [False] * (3 - calls)


SHARED_FAULTS = {
    "Stubborn": "it asked for 100 more calls after the last of its turn",
    "Huge": "a message of more than 1 MiB",
    "HugeCall": "a message of more than 1 MiB",
    "Nested": "it called client_search with arguments nested more than 64 deep",
    "Enormous": "it called client_search with a number that is too large",
}
NO_REPLY = 'it must answer {"reply": "…"}: Expected `str`, got `null` - at `$.reply`'
FAULTS: dict[Kind, Mapping[str, str]] = {
    "python": {
        **SHARED_FAULTS,
        "Raising": "LookupError: no such client",
        "Dying": "its process ended",
        "Flooding": "it wrote more than 1 MiB to standard output",
        "Wordless": "TypeError: turn() returned NoneType; return the reply as a string",
        "Forking": "LookupError: in the second process",
        "Unserializable": "TypeError: Encoding objects of type object is unsupported",
    },
    "mcp": {
        **SHARED_FAULTS,
        "Raising": "its process ended",
        "Dying": "its process ended",
        "Flooding": "it wrote more than 1 MiB to standard output",
        "Wordless": NO_REPLY,
        "Twice": "it replied again to turn 2, which had ended",
    },
    "http": {
        **SHARED_FAULTS,
        "Raising": "its service answered 500: LookupError: no such client",
        "Dying": "its service broke off (ServerDisconnectedError: Server disconnected)",
        "Wordless": NO_REPLY,
    },
}


@pytest.mark.parametrize(
    ("kind", "agent", "reason"),
    [(kind, agent, reason) for kind, faults in FAULTS.items() for agent, reason in faults.items()],
)
def test_a_fault_is_the_agents_failure_from_its_turn_on(
    harness: Harness, kind: Kind, agent: str, reason: str
):
    talk = conversation(says("Hello"), says("Go wrong now"), says("Still there?"))
    (result,) = run(harness, agent, talk, kind=kind)
    assert result.status == "completed"
    # A second reply, in a program's next breath, is noticed in the turn after it.
    failed = ["agent_error"] * (1 if agent == "Twice" else 2)
    assert verdicts(result) == ["no_tool_call"] * (3 - len(failed)) + failed
    assert result.overall_success is False
    assert result.metadata["agent_failure"] == reason


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_of_the_wrong_type_are_refused_and_the_agent_goes_on(harness: Harness, kind: Kind):
    (result,) = run(harness, "Mistyped", conversation(says("Call now")), kind=kind)
    (taken,) = result.per_turn_results
    assert taken.arguments == {"name": ["Acme"]} and taken.error
    assert taken.agent_response_text == taken.error


@pytest.mark.parametrize("kind", ["python", "mcp"])
def test_a_call_after_the_last_turn_is_not_made_and_told(harness: Harness, kind: Kind):
    (result,) = run(harness, "Late", conversation(says("Hello")), kind=kind)
    assert result.metadata["agent_failure"] == "it called client_search after its turn had ended"
    assert result.per_turn_results[0].made_calls == ()


def test_a_token_is_in_no_result_and_other_lines_of_a_program_are_its_output(harness: Harness):
    (result,) = run(harness, "Chatty", conversation(says("Chat now")), kind="mcp")
    assert result.per_turn_results[0].agent_response_text == "MCP_TOKEN is [token], Be kind."
    assert result.metadata["agent_output"] == 'thinking\n{"step": 1}\n{half\n'


@pytest.mark.parametrize("kind", ["python", "mcp"])
def test_an_agent_that_hangs_fails_after_the_time_of_a_turn_and_is_ended(harness: Harness, kind: Kind):
    async def main(host: AgentHost) -> ConversationResult:
        agent = ExternalAgent(host, {}, [TOOL], "", TurnLimits(1, 5.0))
        talk = conversation(says("Go wrong now"))
        try:
            result = await ConversationRunner(harness.pool).run(talk, harness.truth(talk), agent=agent)
            processes = str(result.metadata["agent_output"]).split()
            assert eventually(lambda: not any(psutil.pid_exists(int(pid)) for pid in processes))
            return result
        finally:
            await host.aclose()

    with hosting(kind, "Hanging") as host:
        result = asyncio.run(main(host))
    assert verdicts(result) == ["agent_error"]
    assert result.metadata["agent_failure"] == "it took longer than 5 s for a turn"


def test_a_reply_to_a_turn_that_has_ended_is_the_agents_failure():
    class Link:
        """A stand-in whose agent replies to its first turn again and again."""

        output = ""

        def send(self, message: ToAgent) -> None:
            pass

        async def receive(self) -> Reply:
            return Reply(1, "Twice.", {})

        async def end(self, *, patiently: bool) -> LinkEnd:
            return LinkEnd()

    class Host:
        async def open(self) -> Link:
            return Link()

        async def aclose(self) -> None:
            pass

    async def main() -> tuple[list[str | None], object]:
        session = ExternalAgent(Host(), {}, [], "", TurnLimits(1, HANG_SECONDS)).begin("c")
        said = [(await session.act("Hello")).reply, (await session.act("And?")).reply]
        return said, session.notes()["agent_failure"]

    assert asyncio.run(main()) == (["Twice.", ""], "it replied again to turn 1, which had ended")


@pytest.mark.parametrize("kind", ["python", "mcp"])
def test_what_an_agent_leaves_running_is_ended_and_counted(harness: Harness, kind: Kind):
    (result,) = run(harness, "Leaving", conversation(says("Leave one now")), kind=kind)
    left = int(str(result.per_turn_results[0].agent_response_text))
    assert result.metadata["agent_left_running"] == 1
    assert eventually(lambda: not psutil.pid_exists(left))


def test_the_output_of_an_agent_is_kept(harness: Harness):
    (result,) = run(harness, "Raising", conversation(says("Go wrong now")))
    assert str(result.metadata["agent_output"]).startswith("about to raise\nTraceback")


def test_one_agents_fault_touches_no_other_session(harness: Harness):
    async def main(hosts: Sequence[AgentHost]) -> list[ConversationResult]:
        agents = [ExternalAgent(host, {}, [TOOL], "", TurnLimits(1, HANG_SECONDS)) for host in hosts]
        runner = ConversationRunner(harness.pool)
        talk = conversation(says("now Acme"))
        truth = harness.truth(talk)
        try:
            return await asyncio.gather(*(runner.run(talk, truth, agent=agent) for agent in agents * 2))
        finally:
            for host in hosts:
                await host.aclose()

    with ExitStack() as stack:
        kinds = [(kind, agent) for kind in KINDS for agent in ("Stubborn", "Searcher")]
        hosts = [stack.enter_context(hosting(kind, agent)) for kind, agent in kinds]
        results = asyncio.run(main(hosts))
    assert [verdicts(result) for result in results] == [["agent_error"], ["exact_match"]] * 6


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["no-such-program"], "there is no program no-such-program"),
        (["./no-such-program"], "there is no program ./no-such-program"),
        (["./README.md"], "README.md cannot be used: PermissionError: .*Permission denied"),
        (
            [sys.executable, "-c", "raise SystemExit('no key is set')"],
            "its process ended before it answered anything. It wrote:\nno key is set",
        ),
    ],
)
def test_a_program_that_does_not_start_is_named_before_a_session_runs(
    harness: Harness, command: list[str], message: str
):
    async def main() -> None:
        host = CommandHost(command, folder=REPOSITORY, environment=os.environ)
        agent = ExternalAgent(host, {}, [TOOL], "", TurnLimits(1, HANG_SECONDS))
        talk = conversation(says("Hello"))
        try:
            await ConversationRunner(harness.pool).run(talk, harness.truth(talk), agent=agent)
        finally:
            await host.aclose()

    with pytest.raises(ConfigError, match=message):
        asyncio.run(main())


def test_a_service_that_is_not_there_is_named(harness: Harness, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("crm_assets.agents.service._CONNECT_SECONDS", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/turn"

    async def main() -> None:
        host = ServiceHost(url)
        agent = ExternalAgent(host, {}, [TOOL], "", TurnLimits(1, HANG_SECONDS))
        talk = conversation(says("Hello"))
        try:
            await ConversationRunner(harness.pool).run(talk, harness.truth(talk), agent=agent)
        finally:
            await host.aclose()

    with pytest.raises(ConfigError, match=f"Nothing answers at {url}"):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("tests.agents.samples:nothing", r"samples:nothing cannot be used: .*has no nothing\."),
        ("tests.agents.samples:not_callable", r"cannot be called; name a function or a class"),
        ("tests.agents.missing:make", r"No module named 'tests\.agents\.missing'"),
    ],
)
def test_a_factory_that_is_not_there_is_named_before_a_session_runs(factory: str, message: str):
    async def main() -> None:
        host = PythonHost(factory, search=[REPOSITORY], environment=os.environ)
        try:
            await host.open()
        finally:
            await host.aclose()

    with pytest.raises(ConfigError, match=message):
        asyncio.run(main())


def test_a_factory_that_raises_is_the_agents_failure(harness: Harness):
    (result,) = run(harness, "broken_factory", conversation(says("Hello")))
    assert result.metadata["agent_failure"] == "RuntimeError: no key is set"
