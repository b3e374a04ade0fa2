from __future__ import annotations

import json

import pytest

from crm_assets.llm import FunctionCall, Message
from crm_assets.offline_models import OfflineRequest, answer

from .talk import (
    CLIENT,
    CRM_TOOLS,
    DEAL,
    OTHER,
    QUOTE,
    ask_student,
    call_for,
    guidance,
    playbook,
    reply_about,
    turn_of,
)


@pytest.mark.parametrize(
    ("said", "tool", "arguments"),
    [
        ("Delete quote {q}.", "delete_quote", {"quote_id": QUOTE}),
        ('Find the clients with name "Acme".', "client_search", {"name": "Acme"}),
        ("Find contacts with last name Moreau.", "contact_search", {"last_name": "Moreau"}),
        ("Summarize our opportunities.", "summarize_opportunities", {}),
        ("Compare the quotes {q} and {o}.", "compare_quotes", {"quote_ids": [QUOTE, OTHER]}),
        (
            "Update client {c}: status Inactive and phone +1-202-555-0107.",
            "modify_client",
            {"client_id": CLIENT, "status": "Inactive", "phone": "+1-202-555-0107"},
        ),
        (
            "Modify opportunity Big ({d}): amount $15,749.50, probability 80% and close date 2038-07-02.",
            "modify_opportunity",
            {"opportunity_id": DEAL, "amount": 15749.5, "probability": 80, "close_date": "2038-07-02"},
        ),
        (
            'Add a note to client {c}: "Call back, please."',
            "add_note",
            {"entity_type": "Client", "entity_id": CLIENT, "content": "Call back, please."},
        ),
        (
            "Upload plan_v2.pdf to contract {c}, with uploaded by Ruth Okonkwo.",
            "upload_document",
            {
                "entity_type": "Contract",
                "entity_id": CLIENT,
                "file_name": "plan_v2.pdf",
                "uploaded_by": "Ruth Okonkwo",
            },
        ),
        (
            "Create a contact for Mei Castillo under client {c}, with email mei@acme.example.",
            "create_new_contact",
            {
                "first_name": "Mei",
                "last_name": "Castillo",
                "client_id": CLIENT,
                "email": "mei@acme.example",
            },
        ),
        (
            'Create an opportunity called "Big Deal" for client {c}: amount 200,000 USD, stage Proposal.',
            "create_new_opportunity",
            {"name": "Big Deal", "client_id": CLIENT, "amount": 200000, "stage": "Proposal"},
        ),
    ],
)
def test_a_plain_request_becomes_the_call_that_it_asks_for(said, tool, arguments):
    utterance = said.format(c=CLIENT, d=DEAL, q=QUOTE, o=OTHER)
    assert call_for(utterance) == (tool, arguments)


def test_arguments_come_in_the_order_in_which_the_user_gives_them():
    _, arguments = call_for(f"Update opportunity {DEAL}: stage Proposal and amount 5.")
    assert list(arguments) == ["opportunity_id", "stage", "amount"]


def test_what_is_no_argument_of_the_tool_is_not_passed_on():
    _, arguments = call_for(f"Delete quote {QUOTE}, status Draft, amount $5.")
    assert arguments == {"quote_id": QUOTE}


def test_an_id_that_is_not_said_is_the_last_one_that_a_tool_returned():
    row = {"client_id": CLIENT, "name": "Acme", "status": "Active"}
    before = (Message("user", "Find Acme."), *turn_of("client_search", {"name": "Acme"}, [row]))
    tool, arguments = call_for("Update that client: status Inactive.", before=before)
    assert (tool, arguments) == ("modify_client", {"client_id": CLIENT, "status": "Inactive"})


def test_it_reads_the_tools_of_the_request_and_knows_no_others():
    tools = ({"function": {"name": "reboot_server", "description": "Reboot a server.", "parameters": {}}},)
    messages = (Message("user", "Please reboot the server."),)
    assert answer("student", OfflineRequest(messages, tools)).tool_calls[0].name == "reboot_server"
    other = OfflineRequest((Message("user", f"Delete quote {QUOTE}."),), tools)
    assert answer("student", other).tool_calls == ()


