"""The calls that a session is expected to make, from its conversation's text and the configuration.

The lengths of prompts are those of what a role is shown: its own prompt, the tools, and the conversation
up to the call. So work is known to grow with a conversation; earlier runs correct its level (`evidence`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import orjson

from crm_assets.atlas.config import AgentConfig, AtlasConfig
from crm_assets.atlas.model_facts import ModelRun
from crm_assets.atlas.student_prompt import function_tools, system_prompt
from crm_assets.conversations import Conversation, Turn
from crm_assets.llm import Role

__all__ = ["RETRIED", "Workload", "most_attempts", "roles_of", "workload_of"]

_CHARACTERS_A_TOKEN = 4
_RESULT_TOKENS = 120
"""Of a tool's result, which is not known before the run."""
_REPLY_TOKENS = 30
_CALL_TOKENS = 20
"""Around the arguments of a call."""
_TRANSCRIPT_TOKENS = 40
"""Of the keys around a turn, where others are shown it."""
_JUDGES = 3
_PROMPTS = {"teacher": 650, "judge": 750, "learner": 2500, "probe": 1500, "turn_judge": 500}
"""Tokens of a role's own prompt, with what the playbook and the past sessions add to it."""
_REPLIES = {"teacher": 120, "judge": 200, "learner": 400, "probe": 60, "turn_judge": 80}
_TURNS_JUDGED = 0.7
"""Calls to the judge of turns, for each turn."""


RETRIED: frozenset[Role] = frozenset({"student", "teacher", "turn_judge"})
"""Roles that work once for each attempt of a session."""


class Workload(NamedTuple):
    """Calls of one role, with the sums of their tokens."""

    calls: float = 0.0
    prompt: float = 0.0
    completion: float = 0.0

    def __add__(self, other: Workload) -> Workload:  # type: ignore[override]  # not a tuple's
        return Workload(*(a + b for a, b in zip(self, other, strict=True)))

    def scaled(self, factors: Workload) -> Workload:
        """Return each part times that of `factors`."""
        return Workload(*(a * b for a, b in zip(self, factors, strict=True)))

    def times(self, factor: float) -> Workload:
        """Return a multiple of all parts."""
        return self.scaled(Workload(factor, factor, factor))


def roles_of(run: ModelRun) -> Iterator[Role]:
    """Yield the roles that may ask a model in a run."""
    config = run.config.config
    if config.agent.llm is not None:
        yield "student"
    if config.agent.use_llm_judge:
        yield "turn_judge"
    if run.plan.agent == "student":
        return
    mode = config.orchestration.forced_mode
    if mode != "auto":
        yield "teacher"
    if mode is None and config.adaptive_teaching.enabled and config.adaptive_teaching.mode_override is None:
        yield "probe"
    yield "judge"
    if run.config.learning_mode == "on":
        yield "learner"


def most_attempts(run: ModelRun) -> int:
    """Return how often the student may run in a session: once more for each time it is sent back."""
    return 1 + run.config.config.orchestration.max_retries if "teacher" in roles_of(run) else 1


def workload_of(conversation: Conversation, run: ModelRun) -> dict[Role, Workload]:
    """Return what each role of a run is expected to do in one session with one attempt."""
    config = run.config.config
    turns = [_turn_tokens(turn) for turn in conversation.turns]
    transcript = sum(sum(turn) + _TRANSCRIPT_TOKENS for turn in turns)
    coached = run.plan.agent == "atlas" and config.orchestration.forced_mode == "coach"

    def asked(role: str, calls: float, shown: float) -> Workload:
        return Workload(calls, calls * (_PROMPTS[role] + shown), calls * _REPLIES[role])

    found: dict[Role, Workload] = {}
    for role in roles_of(run):
        if role == "student":
            found[role] = _student(turns, config)
            if coached:
                found[role] += Workload(1, _prompt_tokens(config.agent), 150)
        elif role == "teacher":
            found[role] = asked(role, 1, transcript)
            if coached:
                found[role] += asked(role, 1, 250)
        elif role == "judge":
            found[role] = asked(role, _JUDGES, transcript)
        elif role == "turn_judge":
            found[role] = asked(role, _TURNS_JUDGED * len(turns), transcript / len(turns))
        else:
            found[role] = asked(role, 1, transcript if role == "learner" else 0)
    return found


class _TurnTokens(NamedTuple):
    said: float
    call: float
    result: float
    reply: float


def _turn_tokens(turn: Turn) -> _TurnTokens:
    reply = turn.expected_response
    return _TurnTokens(
        len(turn.user_utterance) / _CHARACTERS_A_TOKEN,
        len(orjson.dumps(turn.expected_args)) / _CHARACTERS_A_TOKEN + _CALL_TOKENS,
        _RESULT_TOKENS,
        len(reply.text) / _CHARACTERS_A_TOKEN if reply else _REPLY_TOKENS,
    )


def _student(turns: list[_TurnTokens], config: AtlasConfig) -> Workload:
    """Return one attempt: in each turn a call, and the reply when its result is there."""
    fixed = _prompt_tokens(config.agent)
    if config.agent.tool_mode != "text":
        fixed += _tool_tokens()
    before = [0.0, *accumulate(sum(turn) for turn in turns)]
    prompt = sum(
        2 * (fixed + earlier + turn.said) + turn.call + turn.result
        for earlier, turn in zip(before, turns, strict=False)
    )
    return Workload(2 * len(turns), prompt, sum(turn.call + turn.reply for turn in turns))


@lru_cache(maxsize=8)
def _prompt_tokens(agent: AgentConfig) -> float:
    return len(system_prompt(agent)) / _CHARACTERS_A_TOKEN


@lru_cache(maxsize=1)
def _tool_tokens() -> float:
    tools = orjson.dumps([tool.document for tool in function_tools()])
    return len(tools) / _CHARACTERS_A_TOKEN
