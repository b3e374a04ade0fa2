from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_assets.errors import InfrastructureError, InputError
from crm_assets.llm import ROLES, Ledger, LedgerEntry, Role, Spending, Usage, ledger_totals, read_ledger
from crm_assets.llm.entries import CallError, RecordedReply, SpendingSums
from crm_assets.llm.ledger import CallKey, merge_ledgers


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "ledger.jsonl"


def entry(
    session: str = "s",
    role: Role = "student",
    *,
    prompt: int = 7,
    cost: float | None = 0.000001234,
    failed: bool = False,
    content: str = "fine",
) -> LedgerEntry:
    return LedgerEntry(
        session=session,
        role=role,
        model="openai/gpt-4.1-mini",
        request_sha256="ab" * 32,
        ordinal=1,
        attempt=1,
        started_at="2026-01-01T00:00:00.000+00:00",
        latency_seconds=0.2,
        prompt_tokens=prompt,
        completion_tokens=3,
        cached_tokens=2,
        reasoning_tokens=1,
        cost_usd=cost,
        error=CallError(kind="malformed", message="no") if failed else None,
        reply=RecordedReply(content=content, finish_reason="stop"),
    )


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_recorded_is_read_again(path: Path):
    written = [entry(), entry("t", "judge", failed=True), entry(content='käse\n"x"')]
    with Ledger(path) as ledger:
        for one in written:
            ledger.append(one)
        assert list(read_ledger(path)) == written  # before it is closed
    assert list(read_ledger(path)) == written
    assert path.read_bytes().count(b"\n") == 3


def test_sums_are_found_again(path: Path):
    with Ledger(path) as ledger:
        ledger.append(entry("a"))
        ledger.append(entry("a", failed=True))
        ledger.append(entry("a", "judge", cost=None))
        ledger.append(entry("b"))
        spent, total = ledger.spent("a"), ledger.total()
    assert spent["student"] == Spending(2, 1, Usage(14, 6, 4, 2), 0.000002468)
    assert spent["judge"] == Spending(
        1, 0, Usage(7, 3, 2, 1), None, unknown_cost_calls=1, estimated_usd=None
    )
    assert total == Spending(
        4, 1, Usage(28, 12, 8, 4), 0.000003702, unknown_cost_calls=1, estimated_usd=None
    )
    with Ledger(path) as again:
        assert (again.spent("a"), again.total()) == (spent, total)
        assert again.spent("nobody") == {}
        assert again.by_role() == ledger_totals(path)
        assert set(again.by_role()) == {"student", "judge"}


def _spending(one: LedgerEntry) -> Spending:
    sums = SpendingSums()
    sums.add(one)
    return sums.total()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(ROLES),
            st.integers(0, 10**7),
            st.integers(0, 10**12).map(lambda n: round(n / 1e9, 9)),
        ),
        max_size=40,
    )
)
def test_sums_are_those_of_the_entries_to_the_last_digit(calls: list[tuple[Role, int, float]]):
    ledger = Ledger()
    recorded = [entry(role=role, prompt=prompt, cost=cost) for role, prompt, cost in calls]
    for one in recorded:
        ledger.append(one)
    for role in ROLES:
        of_role = [_spending(one) for one in recorded if one.role == role]
        assert ledger.by_role().get(role, Spending()) == Spending.total(of_role)
    assert ledger.total() == Spending.total(_spending(one) for one in recorded)


@pytest.mark.parametrize("torn", [b'{"kind":"call","sess', b"{", entry().model_dump_json().encode()])
def test_a_torn_last_line_is_cut_off(path: Path, torn: bytes):
    with Ledger(path) as ledger:
        ledger.append(entry("a"))
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert [one.session for one in read_ledger(path)] == ["a"]
    with Ledger(path) as ledger:
        assert path.read_bytes() == whole
        ledger.append(entry("b"))
    assert [one.session for one in read_ledger(path)] == ["a", "b"]


@pytest.mark.parametrize(
    "bad", [b"nonsense\n", b"[]\n", b'{"kind":"call"}\n', b'{"kind":"else"}\n', b"\n", b"\xff\xfe\n"]
)
def test_a_line_that_is_none_of_a_ledgers_is_named(path: Path, bad: bytes):
    with Ledger(path) as ledger:
        ledger.append(entry())
    path.write_bytes(path.read_bytes() + bad + entry().model_dump_json().encode() + b"\n")
    for use in (lambda: list(read_ledger(path)), lambda: ledger_totals(path), lambda: Ledger(path)):
        with pytest.raises(InputError, match=r"ledger\.jsonl, line 2") as raised:
            use()
        assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="line 2"):  # the failed opening let go of the file
        Ledger(path)


def test_a_ledger_that_is_not_there_is_named(path: Path):
    with pytest.raises(InputError, match=r"ledger\.jsonl"):
        list(read_ledger(path))


def test_two_processes_never_write_one_ledger(path: Path):
    with Ledger(path) as ledger:
        ledger.append(entry("a"))
        code = f"from pathlib import Path; from crm_assets.llm import Ledger; Ledger(Path({str(path)!r}))"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert other.returncode != 0
        assert "being written by another process" in other.stderr
        ledger.append(entry("b"))
    with Ledger(path) as ledger:
        assert ledger.total().calls == 2