def test_it_makes_mistakes():
    """Its opinion is a bag of words; this is a search for it, since both the words are a tool's."""
    assert call_for(f"Which opportunities have client ID {CLIENT}?")[0] == "client_search"
    assert call_for(f"Take quote {QUOTE} out of the CRM for good.")[0] != "delete_quote"


def test_where_nothing_fits_it_asks_instead_of_calling():
    reply = ask_student("Good morning!")
    assert reply.tool_calls == ()
    assert reply.content


def test_a_call_that_is_required_is_made():
    request = OfflineRequest((Message("user", "Good morning!"),), CRM_TOOLS, "required")
    assert len(answer("student", request).tool_calls) == 1


SAID = f"Take quote {QUOTE} out of the CRM for good."


@pytest.mark.parametrize(
    "cue", [r"\btake\b.*\bout\b", "take quote, drop quote", "TAKE QUOTE", "(take.*quote|drop.*quote)"]
)
def test_the_playbook_changes_the_tool_where_its_cue_comes_up(cue):
    system = playbook(f"- When «{cue}»: Delete the record. [tool: delete_quote]")
    assert call_for(SAID, system=system) == ("delete_quote", {"quote_id": QUOTE})


def test_where_its_cue_does_not_come_up_the_playbook_changes_nothing():
    system = playbook("- When «cancel»: Delete the record. [tool: delete_quote]")
    assert call_for(SAID, system=system) == call_for(SAID)


@pytest.mark.parametrize(
    "line", ["Take care.", "- When «(»: x [tool: delete_quote]", "- When «take»: [tool: x]"]
)
def test_lines_that_say_nothing_useful_do_no_harm(line):
    assert call_for(SAID, system=playbook(line)) == call_for(SAID)


def test_a_playbook_outside_of_its_block_is_no_playbook():
    line = "- When «take»: Delete the record. [tool: delete_quote]"
    assert call_for(SAID, system=line) == call_for(SAID)


def test_the_closest_cue_counts_most():
    system = playbook(
        "- When «quote»: Show it. [tool: quote_details]",
        "- When «take.*out»: Delete it. [tool: delete_quote]",
    )
    assert call_for(SAID, system=system)[0] == "delete_quote"


def test_the_playbook_tells_where_a_value_goes():
    said = f'Add a note to client {CLIENT}: "Call." Sign it as Dana Cole.'
    assert "created_by" not in call_for(said)[1]
    system = playbook(
        '- When «sign it as»: Put the name after "sign it as" in created_by. [tool: add_note]'
    )
    tool, arguments = call_for(said, system=system)
    assert (tool, arguments["created_by"]) == ("add_note", "Dana Cole")


def test_guidance_goes_before_the_playbook_and_is_for_its_turn_alone():
    system = playbook("- When «take.*out»: Cancel it. [tool: cancel_quote]")
    both = f"{system}\n{guidance('Turn 2: the user wants to delete quote.')}"
    assert call_for(SAID, system=both)[0] == "cancel_quote"
    before = (Message("user", "Hello."), Message("assistant", "Hello."))
    assert call_for(SAID, system=guidance("Turn 2: the user wants to delete quote."), before=before)[0] == (
        "delete_quote"
    )


def test_guidance_brings_in_what_was_left_out():
    said = (
        "Please register the client Acme, status Active; write to mail@acme.example or info@acme.example."
    )
    system = guidance('Turn 1: the call lacks "info@acme.example", which the user gave.')
    assert "info@acme.example" in json.dumps(call_for(said, system=system))


def test_it_reads_tools_that_stand_in_the_prompt():
    lines = [json.dumps(tool["function"], separators=(",", ":")) for tool in CRM_TOOLS]
    messages = (Message("system", "\n".join(lines)), Message("user", f"Delete quote {QUOTE}."))
    reply = answer("student", OfflineRequest(messages))
    assert json.loads(reply.content or "") == {"tool": "delete_quote", "arguments": {"quote_id": QUOTE}}


