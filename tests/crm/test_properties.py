"""Whatever an agent sends: a result or a refusal, never anything else; nothing kept; the same again.

`CRM_ASSETS_EXPLORE=5000` looks further than the examples of every day.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm_assets.crm import (
    ENTITIES,
    TOOLS,
    Sandbox,
    SandboxPool,
    Session,
    Tool,
    ToolAction,
    ToolError,
    deterministic_ids,
    make_seed_rows,
)
from crm_assets.crm.amounts import Amount, Probability
from crm_assets.crm.fields import Choice, Day, Identifier, Rule, Timestamp
from crm_assets.crm.texts import Email, FileName, TextList
from crm_assets.database import Databases
from tests.crm.samples import NOBODY, SEED_DATA, TODAY, conversation, state_of

SEEDS = make_seed_rows(conversation(SEED_DATA))
TIMES = {name for entity in ENTITIES.values() for name in entity.times}
SEEDED_IDS = [identifier for rows in SEED_DATA.values() for identifier in rows]
NEW_IDS = [f"99999999-0000-4000-8000-00000000000{number}" for number in range(3)]

EXPLORE = int(os.environ.get("CRM_ASSETS_EXPLORE", "0"))
# The same examples every day, so that a run of the suite means the same thing everywhere.
EXAMPLES = settings(
    max_examples=EXPLORE or 40,
    derandomize=not EXPLORE,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

ANY_TEXT = st.one_of(
    st.text(st.characters(exclude_categories=[]), max_size=30),
    st.sampled_from(
        [
            "",
            " ",
            "\x00",
            "\ud800",
            "%",
            "_",
            "\\",
            "'; DROP TABLE clients; --",
            "{{turn_1.client_id}}",
            "x" * 20_001,
        ]
    ),
)
NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from(
        [0, -1, 10**400, -(10**4000), 10**7, 10**15, 2**63, 0.005, 1e-320, 1e308, math.nan, math.inf]
    ),
    st.floats(),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, ANY_TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(ANY_TEXT, inner, max_size=3)),
    max_leaves=6,
)
IDS = st.sampled_from(
    [*SEEDED_IDS, *NEW_IDS, NOBODY, SEEDED_IDS[0].upper(), f" {SEEDED_IDS[0]} ", "42", ""]
)
TEXTS = st.sampled_from(["Acme", "renewal", "EU", "é", "100%", "a_b\\c"])


def good(rule: Rule) -> st.SearchStrategy[Any]:  # noqa: PLR0911
    """Values that a field takes, or that it would take if the right row were there."""
    if isinstance(rule, Identifier):
        known = list(SEED_DATA.get(rule.entity, ())) or SEEDED_IDS
        return st.sampled_from(NEW_IDS if rule.generated else known)
    if isinstance(rule, Choice):
        return st.sampled_from(rule.values)
    if isinstance(rule, Probability):
        return st.integers(1, 99)
    if isinstance(rule, Amount):
        return st.integers(1, 10_000_000) | st.sampled_from([400.25, 0.125, 19.99, 1000.5])
    if isinstance(rule, Day):
        return st.sampled_from(["2024-06-01", "2024-12-31", "9999-12-31"])
    if isinstance(rule, Timestamp):
        moments = st.datetimes(timezones=st.none() | st.timezones())
        return moments.map(lambda moment: moment.isoformat())
    if isinstance(rule, TextList):
        return st.sampled_from(["Bill", "milton"])
    if isinstance(rule, Email):
        return st.sampled_from(["info@acme.example", "INFO@ACME.example", "a@b.example"])
    return st.sampled_from(["a.pdf", "b-1_x.XLSX"]) if isinstance(rule, FileName) else TEXTS


def doubtful(rule: Rule) -> st.SearchStrategy[Any]:
    """Values of a field's kind that it may well refuse."""
    if isinstance(rule, Identifier):
        return IDS
    if isinstance(rule, Choice):
        return st.sampled_from([rule.values[0].lower(), f" {rule.values[0]}", "Other"])
    if isinstance(rule, (Amount, Probability)):
        return NUMBERS | st.sampled_from(["40", "1e-99999", "5.", "1e99999", "NaN", "0x10", "1_0", "٣"])
    if isinstance(rule, Day):
        return st.dates().map(str)
    if isinstance(rule, TextList):
        return st.lists(ANY_TEXT, max_size=3)
    return ANY_TEXT


@st.composite
def value_of(draw: st.DrawFn, rule: Rule) -> Any:
    dice = draw(st.integers(0, 19))
    return draw(good(rule) if dice < 16 else doubtful(rule) if dice < 19 else JSON)


