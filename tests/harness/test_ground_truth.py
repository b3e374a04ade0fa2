from __future__ import annotations

from datetime import date, timedelta

import psycopg
import pytest

from crm_assets.crm import SandboxPool, SeedError
from crm_assets.errors import InfrastructureError
from crm_assets.harness import GroundTruth, GroundTruthStore, ground_truth
from crm_assets.harness.ground_truth import ground_truth_key, replay_finding

from .build import ACME, BETA, DEAL, NEW_CLIENT, UNKNOWN, Harness, conversation, refused, turn

SEARCH = turn("client_search", {"name": "Acme"})
BY_NAME = {"name": "{{turn_1.name}}"}


@pytest.fixture
def store(sandbox_conninfo: str):
    """A store whose count starts at none."""
    with SandboxPool(sandbox_conninfo) as pool:
        fresh = GroundTruthStore(sandbox_conninfo, pool)
        yield fresh
        fresh.close()


def test_a_good_conversation_has_no_problems(harness: Harness):
    truth = harness.truth(
        conversation(
            turn("create_new_client", NEW_CLIENT),
            turn("create_new_opportunity", {"name": "New", "client_id": "{{turn_1.client_id}}",
                 "amount": 5, "stage": "Proposal"}),
            refused("delete_quote", {"quote_id": UNKNOWN}),
        )
    )  # fmt: skip
    assert truth.problems == ()
    assert sorted(row["name"] for row in truth.end_state["opportunities"]) == ["Deal", "New"]
    new = next(row for row in truth.end_state["opportunities"] if row["name"] == "New")
    client = next(row for row in truth.end_state["clients"] if row["name"] == "Gamma")
    assert new["client_id"] == client["client_id"]
    assert client["client_id"].startswith("new Client")


def test_outputs_hold_the_fields_that_are_referred_to_and_no_others(harness: Harness):
    truth = harness.truth(
        conversation(
            turn("create_new_client", NEW_CLIENT),
            turn("client_search", BY_NAME),
            turn("client_search", {}, user_utterance="Who is {{turn_1.owner}} of {{turn_2.status}}?"),
            turn("delete_opportunity", {"opportunity_id": DEAL}),
            turn("client_search", {}, user_utterance="So {{turn_4.value}}?"),
        )
    )
    assert truth.outputs == {
        1: {"name": "Gamma", "owner": None},
        2: {"status": "Active"},
        4: {"value": True},
    }


def test_a_turn_that_fails_though_it_should_not_is_a_problem(harness: Harness):
    truth = harness.truth(
        conversation(
            turn("quote_details", {"quote_id": UNKNOWN}),
            turn("client_search", {"name": "Acme"}),
        )
    )
    assert truth.problems == ((1, f"Quote not found with ID '{UNKNOWN}'."),)


def test_a_turn_that_succeeds_though_it_should_not_is_a_problem(harness: Harness):
    truth = harness.truth(conversation(refused("client_search", {"name": "Acme"})))
    assert truth.problems == ((1, "Succeeded, though it is expected to fail."),)


def test_another_error_than_the_expected_one_is_a_problem(harness: Harness):
    truth = harness.truth(
        conversation(refused("delete_quote", {"quote_id": UNKNOWN}, "must be greater than zero"))
    )
    [(number, reason)] = truth.problems
    assert number == 1
    assert "Quote not found" in reason
    assert "must be greater than zero" in reason


def test_a_reference_to_a_turn_that_failed_is_a_problem_of_its_turn(harness: Harness):
    truth = harness.truth(
        conversation(
            refused("create_new_client", {**NEW_CLIENT, "status": "Nope"}),
            turn("client_search", {"client_id": "{{turn_1.client_id}}"}),
        )
    )
    [(number, reason)] = truth.problems
    assert number == 2
    assert "{{turn_1.client_id}}" in reason


def test_a_reference_to_a_field_that_is_not_there_is_a_problem(harness: Harness):
    truth = harness.truth(
        conversation(
            turn("client_search", {"name": "Acme"}), turn("client_search", {"name": "{{turn_1.x}}"})
        )
    )
    assert [number for number, _ in truth.problems] == [2]


@pytest.mark.parametrize(
    "expected",
    [None, "", "Validation error", "validation ERROR", "Opportunity stage", "must be one OF", "Proposal"],
)
def test_an_expected_error_is_named_by_any_part_of_it_or_as_a_refusal(harness: Harness, expected):
    arguments = {"name": "x", "client_id": ACME, "amount": 5, "stage": "Nope"}
    assert (
        harness.truth(conversation(refused("create_new_opportunity", arguments, expected))).problems == ()
    )


@pytest.mark.parametrize("expected", ["not found", "Database error", "Quote"])
def test_an_error_by_another_name_is_not_the_expected_one(harness: Harness, expected):
    arguments = {"name": "x", "client_id": ACME, "amount": 5, "stage": "Nope"}
    assert harness.truth(conversation(refused("create_new_opportunity", arguments, expected))).problems


def test_a_ground_truth_is_computed_once_and_is_the_same_when_read_back(store: GroundTruthStore):
    one = conversation(
        turn("create_new_client", NEW_CLIENT),
        turn("add_note", {"entity_type": "Client", "entity_id": "{{turn_1.client_id}}", "content": "x"}),
        refused("client_search", {}),
        conversation_id="cached-once",
    )
    _forget(store)
    [computed] = store.get_many([one])
    assert store.computed == 1
    [cached] = store.get_many([one])
    assert store.computed == 1
    assert cached == computed
    assert isinstance(cached, GroundTruth)
    assert cached.problems
    assert set(cached.outputs) == {1}


