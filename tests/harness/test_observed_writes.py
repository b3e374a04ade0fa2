"""What calls left in the tables, seen before the conversation was rolled back."""

from __future__ import annotations

from crm_assets.harness import AgentSpec, make_agent
from crm_assets.harness.observed_writes import observed_writes
from crm_assets.records import ConversationResult

from .build import ACME, DEAL, NEW_CLIENT, UNKNOWN, Document, Harness, conversation, turn


def replay(harness: Harness, *turns: Document) -> ConversationResult:
    return harness.run(conversation(*turns), make_agent(AgentSpec("replay")))


def test_every_change_of_a_replay_is_seen_and_the_sandbox_comes_back(harness: Harness) -> None:
    result = replay(
        harness,
        turn("create_new_client", NEW_CLIENT),
        turn("modify_opportunity", {"opportunity_id": DEAL, "updates": {"stage": "Negotiation"}}),
        turn("add_note", {"entity_type": "Client", "entity_id": ACME, "content": "Hello"}),
        turn("clone_opportunity", {"opportunity_id": DEAL}),
        turn("client_search", {"name": "Acme"}),
    )
    assert result.metadata["sandbox"] == {"writes": 4, "seen": 4, "restored": True}


def test_a_call_that_was_refused_or_only_read_changed_nothing(harness: Harness) -> None:
    result = replay(
        harness,
        turn("quote_details", {"quote_id": UNKNOWN}, expect_success=False),
        turn("client_search", {"name": "Acme"}),
    )
    assert result.metadata["sandbox"] == {"writes": 0, "seen": 0, "restored": True}


def test_only_the_last_call_on_an_entity_counts(harness: Harness) -> None:
    result = replay(
        harness,
        turn("modify_opportunity", {"opportunity_id": DEAL, "updates": {"stage": "Negotiation"}}),
        turn("modify_opportunity", {"opportunity_id": DEAL, "updates": {"stage": "Proposal"}}),
        turn("create_quote", {"opportunity_id": DEAL, "amount": 10, "status": "Draft"}),
        turn("delete_opportunity", {"opportunity_id": DEAL}),
    )
    assert result.metadata["sandbox"] == {"writes": 2, "seen": 2, "restored": True}


def test_a_row_that_is_not_as_the_call_left_it_is_not_seen(harness: Harness) -> None:
    result = replay(harness, turn("create_new_client", NEW_CLIENT))
    (made,) = result.per_turn_results
    row = dict(made.result)
    assert observed_writes([made], {"clients": [row]}) == (1, 1)
    assert observed_writes([made], {"clients": [{**row, "name": "Other"}]}) == (1, 0)
    assert observed_writes([made], {}) == (1, 0)


def test_a_row_that_was_to_be_deleted_and_is_there_is_told(harness: Harness) -> None:
    result = replay(harness, turn("delete_opportunity", {"opportunity_id": DEAL}))
    rows = {"opportunities": [{"opportunity_id": DEAL, "name": "Deal"}]}
    assert observed_writes(result.per_turn_results, rows) == (1, 0)
    assert observed_writes(result.per_turn_results, {}) == (1, 1)
