"""The 28 tools as callers see them: names, arguments, JSON Schema, and how a call's arguments are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crm_assets.crm import TOOLS, Tool, ToolAction, ToolError, find_tool, tool_names
from crm_assets.crm.entities import ENTITIES

SOME_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"

# The specification's table: required arguments, then optional ones.
SIGNATURES: dict[str, tuple[str, str]] = {
    "create_new_client": (
        "name email status",
        "client_id industry phone address owner created_date",
    ),
    "create_new_contact": ("first_name last_name client_id", "contact_id title email phone notes"),
    "create_new_opportunity": (
        "name client_id amount stage",
        "opportunity_id probability close_date owner notes",
    ),
    "create_quote": (
        "opportunity_id amount status",
        "quote_id name version valid_until quote_prefix",
    ),
    "create_contract": (
        "client_id",
        "opportunity_id contract_id status value start_date end_date document_url",
    ),
    "upload_document": (
        "entity_type entity_id file_name",
        "document_id uploaded_by uploaded_at file_url",
    ),
    "add_note": ("entity_type entity_id content", "note_id created_by created_at"),
    "modify_client": ("client_id", "*Client updates"),
    "modify_contact": ("contact_id", "*Contact updates"),
    "modify_opportunity": ("opportunity_id", "*Opportunity updates"),
    "modify_quote": ("quote_id", "*Quote updates"),
    "clone_opportunity": ("opportunity_id", ""),
    "cancel_quote": ("quote_id", ""),
    "delete_opportunity": ("opportunity_id", ""),
    "delete_quote": ("quote_id", ""),
    "view_opportunity_details": ("opportunity_id", ""),
    "opportunity_details": ("opportunity_id", ""),
    "quote_details": ("quote_id", ""),
    "compare_quotes": ("quote_ids", ""),
    "compare_quote_details": ("quote_ids", ""),
    "client_search": ("", "*Client criteria"),
    "contact_search": ("", "*Contact criteria"),
    "opportunity_search": ("", "*Opportunity criteria"),
    "quote_search": ("", "*Quote criteria"),
    "contract_search": ("", "*Contract criteria"),
    "company_search": ("", "*Company criteria"),
    "summarize_opportunities": ("", "*Opportunity criteria"),
    "quote_prefixes": ("", ""),
}

SEARCHES = [name for name, tool in TOOLS.items() if tool.bag == "criteria"]
CHANGES = [name for name, tool in TOOLS.items() if tool.bag == "updates"]
SIMPLE = [name for name, tool in TOOLS.items() if tool.bag is None]

IDS_OF = {name: tool.entity.id_field for name, tool in TOOLS.items()}


def signature(name: str) -> tuple[set[str], set[str]]:
    required, optional = (set(part.split()) for part in SIGNATURES[name])
    for entry in list(optional):
        if entry.startswith("*"):
            optional.remove(entry)
            optional |= set(ENTITIES[entry[1:]].fields) - required
    return required, optional


def message(tool: Tool, arguments: Any) -> str:
    with pytest.raises(ToolError) as caught:
        tool.validate(arguments)
    assert caught.value.kind == "validation"
    return caught.value.message


def test_there_are_exactly_the_28_tools_of_the_specification() -> None:
    assert list(TOOLS) == list(SIGNATURES)
    assert len(TOOLS) == 28
    assert tool_names() == set(SIGNATURES)
    assert all(tool.name == name for name, tool in TOOLS.items())


@pytest.mark.parametrize("name", SIGNATURES)
def test_arguments_and_required_ones_are_the_specification_s(name: str) -> None:
    required, optional = signature(name)
    schema = TOOLS[name].json_schema()
    assert set(schema["properties"]) == required | optional
    assert set(schema["required"]) == required


# ---------------------------------------------------------------- JSON Schema

TYPES = {"object", "array", "string", "number", "integer"}
KEYWORDS = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items"},
    "string": {"format", "enum"},
    "number": {"minimum", "exclusiveMinimum", "maximum"},
    "integer": {"minimum", "maximum"},
}
FORMATS = {"uuid", "email", "date", "date-time"}


def check_schema(schema: Any, path: str) -> None:
    """The rules of JSON Schema for the keywords in use, and no other keyword."""
    assert isinstance(schema, dict), path
    kind = schema["type"]
    assert kind in TYPES, path
    assert set(schema) <= KEYWORDS[kind] | {"type", "description"}, path
    assert isinstance(schema.get("description", ""), str)
    if kind == "object":
        assert schema["additionalProperties"] is False, path
        required = schema.get("required", [])
        assert len(set(required)) == len(required), path
        assert set(required) <= set(schema["properties"]), path
        for name, inner in schema["properties"].items():
            check_schema(inner, f"{path}.{name}")
    elif kind == "array":
        check_schema(schema["items"], f"{path}[]")
    elif kind == "string":
        assert schema.get("format", "uuid") in FORMATS, path
        values = schema.get("enum", ["x"])
        assert values, path
        assert len(set(values)) == len(values), path
    for bound in ("minimum", "exclusiveMinimum", "maximum"):
        assert isinstance(schema.get(bound, 0), (int, float)), path


@pytest.mark.parametrize("name", SIGNATURES)
def test_json_schema_is_valid_and_survives_json(name: str) -> None:
    schema = TOOLS[name].json_schema()
    check_schema(schema, name)
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema
    try:
        from jsonschema import Draft202012Validator
    except ImportError:
        return  # the rules above are those of the standard
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", SIGNATURES)
def test_every_argument_and_tool_says_what_it_is(name: str) -> None:
    tool = TOOLS[name]
    assert tool.description.endswith(".")
    for argument, schema in tool.json_schema()["properties"].items():
        assert schema.get("description"), argument


def test_a_call_s_second_spelling_has_the_same_fields() -> None:
    for name in SEARCHES:
        schema = TOOLS[name].json_schema()["properties"]
        assert set(schema["criteria"]["properties"]) == set(TOOLS[name].entity.fields)
    for name in CHANGES:
        schema = TOOLS[name].json_schema()["properties"]
        assert set(schema["updates"]["properties"]) == set(TOOLS[name].entity.fields) - {IDS_OF[name]}


def test_what_is_searched_for_by_a_part_need_not_look_whole() -> None:
    client = TOOLS["client_search"].json_schema()["properties"]
    assert "format" not in client["email"]
    assert "format" not in client["criteria"]["properties"]["email"]
    assert TOOLS["modify_client"].json_schema()["properties"]["email"]["format"] == "email"
    company = TOOLS["company_search"].json_schema()["properties"]
    assert company["contacts"]["type"] == "string"
    assert company["criteria"]["properties"]["contacts"]["type"] == "string"
    # …and what the schema says is what the tool takes.
    assert TOOLS["company_search"].validate({"contacts": "Jo"}).given() == {"contacts": "Jo"}


def test_enums_and_bounds_reach_the_schema() -> None:
    schema = TOOLS["create_new_opportunity"].json_schema()["properties"]
    assert schema["stage"]["enum"] == [
        "Prospecting",
        "Qualification",
        "Proposal",
        "Negotiation",
        "Closed-Won",
        "Closed-Lost",
    ]
    assert (schema["probability"]["minimum"], schema["probability"]["maximum"]) == (1, 99)
    assert (schema["amount"]["exclusiveMinimum"], schema["amount"]["maximum"]) == (0, 10_000_000)
    enums = {
        ("create_new_client", "status"): ["Active", "Prospect", "Inactive"],
        ("create_quote", "status"): ["Draft", "Sent", "Approved", "Rejected", "Canceled"],
        ("create_contract", "status"): ["Active", "Pending", "Expired"],
        ("upload_document", "entity_type"): ["Opportunity", "Contract", "Quote", "Client"],
        ("add_note", "entity_type"): ["Opportunity", "Client", "Contact", "Quote", "Contract"],
        ("company_search", "type"): ["Partner", "Vendor", "Competitor"],
    }
    for (tool, argument), values in enums.items():
        assert TOOLS[tool].json_schema()["properties"][argument]["enum"] == values


# ------------------------------------------------------------------ arguments


def test_document_url_is_another_name_of_file_url() -> None:
    tool = TOOLS["upload_document"]
    given = {"entity_type": "Quote", "entity_id": SOME_ID, "file_name": "a.pdf"}
    assert tool.canonical({**given, "document_url": "u"}) == {**given, "file_url": "u"}
    assert tool.validate({**given, "document_url": "u"}).given()["file_url"] == "u"
    both = {**given, "document_url": "alias", "file_url": "own"}
    assert tool.canonical(both)["file_url"] == "own"
    # Null is not given, whichever of the names has it.
    assert tool.canonical({**given, "document_url": "u", "file_url": None})["file_url"] == "u"
    assert tool.canonical({**given, "document_url": None, "file_url": "u"})["file_url"] == "u"
    assert tool.canonical({**given, "document_url": None}) == given


def test_the_contract_s_document_url_is_its_own() -> None:
    tool = TOOLS["create_contract"]
    given = {"client_id": SOME_ID, "document_url": "u"}
    assert tool.canonical(given) == given


@pytest.mark.parametrize("name", SEARCHES)
def test_criteria_and_flat_arguments_are_one_call(name: str) -> None:
    tool = TOOLS[name]
    flat = {tool.entity.id_field: SOME_ID}
    assert tool.canonical({"criteria": flat}) == tool.canonical(flat) == flat
    assert tool.validate({"criteria": flat}) == tool.validate(flat)
    other = SOME_ID[:-1] + "0"
    merged = tool.canonical({"criteria": {tool.entity.id_field: other}, **flat})
    assert merged == flat, "arguments win over criteria"
    assert tool.canonical({"criteria": flat, tool.entity.id_field: None}) == flat
    assert tool.canonical({"criteria": None}) == tool.canonical({"criteria": {}}) == {}


@pytest.mark.parametrize("name", CHANGES)
def test_updates_and_flat_arguments_are_one_call(name: str) -> None:
    tool = TOOLS[name]
    text = "notes" if "notes" in tool.entity.fields else "name"
    target = {tool.entity.id_field: SOME_ID}
    flat = {**target, text: "x"}
    assert tool.canonical({**target, "updates": {text: "x"}}) == tool.canonical(flat) == flat
    assert tool.validate({**target, "updates": {text: "x"}}) == tool.validate(flat)
    assert tool.canonical({**flat, "updates": {text: "y"}}) == flat, "arguments win over updates"
    assert tool.canonical({"updates": flat}) == flat
    assert tool.canonical({**target, "updates": {}}) == target


@pytest.mark.parametrize("name", SIMPLE)
def test_null_is_not_given(name: str) -> None:
    required, optional = signature(name)
    tool = TOOLS[name]
    assert tool.canonical(dict.fromkeys(required | optional)) == {}
    if required:
        first = next(iter(tool.arguments.model_fields))
        assert message(tool, dict.fromkeys(required)) == f"Tool '{name}' needs the argument '{first}'."


def test_null_inside_updates_clears_and_null_as_an_argument_does_not() -> None:
    tool = TOOLS["modify_client"]
    assert tool.validate({"client_id": SOME_ID, "updates": {"phone": None}}).given()["cleared"] == (
        "phone",
    )
    assert tool.validate({"client_id": SOME_ID, "phone": None}).given()["cleared"] == ()
    both = {"client_id": SOME_ID, "phone": "1", "updates": {"phone": None}}
    assert tool.validate(both).given()["cleared"] == ()
    assert tool.validate(both).given()["phone"] == "1"


@pytest.mark.parametrize("name", SIGNATURES)
@pytest.mark.parametrize("argument", ["kwargs", "note", "self", "cleared", "model_config", "a\ud800b"])
def test_an_argument_the_tool_does_not_know_is_named(name: str, argument: str) -> None:
    tool = TOOLS[name]
    if tool.action is ToolAction.MODIFY:
        valid: dict[str, Any] = {tool.entity.id_field: SOME_ID}
    else:
        valid = {key: _valid(key, tool) for key in signature(name)[0]}
    for value in ({"a": 1}, None):
        text = message(tool, {**valid, argument: value})
        assert f"'{argument.encode(errors='replace').decode()}'" in text
        assert text.endswith(".")
        text.encode()  # it can be written to a file


def _valid(argument: str, tool: Tool) -> Any:
    values = {
        "amount": 5,
        "status": "Active" if tool.entity.name == "Client" else "Draft",
        "stage": "Proposal",
        "entity_type": "Quote",
        "file_name": "a.pdf",
        "email": "a@b.example",
        "quote_ids": [SOME_ID],
    }
    return SOME_ID if argument.endswith("_id") else values.get(argument, "x")


def test_the_sentences_for_unknown_fields() -> None:
    change, search = TOOLS["modify_opportunity"], TOOLS["client_search"]
    expected = "Opportunity has no field named 'note'."
    assert message(change, {"opportunity_id": SOME_ID, "updates": {"note": "x"}}) == expected
    assert message(change, {"opportunity_id": SOME_ID, "updates": {"note": None}}) == expected
    assert message(change, {"opportunity_id": SOME_ID, "note": "x"}) == expected
    assert message(search, {"criteria": {"note": "x"}}) == "Client has no field named 'note'."
    assert message(search, {"note": "x"}) == "Tool 'client_search' has no argument named 'note'."
    assert message(TOOLS["quote_prefixes"], {"x": 1}) == "Tool 'quote_prefixes' has no argument named 'x'."
    assert message(TOOLS["quote_prefixes"], {"y" * 99: 1}).endswith(f"named '{'y' * 80}…'.")


@pytest.mark.parametrize("bag", [5, "x", ["stage"], True, 0, "", [], False])
def test_updates_and_criteria_must_be_objects(bag: Any) -> None:
    assert (
        message(TOOLS["opportunity_search"], {"criteria": bag})
        == "Tool 'opportunity_search' needs 'criteria' as an object."
    )
    assert (
        message(TOOLS["modify_quote"], {"quote_id": SOME_ID, "updates": bag})
        == "Tool 'modify_quote' needs 'updates' as an object."
    )


def test_a_missing_argument_comes_before_a_wrong_one_in_the_order_of_declaration() -> None:
    tool = TOOLS["create_new_client"]
    assert message(tool, {}) == "Tool 'create_new_client' needs the argument 'name'."
    assert (
        message(tool, {"name": "A", "status": "x"})
        == "Tool 'create_new_client' needs the argument 'email'."
    )
    assert (
        message(tool, {"x": 1, "name": "A", "email": "a@b.example", "status": "active"})
        == "Client status must be one of: Active, Prospect, Inactive."
    )


def test_an_id_that_is_no_uuid_is_not_found_rather_than_invalid() -> None:
    with pytest.raises(ToolError) as caught:
        TOOLS["quote_details"].validate({"quote_id": "Q-1"})
    assert (caught.value.kind, caught.value.message) == ("not_found", "Quote not found with ID 'Q-1'.")
    with pytest.raises(ToolError) as caught:
        TOOLS["compare_quotes"].validate({"quote_ids": [SOME_ID, "Q-1"]})
    assert (caught.value.kind, caught.value.message) == ("not_found", "Quote not found with ID 'Q-1'.")
    assert message(TOOLS["compare_quotes"], {"quote_ids": SOME_ID}) == "Quote IDs must be a list."


def test_an_unknown_tool() -> None:
    assert find_tool("client_search") is TOOLS["client_search"]
    for name in ("", "Client_Search", "drop_tables"):
        with pytest.raises(ToolError) as caught:
            find_tool(name)
        assert caught.value.kind == "unknown_tool"
        assert caught.value.message == f"There is no tool named '{name}'."


def test_two_names_of_one_tool() -> None:
    assert TOOLS["opportunity_details"].same_as == "view_opportunity_details"
    assert all(tool.same_as == name for name, tool in TOOLS.items() if name != "opportunity_details")


def test_which_tools_write() -> None:
    reading = {
        *(name for name in TOOLS if name.endswith(("_search", "_details"))),
        "compare_quotes",
        "summarize_opportunities",
        "quote_prefixes",
    }
    assert {name for name, tool in TOOLS.items() if not tool.action.writes} == reading
