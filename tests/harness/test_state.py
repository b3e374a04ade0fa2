from __future__ import annotations

import itertools
import random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crm_assets.crm import ENTITIES, Rows
from crm_assets.harness import canonical_state, state_difference
from crm_assets.harness.state import created_rows

from .build import ACME, BETA, DEAL

CLIENT, OPPORTUNITY, QUOTE = (ENTITIES[name] for name in ("Client", "Opportunity", "Quote"))

Row = dict[str, Any]


def new_id(number: int) -> str:
    """The ID of a row that is no seed."""
    return str(UUID(int=number, version=4))


def client(identifier: str, name: str = "Acme", **fields: Any) -> Row:
    return {"client_id": identifier, "name": name, "created_date": None, **fields}


def opportunity(identifier: str, of: str, name: str = "Deal", **fields: Any) -> Row:
    return {"opportunity_id": identifier, "client_id": of, "name": name, "amount": 100, **fields}


def quote(identifier: str, of: str, name: str = "Quote", **fields: Any) -> Row:
    return {"quote_id": identifier, "opportunity_id": of, "name": name, **fields}


def note(identifier: str, of: str, content: str = "Call", kind: str = "Quote", **fields: Any) -> Row:
    return {"note_id": identifier, "entity_type": kind, "entity_id": of, "content": content, **fields}


def rows(**tables: list[Row]) -> Rows:
    return {table: entries for table, entries in tables.items() if entries}


def same(one: Rows, other: Rows, seeds: tuple[str, ...] = (ACME, BETA, DEAL)) -> bool:
    left, right = canonical_state(one, seeds), canonical_state(other, seeds)
    assert (left == right) == (state_difference(left, right) == {})
    return left == right


def chain(first: int, *, name: str = "Acme", content: str = "Call") -> Rows:
    """A new client, its opportunity, its quote and the quote's note, with IDs from `first` on."""
    one, two, three, four = (new_id(first + step) for step in range(4))
    return rows(
        clients=[client(one, name)],
        opportunities=[opportunity(two, one)],
        quotes=[quote(three, two)],
        notes=[note(four, three, content)],
    )


def joined(*states: Rows) -> Rows:
    return {table: [row for state in states for row in state.get(table, [])] for table in ("clients",
            "opportunities", "quotes", "notes")}  # fmt: skip


def test_new_ids_do_not_matter_along_a_chain():
    assert same(chain(1), chain(1000))


def test_what_a_row_points_to_counts_at_every_distance():
    changed = chain(1000, name="Other")
    left, right = canonical_state(chain(1), ()), canonical_state(changed, ())
    # Only the client was changed; the note hangs three pointers below it.
    assert left["notes"] != right["notes"]
    assert not same(chain(1), changed)


def test_chains_are_not_mixed_up():
    straight = joined(chain(1, name="A", content="a"), chain(100, name="B", content="b"))
    crossed = joined(chain(1, name="A", content="b"), chain(100, name="B", content="a"))
    assert not same(straight, crossed)
    assert same(straight, joined(chain(300, name="B", content="b"), chain(200, name="A", content="a")))


def test_an_id_that_the_caller_chose_is_like_a_generated_one():
    chosen = rows(clients=[client("aaaaaaaa-0000-4000-8000-000000000000")])
    assert same(chosen, rows(clients=[client(new_id(7))]))


def test_seed_rows_go_by_their_id():
    assert same(rows(clients=[client(ACME)]), rows(clients=[client(ACME)]))
    assert not same(rows(clients=[client(ACME)]), rows(clients=[client(BETA)]))
    assert not same(rows(clients=[client(ACME)]), rows(clients=[client(new_id(1))]))


def test_a_pointer_to_a_seed_row_goes_by_its_id():
    def deal(of: str) -> Rows:
        return rows(clients=[client(ACME), client(BETA)], opportunities=[opportunity(new_id(1), of)])

    assert same(deal(ACME), deal(ACME))
    assert not same(deal(ACME), deal(BETA))


@pytest.mark.parametrize(
    ("table", "entity"), [(entity.table, entity) for entity in ENTITIES.values() if entity.times]
)
def test_times_are_ignored_for_seeds_and_new_rows(table, entity):
    for identifier in (ACME, new_id(1)):
        row = dict.fromkeys(entity.fields, "x") | {entity.id_field: identifier}
        row |= dict.fromkeys(entity.pointers)
        for time in entity.times:
            assert same({table: [row]}, {table: [{**row, time: "2031-01-01T00:00:00+00:00"}]})


