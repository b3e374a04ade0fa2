"""Ten points of `make soak`: runs that are killed at a write go on, and come to the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.soak.events import DISK_FULL, KILL
from tests.soak.ground import open_ground
from tests.soak.kills import Point, Stopper, open_stopper, places_of_files, spread
from tests.soak.table import PAGE, PARTS, soak_table

pytestmark = pytest.mark.whole

_KILLS = 10


@pytest.fixture(scope="module")
def stopper() -> Iterator[Stopper]:
    with open_ground() as ground, open_stopper(ground) as opened:
        yield opened


@pytest.mark.parametrize("number", range(_KILLS))
def test_a_killed_run_goes_on_and_comes_to_the_same(stopper: Stopper, number: int) -> None:
    point = stopper.stop(KILL, spread(len(stopper.reference.events), _KILLS)[number])
    assert point.wrong == []


def test_a_run_whose_disk_is_full_goes_on_once_there_is_room(stopper: Stopper) -> None:
    places = places_of_files(stopper.reference.events)
    ledger = next(at for at in places if stopper.reference.events[at - 1] == "write ledger.jsonl")
    assert stopper.stop(DISK_FULL, ledger).wrong == []


def test_the_table_counts_what_came_of_it() -> None:
    right = Point(KILL, 7, "fsync", state="under way", command="it", under_way=3, paid_twice=2)
    table = soak_table([right, Point(KILL, 9, "fsync", lost=1, wrong=["one is lost"])])
    assert f"| {PARTS[KILL]} | 2 | 1 | 1 | 0 | 0 | 0 | 3 | 2 |\n" in table
    assert "| under way | it | 1 |\n" in table


def test_the_page_has_the_table_of_a_soak_without_a_fault() -> None:
    text = PAGE.read_text()
    rows = {what: _cells(text, what) for what in PARTS.values()}
    assert rows[PARTS[KILL]][0] > 0
    for points, right, *faults in rows.values():
        assert points == right
        assert faults == [0, 0, 0, 0]


def _cells(text: str, what: str) -> list[int]:
    """Points, right ones, lost, doubled, stuck, tracebacks."""
    (row,) = (line for line in text.splitlines() if line.startswith(f"| {what} |"))
    return [int(cell) for cell in row.split("|")[2:8]]