def test_what_is_new_in_a_batch_is_computed_and_the_order_kept(store: GroundTruthStore):
    batch = [
        conversation(turn("client_search", {"name": name}), refused("client_search", {}),
                     conversation_id=f"batch-{name}")
        for name in ("Acme", "Beta", "Gamma")
    ]  # fmt: skip
    _forget(store)
    store.get_many([batch[1]])
    truths = store.get_many(batch)
    assert store.computed == 3
    assert truths == [store.get_many([one])[0] for one in batch]


def _forget(store: GroundTruthStore) -> None:
    store._connection.execute("DELETE FROM ground_truth.end_states")


@pytest.mark.parametrize(
    "changed",
    [
        {"turns": (turn("client_search", {"name": "Beta"}),)},
        {"turns": (turn("contact_search", {"name": "Acme"}),)},
        {"turns": (turn("client_search", {"name": "Acme"}, expect_success=False),)},
        {"seeds": {"Client": {ACME: {"name": "Acme", "owner": "Ann"}}}},
        {"seeds": {"Client": {BETA: {"name": "Acme"}}}},
        {"conversation_id": "c-2"},
    ],
)
def test_another_conversation_has_another_key(changed):
    def make(turns=(SEARCH,), **fields):
        return conversation(*turns, **fields)

    assert ground_truth_key(make()) == ground_truth_key(make())
    assert ground_truth_key(make(**changed)) != ground_truth_key(make())


def test_another_code_has_another_key(monkeypatch: pytest.MonkeyPatch):
    before = ground_truth_key(one := conversation(turn("client_search")))
    monkeypatch.setattr(ground_truth, "code_fingerprint", lambda: "another")
    assert ground_truth_key(one) != before


def test_where_close_dates_are_given_every_day_has_its_key(monkeypatch: pytest.MonkeyPatch):
    dated = conversation(
        turn("modify_opportunity", {"opportunity_id": DEAL, "updates": {"close_date": "2099-01-01"}})
    )
    undated = conversation(turn("client_search"))
    today = [ground_truth_key(dated), ground_truth_key(undated)]
    monkeypatch.setattr(ground_truth, "_today", lambda: date.today() + timedelta(days=1))
    tomorrow = [ground_truth_key(dated), ground_truth_key(undated)]
    assert today[0] != tomorrow[0]
    assert today[1] == tomorrow[1]


def test_seeds_that_cannot_be_made_valid_are_told_for_their_conversation_alone(store: GroundTruthStore):
    bad = conversation(turn("client_search"), seeds={"Client": {"nope": {"name": "x"}}})
    good = conversation(turn("client_search"))
    first, second, third = store.get_many([good, bad, good])
    assert isinstance(second, SeedError)
    assert isinstance(first, GroundTruth)
    assert first == third


def test_nothing_is_kept_of_what_could_not_be_computed(store: GroundTruthStore):
    bad = conversation(turn("client_search"), seeds={"Client": {"nope": {"name": "x"}}})
    store.get_many([bad])
    store.get_many([bad])
    assert store.computed == 2


def test_a_store_whose_database_is_gone_says_so(store: GroundTruthStore, sandbox_conninfo: str):
    with psycopg.connect(sandbox_conninfo, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", (store._connection.info.backend_pid,))
    with pytest.raises(InfrastructureError, match=r"^The store of ground truths failed \(.*doctor`\.$"):
        store.get_many([conversation(turn("client_search"))])


def test_two_runs_of_a_ground_truth_lead_to_the_same_state(harness: Harness):
    """Rows that were made and are gone, and what is still said about them, included."""
    one = conversation(
        turn("create_quote", {"opportunity_id": DEAL, "amount": 5, "status": "Draft"}),
        turn("add_note", {"entity_type": "Quote", "entity_id": "{{turn_1.quote_id}}", "content": "x"}),
        turn(
            "add_note", {"entity_type": "Client", "entity_id": ACME, "content": "Was {{turn_1.quote_id}}."}
        ),
        turn("delete_quote", {"quote_id": "{{turn_1.quote_id}}"}),
    )
    truth = harness.truth(one)
    assert truth.problems == ()
    assert "quotes" not in truth.end_state
    assert [row["entity_type"] for row in truth.end_state["notes"]].count("Quote") == 1
    with_other_ids = harness.truth(one.model_copy(update={"conversation_id": "another"}))
    assert with_other_ids.end_state == truth.end_state


def test_the_finding_of_an_audit_is_the_first_problem(harness: Harness):
    bad = conversation(refused("client_search", {}), turn("quote_details", {"quote_id": UNKNOWN}))
    finding = replay_finding(bad, harness.truth(bad))
    assert finding is not None
    assert (finding.conversation_id, finding.turn_id) == ("c-1", 1)
    error = SeedError("Nothing to start from.")
    of_seeds = replay_finding(bad, error)
    assert of_seeds is not None
    assert (of_seeds.turn_id, of_seeds.reason) == (None, "Nothing to start from.")
    good = conversation(turn("client_search"))
    assert replay_finding(good, harness.truth(good)) is None