def test_the_crm_has_times_to_ignore():
    assert {entity.name: set(entity.times) for entity in ENTITIES.values() if entity.times} == {
        "Client": {"created_date"},
        "Opportunity": {"created_at"},
        "Quote": {"created_date"},
        "Document": {"uploaded_at"},
        "Note": {"created_at"},
    }


def test_dates_are_no_times():
    def deal(day: str) -> Rows:
        return rows(opportunities=[opportunity(DEAL, ACME, close_date=day)])

    assert not same(deal("2031-01-01"), deal("2031-01-02"))


@pytest.mark.parametrize("spelled", [str, str.upper])
def test_text_that_mentions_a_new_id_goes_by_the_row(spelled):
    def state(first: int, name: str = "Acme") -> Rows:
        text = f"See {spelled(new_id(first))}."
        return rows(clients=[client(new_id(first), name)], notes=[note(new_id(first + 1), ACME, text)])

    assert same(state(1), state(500))
    assert not same(state(1), state(500, "Other"))


def test_text_that_mentions_an_id_of_no_row_stays_as_it_is():
    assert not same(
        rows(notes=[note(new_id(1), ACME, f"See {new_id(90)}.")]),
        rows(notes=[note(new_id(1), ACME, f"See {new_id(91)}.")]),
    )


def test_lists_that_mention_a_new_id_go_by_the_row():
    def state(first: int, name: str = "Acme") -> Rows:
        company = {"company_id": DEAL, "name": "C", "contacts": ["Bob", f"client {new_id(first)}"]}
        return rows(clients=[client(new_id(first), name)], companies=[company])

    assert same(state(1), state(500))
    assert not same(state(1), state(500, "Other"))


def test_duplicates_are_counted():
    one, two, three = (rows(clients=[client(new_id(n)) for n in range(1, k + 1)]) for k in (1, 2, 3))
    assert same(two, rows(clients=[client(new_id(8)), client(new_id(9))]))
    assert not same(one, two)
    difference = state_difference(canonical_state(one, ()), canonical_state(three, ()))
    assert [len(difference["clients"][kind]) for kind in ("missing", "unexpected", "changed")] == [0, 2, 0]


def test_twins_whose_children_hang_differently_are_told_apart():
    def state(*parents: int) -> Rows:
        return rows(
            opportunities=[opportunity(new_id(1), ACME), opportunity(new_id(2), ACME)],
            quotes=[quote(new_id(10 + n), new_id(parent)) for n, parent in enumerate(parents)],
        )

    assert same(state(1, 2), state(2, 1))
    assert same(state(1, 1), state(2, 2))
    assert not same(state(1, 1), state(1, 2))