def test_a_full_disk_is_told_and_leaves_whole_lines(path: Path):
    with Ledger(path) as ledger:
        ledger.append(entry("a"))
        size = path.stat().st_size
        with full_disk(size + 50), pytest.raises(InfrastructureError, match="Could not write the ledger"):
            ledger.append(entry("b"))
        assert path.stat().st_size == size
        assert ledger.total().calls == 1  # what is not recorded is not counted
        ledger.append(entry("c"))
    assert [one.session for one in read_ledger(path)] == ["a", "c"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InfrastructureError, match="Could not write the ledger"):
        Ledger(tmp_path / "file" / "ledger.jsonl")


def test_notes_are_found_again_and_are_no_calls(path: Path):
    with Ledger(path) as ledger:
        ledger.note("a", "learning", {"version": 1})
        ledger.append(entry("a"))
        ledger.note("a", "learning", {"version": 2, "text": "ä"})
        ledger.note("a", "window", {"rewards": [0.5]})
        assert ledger.noted("a", "learning") == {"version": 2, "text": "ä"}
    with Ledger(path) as again:
        assert again.noted("a", "learning") == {"version": 2, "text": "ä"}
        assert again.noted("a", "window") == {"rewards": [0.5]}
        assert again.noted("b", "learning") is None
        assert again.total().calls == 1
    assert len(list(read_ledger(path))) == 1


def test_a_session_that_begins_again_finds_its_calls(path: Path):
    key: CallKey = ("student", "ab" * 32, 1)
    with Ledger(path) as ledger:
        ledger.append(entry("s"))
        assert ledger.earlier_attempts("s", key) == []
        ledger.begin_again("s")
        assert ledger.earlier_attempts("s", key) == [entry("s")]
        assert ledger.spent("s")["student"].calls == 1


def test_an_old_account_of_an_id_that_ends_like_an_epoch_is_found(path: Path):
    key: CallKey = ("student", "ab" * 32, 1)
    with Ledger(path) as ledger:
        ledger.append(entry("a#2").model_copy(update={"schema_version": 2}))
        ledger.append(entry("b#2"))
    with Ledger(path) as ledger:
        assert len(ledger.earlier_attempts("a#2#1", key)) == 1
        assert ledger.spent("a#2#1") == ledger.spent("a#2") != {}
        assert ledger.earlier_attempts("b#2#1", key) == []
        assert ledger.total().calls == 2


def test_a_ledger_without_a_file_keeps_sums_alone():
    with Ledger() as ledger:
        ledger.append(entry("a"))
        ledger.note("a", "learning", {})
        assert ledger.spent("a")["student"].calls == 1
        assert ledger.noted("a", "learning") is None


def test_a_ledger_of_many_calls_is_opened_in_little_memory(path: Path):
    path.parent.mkdir(parents=True)
    with path.open("wb") as handle:
        for number in range(20_000):
            handle.write(entry(f"s{number // 10}", content="x" * 500).model_dump_json().encode() + b"\n")
    code = (
        "import resource, sys; from pathlib import Path; from crm_assets.llm import Ledger;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        f"ledger = Ledger(Path({str(path)!r})); assert ledger.total().calls == 20_000;"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    grown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert path.stat().st_size > 15_000_000
    assert int(grown.stdout) < 6_000  # KiB


def test_merged_ledgers_are_one_in_the_order_in_which_calls_ended(tmp_path: Path):
    def at(second: int, session: str) -> LedgerEntry:
        return entry(session).model_copy(update={"started_at": f"2026-01-01T00:00:{second:02d}.000+00:00"})

    parts = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for path, seconds in zip(parts, ((1, 4, 5), (2, 3, 9)), strict=True):
        with Ledger(path) as ledger:
            ledger.note(path.stem, "start", {"n": 1})
            for second in seconds:
                ledger.append(at(second, path.stem))
    with parts[0].open("ab") as handle:
        handle.write(b'{"schema_version": 3, "sess')  # torn
    merge_ledgers(tmp_path / "whole.jsonl", parts)
    assert [one.started_at[17:19] for one in read_ledger(tmp_path / "whole.jsonl")] == [
        *("01", "02", "03", "04", "05", "09")
    ]
    with Ledger(tmp_path / "whole.jsonl") as whole:
        assert whole.noted("one", "start") == whole.noted("two", "start") == {"n": 1}
        assert whole.total().calls == 6


def test_a_part_of_a_divided_run_finds_the_calls_of_its_sessions_in_the_ledger_of_before(tmp_path: Path):
    with Ledger(tmp_path / "before.jsonl") as before:
        for session in ("mine", "other"):
            before.append(entry(session))
            before.note(session, "start", {"of": session})
    key: CallKey = ("student", "ab" * 32, 1)
    with Ledger(tmp_path / "own.jsonl", before=tmp_path / "before.jsonl", sessions={"mine"}) as own:
        own.append(entry("mine").model_copy(update={"attempt": 2}))
        assert own.total().calls == own.spent("mine")["student"].calls == 2
        assert [one.attempt for one in own.earlier_attempts("mine", key)] == [1]
        assert (own.noted("mine", "start"), own.noted("other", "start")) == ({"of": "mine"}, None)
        assert own.earlier_attempts("other", key) == []
    with Ledger(tmp_path / "own.jsonl", before=tmp_path / "before.jsonl", sessions={"mine"}) as again:
        assert [one.attempt for one in again.earlier_attempts("mine", key)] == [1, 2]
