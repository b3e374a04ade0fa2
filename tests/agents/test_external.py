"""Agents in processes of their own; each fault of one is a failure of its session alone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import psutil
import pytest

from crm_assets.agents.external import ExternalAgent, TurnLimits
from crm_assets.agents.messages import Reply, ToAgent
from crm_assets.agents.process import AgentHost, AgentProcess
from crm_assets.conversations import Conversation
from crm_assets.errors import ConfigError
from crm_assets.harness import ConversationRunner
from crm_assets.records import ConversationResult
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
    calls: int = 1,
    seconds: float = HANG_SECONDS,
    at_once: int = 1,
    environment: Mapping[str, str] | None = None,
) -> list[ConversationResult]:
    """Run conversations side by side; check that no process is left."""

    async def main() -> list[ConversationResult]:
        host = AgentHost(
            f"tests.agents.samples:{agent}",
            search=[REPOSITORY],
            environment=os.environ if environment is None else environment,
        )
        one = ExternalAgent(host, {"name": agent}, [TOOL], "Be kind.", TurnLimits(calls, seconds))
        runner = ConversationRunner(harness.pool)
        truth = harness.truth(talk)
        try:
            return await asyncio.gather(*(runner.run(talk, truth, agent=one) for _ in range(at_once)))
        finally:
            await host.aclose()

    before = set(psutil.Process().children(recursive=True))
    results = asyncio.run(main())
    assert not set(psutil.Process().children(recursive=True)) - before
    return results


def verdicts(result: ConversationResult) -> list[str]:
    return [entry.verification for entry in result.per_turn_results]


@pytest.mark.parametrize("agent", ["Searcher", "AsyncSearcher"])
def test_an_agent_calls_tools_and_replies(harness: Harness, agent: str):
    (result,) = run(harness, agent, conversation(says("Find Acme")))
    assert verdicts(result) == ["exact_match"]
    assert result.per_turn_results[0].agent_response_text == "Found 1."
    assert result.overall_success


def test_an_agent_lasts_for_its_conversation_and_what_it_reports_is_its_own_word(harness: Harness):
    talk = conversation(says("Find Acme"), says("Again: Acme"))
    first, second = run(harness, "Searcher", talk, at_once=2)
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


@pytest.mark.parametrize(("calls", "made"), [(1, 1), (2, 2)])
def test_calls_beyond_the_most_of_a_turn_are_refused_and_recorded(harness: Harness, calls: int, made: int):
    (result,) = run(harness, "Greedy", conversation(says("Find Acme")), calls=calls)
    (taken,) = result.per_turn_results
    assert str(taken.agent_response_text).count("called") == made
    assert "may make no more calls" in str(taken.agent_response_text)
    assert taken.calls is not None
    assert [call.made for call in taken.calls] == [True] * made + [False] * (3 - made)


FAULTS = {
    "Raising": "LookupError: no such client",
    "Dying": "its process ended",
    "Flooding": "it wrote more than 1 MiB to standard output",
    "Wordless": "TypeError: turn() returned NoneType; return the reply as a string",
    "Forking": "LookupError: in the second process",
    "Unserializable": "TypeError: Encoding objects of type object is unsupported",
    "Stubborn": "it asked for 100 more calls after the last of its turn",
}


@pytest.mark.parametrize(("agent", "reason"), FAULTS.items())
def test_a_fault_is_the_agents_failure_from_its_turn_on(harness: Harness, agent: str, reason: str):
    talk = conversation(says("Hello"), says("Go wrong now"), says("Still there?"))
    (result,) = run(harness, agent, talk)
    assert result.status == "completed"
    assert verdicts(result) == ["no_tool_call", "agent_error", "agent_error"]
    assert result.overall_success is False
    assert result.metadata["agent_failure"] == reason


def test_an_agent_that_hangs_fails_after_the_time_of_a_turn_and_is_ended(harness: Harness):
    async def main() -> ConversationResult:
        host = AgentHost("tests.agents.samples:Hanging", search=[REPOSITORY], environment=os.environ)
        agent = ExternalAgent(host, {}, [TOOL], "", TurnLimits(1, 5.0))
        talk = conversation(says("Go wrong now"))
        try:
            result = await ConversationRunner(harness.pool).run(talk, harness.truth(talk), agent=agent)
            processes = str(result.metadata["agent_output"]).split()
            assert eventually(lambda: not any(psutil.pid_exists(int(pid)) for pid in processes))
            return result
        finally:
            await host.aclose()

    result = asyncio.run(main())
    assert verdicts(result) == ["agent_error"]
    assert result.metadata["agent_failure"] == "it took longer than 5 s for a turn"


def test_a_reply_to_a_turn_that_has_ended_is_the_agents_failure():
    class Process(AgentProcess):
        """A stand-in whose agent replies to its first turn again and again."""

        def send(self, message: ToAgent) -> None:
            pass

        async def receive(self) -> Reply:
            return Reply(1, "Twice.", {})

        async def end(self, *, patiently: bool) -> int:
            return 0

    class Host(AgentHost):
        async def fork(self) -> AgentProcess:
            return Process(self)

    async def main() -> tuple[list[str | None], object]:
        host = Host("a:b", search=[], environment={})
        session = ExternalAgent(host, {}, [], "", TurnLimits(1, HANG_SECONDS)).begin("c")
        said = [(await session.act("Hello")).reply, (await session.act("And?")).reply]
        return said, session.notes()["agent_failure"]

    assert asyncio.run(main()) == (["Twice.", ""], "it replied again to turn 1, which had ended")


def test_what_an_agent_leaves_running_is_ended_and_counted(harness: Harness):
    (result,) = run(harness, "Leaving", conversation(says("Leave one now")))
    left = int(str(result.per_turn_results[0].agent_response_text))
    assert result.metadata["agent_left_running"] == 1
    assert eventually(lambda: not psutil.pid_exists(left))


def test_the_output_of_an_agent_is_kept(harness: Harness):
    (result,) = run(harness, "Raising", conversation(says("Go wrong now")))
    assert str(result.metadata["agent_output"]).startswith("about to raise\nTraceback")


def test_one_agents_fault_touches_no_other_session(harness: Harness):
    async def main() -> list[ConversationResult]:
        hosts = [
            AgentHost(f"tests.agents.samples:{name}", search=[REPOSITORY], environment=os.environ)
            for name in ("Dying", "Searcher")
        ]
        agents = [ExternalAgent(host, {}, [TOOL], "", TurnLimits(1, HANG_SECONDS)) for host in hosts]
        runner = ConversationRunner(harness.pool)
        talk = conversation(says("now Acme"))
        truth = harness.truth(talk)
        try:
            return await asyncio.gather(*(runner.run(talk, truth, agent=agent) for agent in agents * 2))
        finally:
            for host in hosts:
                await host.aclose()

    assert [verdicts(result) for result in asyncio.run(main())] == [["agent_error"], ["exact_match"]] * 2


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
        host = AgentHost(factory, search=[REPOSITORY], environment=os.environ)
        try:
            await host.fork()
        finally:
            await host.aclose()

    with pytest.raises(ConfigError, match=message):
        asyncio.run(main())


def test_a_factory_that_raises_is_the_agents_failure(harness: Harness):
    (result,) = run(harness, "broken_factory", conversation(says("Hello")))
    assert result.metadata["agent_failure"] == "RuntimeError: no key is set"
