"""Sessions are found by the beginning of an ID, a line at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crm_assets.errors import InputError
from crm_assets.reporting.sessions_view import find_session, read_rows

from ..conftest import Record, Write, failed_turn, session, turn, unrun


def write_lines(path: Path, *lines: str | Record) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def test_the_beginning_of_an_id_is_enough_where_no_other_begins_so(write: Write) -> None:
    path = write([session("north-1"), session("north-2"), session("south-1")])
    assert find_session(path, "sou").session.conversation_id == "south-1"
    assert find_session(path, "north-2").session.conversation_id == "north-2"


def test_a_whole_id_is_meant_even_where_others_begin_so(write: Write) -> None:
    path = write([session("c-10"), session("c-1")])
    assert find_session(path, "c-1").session.conversation_id == "c-1"


def test_an_ambiguous_one_names_some_and_one_that_is_not_there_says_so(write: Write) -> None:
    path = write([session(f"c-{number}") for number in range(9)])
    with pytest.raises(InputError, match=r"9 conversations begin with 'c': c-0, .*c-4 and 4 more"):
        find_session(path, "c")
    with pytest.raises(InputError, match="has an ID that begins with 'x'"):
        find_session(path, "x")


def test_an_id_that_only_stands_in_another_session_is_not_found(write: Write) -> None:
    path = write([session("c-1", [turn(user_utterance="As in needle-1.")]), session("c-2")])
    with pytest.raises(InputError, match="needle"):
        find_session(path, "needle")


def test_epochs_are_told_apart(write: Write) -> None:
    first = session("c-1", [failed_turn()])
    path = write([first, {**session("c-1"), "epoch": 2}])
    found = find_session(path, "c-1")
    assert (found.session.epoch, found.epochs) == (1, (1, 2))
    second = find_session(path, "c-1", 2).session
    assert (second.epoch, second.conversation_result.overall_success) == (2, True)
    with pytest.raises(InputError, match="not run in epoch 3; choose --epoch of 1, 2"):
        find_session(path, "c-1", 3)


def test_lines_of_other_conversations_are_not_even_parsed(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "sessions.jsonl", "{torn", session("wanted"), "{torn")
    assert find_session(path, "wanted").session.conversation_id == "wanted"


def test_ids_that_json_escapes_are_found(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "sessions.jsonl", session('say "hallo" größer'))
    assert find_session(path, 'say "hallo" gr').session.conversation_id == 'say "hallo" größer'


def test_a_line_that_is_no_session_is_named(tmp_path: Path) -> None:
    broken = session("c-2")
    broken["conversation_result"]["per_turn_results"] = [{"turn_id": "one"}]
    path = write_lines(tmp_path / "sessions.jsonl", session("c-1"), broken, '{"conversation_id":"c-3"')
    with pytest.raises(InputError, match=r"line 2 is not a session \(conversation_result"):
        find_session(path, "c-2")
    with pytest.raises(InputError, match="line 3 is not a session"):
        find_session(path, "c-3")


def test_summaries_order_the_worst_first(write: Write) -> None:
    rewarded = {
        "session_reward": {"score": 0.2},
        "attempts": 2,
        "cost_usd": {"student": 0.25, "judge": 0.5},
    }
    path = write(
        [
            session("right"),
            unrun("ended"),
            session("wrong", [failed_turn()]),
            session("worst", [failed_turn()], meta=rewarded),
        ]
    )
    summaries = sorted(read_rows(path))
    assert [each.conversation_id for each in summaries] == ["worst", "wrong", "ended", "right"]
    assert (summaries[0].score, summaries[0].attempts, summaries[0].cost_usd) == (0.2, 2, 0.75)
    assert (summaries[2].strict, summaries[2].state, summaries[2].status) == (None, None, "failed")
