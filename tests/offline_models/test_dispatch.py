from __future__ import annotations

import ast
import asyncio
import json
import time
from pathlib import Path

import pytest

import crm_assets.offline_models
from crm_assets.llm import Answer, Caller, ChatRequest, FunctionTool, Message, ModelClient, ModelSpec
from crm_assets.offline_models import (
    MODELS,
    OfflineRequest,
    answer,
    count_tokens,
    read_messages,
)

from .talk import CRM_TOOLS, QUOTE, ask_student

JUDGE_KEYS = {"principles", "score", "rationale", "uncertainty"}


def keys(model: str, line: str) -> set[str]:
    messages = (Message("system", f"{line}\nDo it."), Message("user", '```json\n{"turns": []}\n```'))
    content = answer(model, OfflineRequest(messages)).content or ""
    return set(json.loads(content)) if content.startswith("{") else {"text"}


@pytest.mark.parametrize(
    ("model", "line", "said"),
    [
        ("offline/teacher", "Anything.", {"valid", "guidance"}),
        ("my-judge-v2", "Anything.", JUDGE_KEYS),
        ("openai/gpt-4.1", "You are the judge of a session with a student and a teacher.", JUDGE_KEYS),
        ("openai/gpt-4.1", "You are the judge of last resort.", JUDGE_KEYS),
        ("gpt-4.1", "You are the teacher of an assistant.", {"valid", "guidance"}),
        ("offline/teacher", "You are the probe of a student and teacher.", {"mode", "confidence"}),
        ("offline/probe", "Anything.", {"mode", "confidence"}),
        ("offline/judge", "You are the turn judge of a benchmark.", {"score", "rationale"}),
        ("gpt-4.1", "You are a CRM assistant.", {"text"}),
        ("offline/student", "You are the judge of a session.", {"text"}),
    ],
)
def test_the_name_or_the_prompt_tells_who_answers(model, line, said):
    assert keys(model, line) == said


def test_the_same_question_gets_the_same_reply():
    assert ask_student(f"Delete quote {QUOTE}.") == ask_student(f"Delete quote {QUOTE}.")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "user",
    [
        "",
        "```json\n{nope}\n```",
        "```json\n[1]\n```",
        '```json\n{"turns": [1, {"turn": "x"}, {"user": null, "arguments": 3}]}\n```',
        '```json\n{"turns": {}, "past_sessions": [1], "tier1": 4, "playbook_entries": [{}, 2]}\n```',
    ],
)
def test_no_prompt_is_too_strange(model, user):
    reply = answer(model, OfflineRequest((Message("system", "You are."), Message("user", user))))
    assert reply.content


def test_a_question_without_messages_gets_a_reply():
    assert answer("student", OfflineRequest(())).content


def test_tokens_are_counted_and_cost_nothing():
    assert [count_tokens(text) for text in ("", "abcd", "abcde", "ééé")] == [0, 1, 2, 2]
    bare = answer("student", OfflineRequest((Message("user", "Hi."),)))
    tooled = answer("student", OfflineRequest((Message("user", "Hi."),), CRM_TOOLS))
    assert tooled.usage.prompt_tokens - bare.usage.prompt_tokens == count_tokens(
        json.dumps(CRM_TOOLS, separators=(",", ":"), ensure_ascii=False)
    )
    assert bare.usage.completion_tokens == count_tokens(bare.content or "")
    assert bare.cost_usd == 0.0


def test_a_call_takes_a_moment_of_the_processor():
    ask_student(f"Delete quote {QUOTE}.")  # the tools are prepared once
    best = min(_seconds() for _ in range(20))
    assert best < 0.005


def _seconds() -> float:
    start = time.thread_time()
    ask_student(f"Update opportunity {QUOTE}: stage Proposal, amount $5 and owner Dana Cole.")
    return time.thread_time() - start


def test_messages_of_openais_api_are_read():
    call = {"id": "c", "function": {"name": "x", "arguments": "{}"}}
    documents = [
        {"role": "developer", "content": "Work."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ]
    first, second, third = read_messages(documents)
    assert (first.role, second.content, third.tool_calls[0].name) == ("system", "ab", "x")


def test_the_models_know_neither_datasets_nor_harness():
    folder = Path(crm_assets.offline_models.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("crm_assets"):
                assert (node.module or "").startswith(
                    ("crm_assets.llm", "crm_assets.crm", "crm_assets.errors", "crm_assets.offline_models")
                ), path.name


def test_the_client_asks_them_like_any_provider():
    tools = tuple(
        FunctionTool(**{name: tool["function"][name] for name in ("name", "description", "parameters")})
        for tool in CRM_TOOLS
    )
    messages = (Message("user", f"Delete quote {QUOTE}."),)

    async def ask_it() -> Answer:
        client = ModelClient({})
        try:
            spec = ModelSpec(provider="offline", model="student")
            return await client.complete(Caller("s", "student"), ChatRequest(spec, messages, tools))
        finally:
            await client.aclose()

    told = asyncio.run(ask_it())
    assert told.reply.finish_reason == "tool_calls"
    assert told.reply.tool_calls[0].name == "delete_quote"
    direct = answer("student", OfflineRequest(messages, CRM_TOOLS))
    assert (told.reply.usage, told.spending.cost_usd) == (direct.usage, 0.0)
