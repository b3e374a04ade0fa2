"""Keys of sessions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crm_assets.engine.identity import ledger_key, session_key

TASKS = st.text(alphabet="a#12", min_size=1, max_size=6)
SESSIONS = st.tuples(TASKS, st.integers(1, 12))


def test_most_keys_are_the_ids_themselves():
    assert (session_key("a"), session_key("a", 2), session_key("a#b")) == ("a", "a#2", "a#b")


@given(SESSIONS, SESSIONS)
def test_different_sessions_have_different_keys(one: tuple[str, int], other: tuple[str, int]):
    assert (session_key(*one) == session_key(*other)) == (one == other)


def test_an_id_that_ends_like_an_epoch_has_an_account_of_its_own():
    assert ledger_key("a#2") != ledger_key("a", 2)