def test_twins_are_told_apart_by_what_hangs_two_levels_below():
    """Two equal clients with two equal opportunities each; whose quotes are X and whose are Y?"""

    def state(*names: str) -> Rows:
        return rows(
            clients=[client(new_id(1)), client(new_id(2))],
            opportunities=[opportunity(new_id(10 + n), new_id(1 + n // 2)) for n in range(4)],
            quotes=[quote(new_id(20 + n), new_id(10 + n), name) for n, name in enumerate(names)],
        )

    assert same(state("X", "X", "Y", "Y"), state("Y", "Y", "X", "X"))
    assert same(state("X", "Y", "X", "Y"), state("Y", "X", "X", "Y"))
    assert not same(state("X", "X", "Y", "Y"), state("X", "Y", "X", "Y"))


def test_what_is_about_a_row_that_is_gone_still_goes_by_the_row():
    def state(*about: int) -> Rows:
        return rows(notes=[note(new_id(100 + n), new_id(of), f"{n}") for n, of in enumerate(about)])

    def canonical(*about: int) -> dict[str, list[Row]]:
        return canonical_state(state(*about), (ACME,), {new_id(of): QUOTE for of in about})

    assert canonical(1) == canonical(2)
    assert canonical(1, 1) == canonical(2, 2)
    assert canonical(1, 2) == canonical(2, 1)
    assert canonical(1, 1) != canonical(1, 2)
    # Without knowing that the rows were new, the IDs are what they are.
    assert canonical_state(state(1), (ACME,)) != canonical_state(state(2), (ACME,))


def test_a_seed_row_that_was_made_again_goes_by_its_id():
    state = rows(notes=[note(new_id(1), ACME, kind="Client")])
    assert canonical_state(state, (ACME,), {ACME: CLIENT}) == canonical_state(state, (ACME,))


def test_the_new_rows_of_calls_are_known_by_their_results():
    calls: list[tuple[str | None, Any]] = [
        ("create_quote", {"quote_id": new_id(1), "opportunity_id": DEAL}),
        ("clone_opportunity", {"opportunity_id": new_id(2), "client_id": ACME}),
        ("quote_details", {"quote_id": new_id(3)}),
        ("modify_client", {"client_id": ACME}),
        ("create_new_client", None),
        ("create_new_client", {"name": "x"}),
        ("no_such_tool", {"client_id": ACME}),
        (None, None),
    ]
    assert created_rows(calls) == {new_id(1): QUOTE, new_id(2): OPPORTUNITY}


def test_equal_states_have_no_difference():
    state = canonical_state(chain(1), ())
    assert state_difference(state, canonical_state(chain(50), ())) == {}
    assert state_difference({}, {}) == {}


def test_a_difference_tells_missing_unexpected_and_changed_rows_by_table():
    expected = rows(
        clients=[client(ACME, owner="Ann", phone="1"), client(BETA)],
        notes=[note(new_id(1), ACME, "Call"), note(new_id(2), ACME, "Write"), note(new_id(3), ACME, "Go")],
    )
    actual = rows(
        clients=[client(ACME, owner="Bob", phone="1")],
        quotes=[quote(new_id(5), DEAL)],
        notes=[note(new_id(4), ACME, "Call")],
    )
    difference = state_difference(
        canonical_state(expected, (ACME, BETA, DEAL)), canonical_state(actual, (ACME, BETA, DEAL))
    )
    assert set(difference) == {"clients", "quotes", "notes"}
    assert difference["clients"]["changed"] == [
        {"id": ACME, "fields": {"owner": {"expected": "Ann", "actual": "Bob"}}}
    ]
    assert [row["client_id"] for row in difference["clients"]["missing"]] == [BETA]
    assert difference["clients"]["unexpected"] == []
    assert [row["name"] for row in difference["quotes"]["unexpected"]] == ["Quote"]
    assert sorted(row["content"] for row in difference["notes"]["missing"]) == ["Go", "Write"]
    assert difference["notes"]["unexpected"] == []


def test_one_new_row_for_another_is_a_change():
    left = canonical_state(rows(notes=[note(new_id(1), ACME, "Call")]), (ACME,))
    right = canonical_state(rows(notes=[note(new_id(2), ACME, "Write")]), (ACME,))
    [change] = state_difference(left, right)["notes"]["changed"]
    assert change["fields"] == {"content": {"expected": "Call", "actual": "Write"}}


def test_several_new_rows_for_others_are_missing_and_unexpected():
    left = canonical_state(rows(notes=[note(new_id(n), ACME, f"a{n}") for n in (1, 2)]), (ACME,))
    right = canonical_state(rows(notes=[note(new_id(n), ACME, f"b{n}") for n in (1, 2)]), (ACME,))
    difference = state_difference(left, right)["notes"]
    assert [len(difference[kind]) for kind in ("missing", "unexpected", "changed")] == [2, 2, 0]


# Few names, so that twins are frequent.
NAMES = st.sampled_from(["a", "b"])


@st.composite
def states(draw: st.DrawFn, limit: int = 3) -> Rows:
    """A few clients, opportunities and quotes that point at each other, half of them alike."""
    counts = [draw(st.integers(0, limit)) for _ in range(3)]
    clients = [client(new_id(n), draw(NAMES)) for n in range(counts[0])]
    owners = [row["client_id"] for row in clients] + [ACME]
    deals = [opportunity(new_id(100 + n), draw(st.sampled_from(owners)), draw(NAMES)) for n in
             range(counts[1])]  # fmt: skip
    parents = [row["opportunity_id"] for row in deals] + [DEAL]
    quotes = [quote(new_id(200 + n), draw(st.sampled_from(parents)), draw(NAMES)) for n in range(counts[2])]
    about = [new_id(0), new_id(100), new_id(200), ACME]
    notes = [note(new_id(300 + n), draw(st.sampled_from(about)), draw(NAMES)) for n in
             range(draw(st.integers(0, 2)))]  # fmt: skip
    return rows(clients=clients, opportunities=deals, quotes=quotes, notes=notes)


def renamed(state: Rows, names: dict[str, str]) -> Rows:
    return {
        table: [{field: names.get(value, value) if isinstance(value, str) else value
                 for field, value in row.items()} for row in entries]
        for table, entries in state.items()
    }  # fmt: skip


@given(state=states(limit=5), seed=st.integers(0, 2**32))
def test_new_ids_and_the_order_of_rows_never_matter(state, seed):
    generator = random.Random(seed)
    ids = [new_id(base + n) for base in (0, 100, 200, 300) for n in range(6)]
    fresh = [str(UUID(int=generator.getrandbits(128), version=4)) for _ in ids]
    other = renamed(state, dict(zip(ids, fresh, strict=True)))
    for entries in other.values():
        generator.shuffle(entries)
    tables = list(other.items())
    generator.shuffle(tables)
    # Notes may be about rows that are gone: their IDs are known from the calls that made them.
    then, now = ({ids[0]: CLIENT, ids[6]: OPPORTUNITY, ids[12]: QUOTE},
                 {fresh[0]: CLIENT, fresh[6]: OPPORTUNITY, fresh[12]: QUOTE})  # fmt: skip
    expected = canonical_state(state, (ACME, DEAL), then)
    assert canonical_state(dict(tables), (ACME, DEAL), now) == expected


@given(state=states(), data=st.data())
def test_every_value_that_is_no_time_matters(state, data):
    assume(any(state.values()))
    table = data.draw(st.sampled_from(sorted(state)))
    position = data.draw(st.integers(0, len(state[table]) - 1))
    row = state[table][position]
    field = data.draw(st.sampled_from([name for name in row if name in ("name", "amount", "content")]))
    changed = {**state, table: list(state[table])}
    changed[table][position] = {**row, field: "something else"}
    left, right = canonical_state(state, (ACME, DEAL)), canonical_state(changed, (ACME, DEAL))
    assert left != right
    assert table in state_difference(left, right)


@given(state=states(), data=st.data())
def test_every_row_matters(state, data):
    assume(any(state.values()))
    table = data.draw(st.sampled_from(sorted(state)))
    less = {**state, table: state[table][1:]}
    assert canonical_state(less, (ACME, DEAL)) != canonical_state(state, (ACME, DEAL))


def _same_but_for_ids(one: Rows, other: Rows) -> bool:
    """Whether some renaming of new IDs makes one state of the other: all of them tried."""

    def contents(state: Rows) -> list[str]:
        return sorted(f"{table} {sorted(row.items(), key=str)}" for table in state for row in state[table])

    def ids(state: Rows, table: str, field: str) -> list[str]:
        return [row[field] for row in state.get(table, [])]

    keys = [("clients", "client_id"), ("opportunities", "opportunity_id"), ("quotes", "quote_id"),
            ("notes", "note_id")]  # fmt: skip
    if any(len(ids(one, *key)) != len(ids(other, *key)) for key in keys):
        return False
    wanted = contents(other)
    for choice in itertools.product(*(itertools.permutations(ids(other, *key)) for key in keys)):
        names = {
            old: new
            for key, permuted in zip(keys, choice, strict=True)
            for old, new in zip(ids(one, *key), permuted, strict=True)
        }
        if contents(renamed(one, names)) == wanted:
            return True
    return False


@given(data=st.data())
def test_states_are_equal_exactly_where_some_renaming_makes_them_so(data):
    one = data.draw(states())
    # The same rows with their pointers shuffled: the hard cases.
    other = {table: [dict(row) for row in entries] for table, entries in one.items()}
    for table, pointer in (("opportunities", "client_id"), ("quotes", "opportunity_id")):
        pointers = [row[pointer] for row in other.get(table, [])]
        for row, value in zip(other.get(table, []), data.draw(st.permutations(pointers)), strict=True):
            row[pointer] = value
    assert same(one, other, (ACME, DEAL)) == _same_but_for_ids(one, other)
