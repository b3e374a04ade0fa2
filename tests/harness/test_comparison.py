from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_assets.crm import TOOLS
from crm_assets.harness import argument_mismatch, same_tool

from .build import ACME, BETA

# A tool whose arguments are compared as they are, without a second spelling.
PLAIN = "add_note"


def mismatch(expected: dict[str, Any], actual: object, tool: str = PLAIN) -> str | None:
    return argument_mismatch(tool, expected, actual)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("Acme", "Acme"),
        ("Acme", "  Acme\n"),
        (" Acme ", "Acme"),
        (1000, "1000"),
        ("1000", 1000),
        ("1000.50", 1000.5),
        (1000, " 1000.00 "),
        (1000, 1000.0),
        (0.1, "0.1"),
        (True, True),
        (None, None),
        ([1, "b"], ["1", " b"]),
        ([], []),
        ({}, {"more": 1}),
        ({"a": {"b": [1]}}, {"a": {"b": ["1"], "c": 2}, "d": 3}),
        ([{"a": 1}], [{"a": 1, "b": 2}]),
    ],
)
def test_values_that_are_the_same(expected, actual):
    assert mismatch({"field": expected}, {"field": actual}) is None


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("Acme", "acme"),
        ("Acme", "Ac me"),
        ("1000", "1000.0"),  # two texts are compared as texts: a phone number is no number
        (1000, 1001),
        (1000, "a thousand"),
        (1000, ""),
        (1, True),
        (0, False),
        (True, 1),
        (True, "true"),
        (False, None),
        ("Acme", None),
        ("", None),
        (0, None),
        (1, "nan"),
        ([1, 2], [2, 1]),
        ([1, 2], [1, 2, 3]),
        ([1], []),
        ([1], 1),
        ({"a": 1}, {}),
        ({"a": 1}, [1]),
        ({"a": 1}, "a"),
        ({"a": {"b": 1}}, {"a": {"b": 2}}),
    ],
)
def test_values_that_differ(expected, actual):
    assert mismatch({"field": expected}, {"field": actual})


def test_fields_beyond_the_expected_ones_do_not_matter():
    assert mismatch({"a": 1}, {"a": 1, "b": 2}) is None
    assert mismatch({}, {"b": 2}) is None


def test_a_field_that_is_expected_to_be_null_may_be_missing():
    assert mismatch({"a": None}, {}) is None
    assert mismatch({"a": {"b": None}}, {"a": {}}) is None
    assert mismatch({"a": {"b": None}}, {"a": {"b": 1}})


@pytest.mark.parametrize("actual", [None, [], "name=Acme", 3])
def test_arguments_that_are_no_object(actual):
    assert mismatch({}, actual) == f"Arguments are no object: {actual!r}"


@pytest.mark.parametrize(
    ("expected", "actual", "reason"),
    [
        ({"name": "Acme"}, {}, "Missing required field: name"),
        ({"a": {"b": 1}}, {"a": {}}, "Missing required field: a.b"),
        ({"name": "Acme"}, {"name": "Beta"}, "Field name: 'Beta' != 'Acme'"),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 3}]}}, "Field a.b[1].c: 3 != 2"),
        ({"ids": [1, 2]}, {"ids": [1]}, "Field ids: 1 entries instead of 2"),
    ],
)
def test_the_reason_names_the_field_and_both_values(expected, actual, reason):
    assert mismatch(expected, actual) == reason


def test_a_reason_stays_readable_whatever_the_value():
    reason = mismatch({"content": "x" * 100_000}, {"content": "y" * 100_000})
    assert reason is not None
    assert len(reason) < 1000
    assert "…" in reason


SEARCHES = [name for name, tool in TOOLS.items() if tool.bag == "criteria"]
MODIFIERS = [name for name, tool in TOOLS.items() if tool.bag == "updates"]


def test_the_searches_are_seven_and_the_modifiers_four():
    # What the parametrized tests below stand on.
    assert len(SEARCHES) == 7
    assert len(MODIFIERS) == 4


