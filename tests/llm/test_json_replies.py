from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from crm_assets.llm import (
    Answer,
    Caller,
    ChatReply,
    ChatRequest,
    MalformedReply,
    Message,
    ModelSpec,
    Spending,
    UnitScore,
)
from crm_assets.llm.json_replies import ask, json_check
from crm_assets.llm.reading import parse_object
from tests.llm.scripted_models import ScriptedModels

REQUEST = ChatRequest(ModelSpec(provider="openai", model="m"), (Message("user", "?"),))
CALLER = Caller("s-1", "judge")


class Verdict(BaseModel):
    score: UnitScore
    rationale: str = ""


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"b": [1, "}"]}}',
        '  \n{"a": {"b": [1, "}"]}}\n',
        '```json\n{"a": {"b": [1, "}"]}}\n```',
        '```\n{"a": {"b": [1, "}"]}}\n```\nI hope that "helps" {you}.',
        'Here it is, as {asked} in [1] and \\{: {"a": {"b": [1, "}"]}}',
        '\ufeff{"a": {"b": [1, "}"]}}',
        '<think>Perhaps {"a": 2}? Or [{</think>\n{"a": {"b": [1, "}"]}}',
    ],
)
def test_the_object_is_found_in_what_is_around_it(text: str):
    assert parse_object(text) == {"a": {"b": [1, "}"]}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "empty"),
        ("", "empty"),
        (" \n", "empty"),
        ("I would say 7.", "no JSON object"),
        ("null", "no JSON object"),
        ("{'a': 1}", "no JSON object"),
        ('{"a": 1,}', "no JSON object"),
        ('[{"a": 1}]', "list instead of an object"),
        ('```json\n[{"a": 1}, {"a": 2}]\n```', "list instead of an object"),
        ('{"a": {"b": 1}, "c": ', "cut off"),
        ('{"a": "text that en', "cut off"),
        ('```json\n{"a": [{"b": 1}', "cut off"),
        ('{"a": 1} or rather {"a": 2}', "more than one"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a": 1e999}', "too large"),
        ('{"a": 18446744073709551616}', "too large"),
        ('{"a": ' + "9" * 5_000 + "}", "too large"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested"),
    ],
)
def test_what_is_no_object_is_an_error_that_says_what_it_is(text: str | None, reason: str):
    with pytest.raises(ValueError, match=reason) as raised:
        parse_object(text)
    assert str(raised.value).startswith("The reply") and str(raised.value).endswith(".")


def test_line_ends_in_texts_are_forgiven_and_what_cannot_be_stored_is_replaced():
    assert parse_object('{"a\\u0000": ["two\nlines", "\\u0000\\ud800!"], "b": true}') == {
        "a�": ["two\nlines", "��!"],
        "b": True,
    }


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | TEXT,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(TEXT, part, max_size=3),
    max_leaves=8,
)


@settings(max_examples=80, derandomize=True, database=None)
@given(st.dictionaries(TEXT, JSON, max_size=4), st.booleans())
def test_every_object_is_read_as_it_was_written(document: dict[str, Any], ascii_only: bool):
    text = f"Sure:\n```json\n{json.dumps(document, ensure_ascii=ascii_only, indent=1)}\n```"
    assert parse_object(text) == document


@settings(max_examples=80, derandomize=True, database=None)
@given(st.dictionaries(TEXT, JSON, min_size=1, max_size=4), st.data())
def test_no_part_of_an_object_is_mistaken_for_it(document: dict[str, Any], data: st.DataObject):
    text = json.dumps(document)
    with pytest.raises(ValueError, match="The reply"):
        parse_object(text[: data.draw(st.integers(0, len(text) - 1))])


@settings(max_examples=100, derandomize=True, database=None)
@given(st.text(st.sampled_from('{}[]"\\:,a1 \n`') | st.characters(exclude_categories=[]), max_size=60))
def test_any_text_is_an_object_or_a_value_error(text: str):
    try:
        assert isinstance(parse_object(text), dict)
    except ValueError as error:
        assert not isinstance(error, json.JSONDecodeError)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"score": 0.5, "rationale": "x", "more": 1}', None),
        ('{"score": 0}', None),
        ('{"score": 7}', "The reply's score: 7.0 is not from 0.0 to 1.0, the scale that was asked for."),
        ('{"score": -0.01}', "The reply's score: -0.01 is not from 0.0 to 1.0"),
        ('{"score": 1.00001}', "The reply's score: 1.00001 is not from 0.0 to 1.0"),
        ('{"score": "high"}', "The reply's score: "),
        ('{"score": "0.5"}', "The reply's score: "),
        ('{"rationale": "x"}', "The reply's score: Field required."),
        ('{"score": 0.5, "rationale": ["x"]}', "The reply's rationale: "),
        ("", "The reply is empty."),
    ],
)
def test_a_check_says_what_is_wrong_with_the_form(text: str, complaint: str | None):
    said = json_check(Verdict)(ChatReply(text))
    assert said is None if complaint is None else (said or "").startswith(complaint)


def test_asking_again_gets_an_object_of_the_form():
    replies = iter(['{"score": 7}', '{"score": 0.7}'])
    models = ScriptedModels(lambda caller, request: next(replies))
    verdict, answer = asyncio.run(ask(models, CALLER, REQUEST, Verdict))
    assert verdict.score == 0.7
    assert answer.spending.calls == 2
    assert all(request.json_object for request in models.requests)


@pytest.mark.parametrize(
    ("written", "score"), [("1.0000001", 1.0), ("-1e-9", 0.0), ("0.9999999", 0.9999999)]
)
def test_what_is_beyond_by_rounding_is_the_end_of_the_scale(written: str, score: float):
    models = ScriptedModels(lambda caller, request: f'{{"score": {written}}}')
    verdict, _ = asyncio.run(ask(models, CALLER, REQUEST, Verdict))
    assert verdict.score == score


def test_a_server_that_takes_a_schema_is_given_the_scale():
    models = ScriptedModels(lambda caller, request: '{"score": 1}')
    asyncio.run(ask(models, CALLER, REQUEST, Verdict))
    schema = models.requests[0].json_schema or {}
    assert schema["properties"]["score"] == {"type": "number", "title": "Score", "minimum": 0, "maximum": 1}


class Unchecked:
    """Gives its one reply whatever the check says of it."""

    async def complete(self, caller: Caller, request: ChatRequest, *, check: Any = None) -> Answer:
        return Answer(ChatReply("[]"), Spending(calls=1))

    def spent(self, session: str) -> dict[Any, Any]:
        return {}


@pytest.mark.parametrize("models", [ScriptedModels(lambda caller, request: "[]"), Unchecked()])
def test_replies_that_stay_malformed_are_an_error_with_the_last_of_them(models: Any):
    with pytest.raises(MalformedReply, match="no JSON object") as raised:
        asyncio.run(ask(models, CALLER, REQUEST, Verdict))
    assert raised.value.reply is not None and raised.value.reply.content == "[]"
    assert raised.value.spending is not None and raised.value.spending.calls >= 1