@st.composite
def arguments_of(draw: st.DrawFn, tool: Tool) -> dict[str, Any]:
    """Arguments for `tool`: mostly what it knows, flat or in its second spelling, and some it does not."""
    schema = tool.json_schema()
    rules = dict(tool.entity.fields)
    if tool.action is not ToolAction.CREATE:
        own = tool.entity.id_field
        rules[own] = Identifier(rules[own].label, entity=tool.entity.name)
    call: dict[str, Any] = {}
    for name in schema["properties"]:
        if draw(st.integers(0, 19)) < (1 if name in schema["required"] else 15):
            continue
        if name == "quote_ids":
            known = st.lists(st.sampled_from(list(SEED_DATA["Quote"])), max_size=3)
            call[name] = draw(known | known | st.lists(IDS, max_size=3) | JSON)
        elif name == tool.bag:
            fields = {
                key: value_of(rule) for key, rule in tool.entity.fields.items() if draw(st.booleans())
            }
            call[name] = draw(st.fixed_dictionaries({}, optional=fields) if fields else JSON)
        else:
            call[name] = draw(value_of(rules[name]))
    kind = call.get("entity_type")
    if isinstance(kind, str) and kind in SEED_DATA and draw(st.booleans()):
        call["entity_id"] = next(iter(SEED_DATA[kind]))
    if draw(st.integers(0, 19)) == 0:
        call[draw(st.sampled_from(["kwargs", "document_url", "cleared", "self"]) | ANY_TEXT)] = draw(JSON)
    return call


CALLS = st.sampled_from(list(TOOLS)).flatmap(
    lambda name: st.tuples(st.just(name), arguments_of(TOOLS[name]))
)
NONSENSE = st.tuples(st.sampled_from(list(TOOLS)) | ANY_TEXT, st.dictionaries(ANY_TEXT, JSON, max_size=4))


def timeless(value: Any) -> Any:
    """`value` without the moments that no second run can repeat."""
    if isinstance(value, list):
        return [timeless(entry) for entry in value]
    if isinstance(value, dict):
        return {key: timeless(entry) for key, entry in value.items() if key not in TIMES}
    return value


def outcome(session: Session, name: str, arguments: Mapping[str, Any]) -> Any:
    """What a call came to; anything but a result or a refusal ends the test."""
    try:
        result = session.call(name, arguments)
    except ToolError as error:
        assert error.kind in ("validation", "not_found", "conflict", "unknown_tool")
        assert error.message.endswith(".")
        assert len(error.message) < 500
        error.message.encode()
        return error.kind, error.message
    orjson.dumps(result)
    return "result", timeless(result)


def run(pool: SandboxPool, calls: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    with pool.lease() as sandbox:
        before = sandbox.fingerprint()
        with sandbox.begin(SEEDS, ids=deterministic_ids("again"), today=lambda: TODAY) as session:
            outcomes = [outcome(session, name, arguments) for name, arguments in calls]
            state = timeless(state_of(session))
        assert sandbox.fingerprint() == before
        assert sandbox.is_clean()
    return [*outcomes, state]


@EXAMPLES
@given(calls=st.lists(CALLS | CALLS | CALLS | NONSENSE, min_size=1, max_size=8))
def test_any_session_gives_results_or_refusals_and_the_same_ones_again(
    shared_pool: SandboxPool, calls: list[tuple[str, dict[str, Any]]]
) -> None:
    assert run(shared_pool, calls) == run(shared_pool, calls)


@EXAMPLES
@given(call=CALLS)
def test_a_refused_call_changes_nothing(shared_pool: SandboxPool, call: tuple[str, dict[str, Any]]) -> None:
    name, arguments = call
    with shared_pool.lease() as sandbox, sandbox.begin(SEEDS, today=lambda: TODAY) as session:
        before = session.rows()
        kind, _ = outcome(session, name, arguments)
        if kind != "result" or not TOOLS[name].action.writes:
            assert session.rows() == before
        else:
            assert set(session.rows()) <= {entity.table for entity in ENTITIES.values()}


@EXAMPLES
@given(call=CALLS)
def test_both_spellings_of_a_call_do_the_same(
    shared_pool: SandboxPool, call: tuple[str, dict[str, Any]]
) -> None:
    name, arguments = call
    tool = TOOLS[name]
    canonical = tool.canonical(arguments)
    assert tool.canonical(canonical) == canonical
    if tool.action.writes and isinstance(arguments.get("updates"), dict):
        return  # a null in there clears, which the canonical call leaves out
    if tool.bag is not None and isinstance(arguments.get(tool.bag), dict):
        unknown = [key for key in arguments[tool.bag] if key not in tool.entity.fields]
        if unknown:
            return  # refused with another sentence
    known = {*tool.arguments.model_fields, *tool.aliases, tool.bag}
    if any(value is None and key not in known for key, value in arguments.items()):
        return  # refused, and named; the canonical call does not have it
    assert run(shared_pool, [(name, arguments)]) == run(shared_pool, [(name, canonical)])


def test_the_examples_reach_the_database(databases: Databases) -> None:
    """A strategy whose every call to some tool is refused would prove nothing of it."""
    with SandboxPool(databases.sandbox) as pool, pool.lease() as sandbox:
        assert [name for name in TOOLS if not successes(sandbox, name)] == []


def successes(sandbox: Sandbox, name: str) -> int:
    """How many of some examples for a tool are more than refused."""
    kinds = []

    @settings(EXAMPLES, max_examples=20, derandomize=True)
    @given(arguments=arguments_of(TOOLS[name]))
    def attempt(arguments: dict[str, Any]) -> None:
        with sandbox.begin(SEEDS, today=lambda: TODAY) as session:
            kinds.append(outcome(session, name, arguments)[0])

    attempt()
    return kinds.count("result")