@pytest.mark.parametrize("tool", SEARCHES)
def test_criteria_and_flat_arguments_are_the_same(tool):
    flat, bagged = {"owner": "Ann", "name": "A"}, {"criteria": {"owner": "Ann", "name": "A"}}
    mixed = {"owner": "Ann", "criteria": {"name": "A"}}
    for expected in (flat, bagged, mixed):
        for actual in (flat, bagged, mixed):
            assert mismatch(expected, actual, tool) is None
    assert mismatch(bagged, {"owner": "Ann"}, tool) == "Missing required field: name"
    assert mismatch(flat, {"criteria": {"owner": "Bob", "name": "A"}}, tool)


@pytest.mark.parametrize("tool", MODIFIERS)
def test_updates_and_flat_arguments_are_the_same(tool):
    identifier = TOOLS[tool].entity.id_field
    flat = {identifier: ACME, "name": "A"}
    bagged = {identifier: ACME, "updates": {"name": "A"}}
    assert mismatch(flat, bagged, tool) is None
    assert mismatch(bagged, flat, tool) is None
    assert mismatch(flat, {**bagged, identifier: BETA}, tool)
    assert mismatch(flat, {identifier: ACME, "updates": {"name": "B"}}, tool)


def test_where_a_field_is_given_twice_the_argument_wins():
    both = {"quote_id": ACME, "status": "Sent", "updates": {"status": "Draft"}}
    assert mismatch({"quote_id": ACME, "status": "Sent"}, both, "modify_quote") is None
    assert mismatch({"quote_id": ACME, "status": "Draft"}, both, "modify_quote")


def test_criteria_mean_nothing_to_other_tools():
    assert mismatch({"content": "x"}, {"criteria": {"content": "x"}}) == "Missing required field: content"


def test_criteria_that_are_no_object_differ():
    assert mismatch({"name": "A"}, {"criteria": "A"}, "client_search")


def test_document_url_is_another_name_of_file_url():
    for expected, actual in (("file_url", "document_url"), ("document_url", "file_url")):
        assert mismatch({expected: "http://x"}, {actual: "http://x"}, "upload_document") is None
        assert mismatch({expected: "http://x"}, {actual: "http://y"}, "upload_document")
    # A contract has a document_url of its own.
    assert mismatch({"document_url": "http://x"}, {"file_url": "http://x"}, "create_contract")


def test_a_tool_that_nobody_knows_is_compared_all_the_same():
    assert mismatch({"a": 1}, {"a": "1"}, "no_such_tool") is None
    assert mismatch({"a": 1}, {"a": 2}, "no_such_tool")


@pytest.mark.parametrize(
    ("expected", "called", "same"),
    [
        ("client_search", "client_search", True),
        ("view_opportunity_details", "opportunity_details", True),
        ("opportunity_details", "view_opportunity_details", True),
        ("quote_details", "opportunity_details", False),
        ("compare_quotes", "compare_quote_details", False),
        ("client_search", "Client_Search", False),
        ("client_search", "search_clients", False),
        ("search_clients", "search_clients", True),
        ("search_clients", "find_clients", False),
        ("client_search", None, False),
    ],
)
def test_which_names_are_one_tool(expected, called, same):
    assert same_tool(expected, called) is same


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["name", "status", "amount", "criteria", "updates", "document_url", "file_url", "quote_ids", "extra"]
)
ARGUMENTS = st.dictionaries(FIELDS, VALUES, max_size=5)
ANY_TOOL = st.sampled_from([*TOOLS, "no_such_tool"])


@given(tool=ANY_TOOL, arguments=ARGUMENTS)
def test_a_call_always_matches_itself(tool, arguments):
    assert argument_mismatch(tool, arguments, arguments) is None


@given(tool=ANY_TOOL, arguments=ARGUMENTS, more=st.dictionaries(st.text(min_size=13), VALUES, max_size=3))
def test_a_call_always_matches_itself_with_more_fields(tool, arguments, more):
    assert argument_mismatch(tool, arguments, {**more, **arguments}) is None


@given(tool=ANY_TOOL, expected=ARGUMENTS, actual=VALUES)
def test_a_comparison_never_fails_and_its_reason_is_one_line(tool, expected, actual):
    reason = argument_mismatch(tool, expected, actual)
    assert reason is None or (reason and "\n" not in reason)


@given(tool=ANY_TOOL, arguments=ARGUMENTS, name=st.text(min_size=13, max_size=20), value=VALUES)
def test_a_call_that_lacks_a_field_never_matches(tool, arguments, name, value):
    if value is not None:
        assert argument_mismatch(tool, {**arguments, name: value}, arguments)