ROW = {"opportunity_id": DEAL, "client_id": CLIENT, "name": "Big", "stage": "Proposal", "amount": 1500.5}
PROBABLE = {**ROW, "probability": 80, "amount": 1500}
FOUR = {"quote_id": QUOTE, "name": "Q", "amount": 5, "status": "Draft"}


@pytest.mark.parametrize(
    ("tool", "arguments", "result", "told"),
    [
        (
            "client_search",
            {},
            [{"name": "Acme", "status": "Active"}, {"name": "Beta", "status": "Inactive"}],
            "Found 2 clients: Acme (Active); Beta (Inactive).",
        ),
        ("company_search", {}, [], "No companies match that."),
        ("contact_search", {}, [{"first_name": "Mei", "last_name": "Ito"}], "Found 1 contact: Mei Ito."),
        (
            "contract_search",
            {},
            [{"value": 9, "status": "Active"}, {"value": None, "status": "Expired"}],
            "Found 2 contracts: a contract worth $9 (Active); a contract (Expired).",
        ),
        ("opportunity_search", {}, [ROW], "Found 1 opportunity: Big (Proposal, $1,500.50)."),
        ("quote_prefixes", {}, ["EU", "US"], "Quote prefixes in use: EU, US."),
        ("view_opportunity_details", {}, PROBABLE, "Big: stage Proposal, amount $1,500, probability 80%."),
        ("quote_details", {}, FOUR, "Q: $5, Draft."),
        ("clone_opportunity", {}, {**ROW, "name": "Big (Clone)"}, None),
        (
            "compare_quote_details",
            {},
            {"quotes": [FOUR, FOUR], "total_amount": 10.0},
            "Q: $5, Draft; Q: $5, Draft; total $10.",
        ),
        (
            "modify_opportunity",
            {"opportunity_id": DEAL, "updates": {"probability": 80, "notes": "Soon.", "amount": 1500}},
            PROBABLE,
            "Updated opportunity Big: probability 80%, notes Soon and amount $1,500.",
        ),
        (
            "summarize_opportunities",
            {},
            {"total_count": 1, "total_amount": 7, "by_stage": {"Proposal": 1}, "by_owner": {}},
            "1 opportunity worth $7: 1 in Proposal.",
        ),
        ("cancel_quote", {"quote_id": QUOTE}, FOUR, "Canceled quote Q."),
        ("delete_quote", {"quote_id": QUOTE}, True, "Deleted the quote."),
        ("create_quote", {}, FOUR, "Created quote Q: $5, Draft."),
    ],
)
def test_the_user_is_told_what_the_tool_returned(tool, arguments, result, told):
    assert reply_about(tool, arguments, result) == (
        told or "Created Big (Clone): stage Proposal, amount $1,500.50."
    )


def test_names_come_from_earlier_results_or_from_the_user():
    deleted = ("delete_quote", {"quote_id": QUOTE}, True)
    seen = (Message("user", "Show it."), *turn_of("quote_details", {}, FOUR))
    assert reply_about(*deleted, before=seen) == "Deleted quote Q."
    assert reply_about(*deleted, said=f"Delete quote Offer (A) ({QUOTE}).") == "Deleted quote Offer (A)."


def test_a_refusal_is_told_as_it_is():
    call = FunctionCall("c", "delete_quote", "{}")
    messages = (
        Message("user", "Delete it."),
        Message("assistant", None, (call,)),
        Message("tool", json.dumps({"error": "Quote not found."}), tool_call_id="c"),
    )
    told = answer("student", OfflineRequest(messages, CRM_TOOLS, "none")).content
    assert "Quote not found." in (told or "")


def test_without_tools_it_makes_a_plan_when_asked_for_one():
    messages = (Message("user", "Write a short plan of how you will work."),)
    assert "1." in (answer("student", OfflineRequest(messages)).content or "")
