from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import psutil
import psycopg
import pytest

from crm_assets.conversations import Conversation, DatasetError, Finding
from crm_assets.crm import ENTITIES, TOOLS
from crm_assets.database import Databases, connect_databases
from crm_assets.engine import (
    Limits,
    Progress,
    RunSummary,
    ScriptedRunners,
    Work,
    WorkItem,
    processes,
    run_harness,
    run_work,
    scripted,
)
from crm_assets.errors import InfrastructureError, InputError
from crm_assets.harness import Action, AgentSession, AgentSpec, Outcome
from crm_assets.records import ConversationResult
from crm_assets.workspace import jsonl
from crm_assets.workspace.project import Project
from tests.engine.ctrl_c import TO_THE_GROUP, program
from tests.engine.test_checkpoint import full_disk
from tests.harness.build import (
    ACME,
    NEW_CLIENT,
    UNKNOWN,
    Document,
    Script,
    document,
    many,
    read_lines,
    refused,
    turn,
    write_dataset,
)
from tests.waiting import HANG_SECONDS, eventually

REPLAY = AgentSpec("replay")

Run = Callable[..., RunSummary]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out" / "results.jsonl"


@pytest.fixture
def run(databases: Databases, output: Path) -> Run:
    """Runs the harness on the suite's own server, from a dataset to `output`."""

    def run_here(
        dataset: Path, *, agent: AgentSpec = REPLAY, to: Path = output, **options: Any
    ) -> RunSummary:
        return run_harness(dataset, to, databases=databases, agent=agent, **options)

    return run_here


def mixed(count: int = 40) -> list[Document]:
    """Conversations of different lengths, with chains, refusals and wrong ground truths among them."""
    documents = []
    for number in range(count):
        turns = [
            turn("client_search", {"name": "Acme"}),
            turn("create_new_client", {**NEW_CLIENT, "name": f"Client {number}"}),
            refused("delete_quote", {"quote_id": UNKNOWN}, "not found"),
            turn(
                "add_note", {"entity_type": "Client", "entity_id": "{{turn_2.client_id}}", "content": "x"}
            ),
            refused("client_search", {}),
        ]
        fields = {"chain_id": "CHAIN", "segment_boundaries": [1, 4]} if number % 4 == 3 else {}
        documents.append(
            document(*turns[: 2 + number % 4], conversation_id=f"c-{number * 7 % 41:03d}", **fields)
        )
    return documents


def settled(path: Path) -> list[Any]:
    """The results in a file, without what no second run can repeat."""
    times = {name for tool in TOOLS.values() for name in tool.entity.times} | {"duration_seconds"}

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: without(entry) for name, entry in value.items() if name not in times}
        return [without(entry) for entry in value] if isinstance(value, list) else value

    return [without(line) for line in read_lines(path)]


# --- however the work is divided


def test_workers_and_sessions_do_not_change_the_results(run: Run, tmp_path: Path):
    documents = mixed()
    dataset = write_dataset(tmp_path / "d.jsonl", documents)
    found = {}
    for workers, sessions in ((1, 1), (1, 8), (2, 8)):
        to = tmp_path / f"{workers}-{sessions}.jsonl"
        summary = run(dataset, to=to, limits=Limits(workers=workers, concurrency=sessions))
        assert (summary.total, summary.succeeded, summary.failed) == (40, 30, 10)
        assert (summary.infrastructure_errors, summary.sandboxes_discarded, summary.resumed) == (0, 0, 0)
        found[workers, sessions] = settled(to)
    first = found[1, 1]
    assert [line["conversation_id"] for line in first] == [entry["conversation_id"] for entry in documents]
    assert all(lines == first for lines in found.values())
    assert multiprocessing.active_children() == []


def test_nothing_stays_behind_in_the_database(run: Run, tmp_path: Path, databases: Databases):
    with psycopg.connect(databases.sandbox, autocommit=True) as connection:

        def connections() -> int:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ 'crm_assets'"
            ).fetchone()
            assert row is not None
            return int(row[0])

        before = connections()
        run(write_dataset(tmp_path / "d.jsonl", many(20)), limits=Limits(concurrency=4))
        assert eventually(lambda: connections() <= before)  # the server takes a moment to notice
        schemas = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname ~ '^sandbox_[0-9]+$'"
        ).fetchall()
        assert schemas
        for (schema,) in schemas:
            for entity in ENTITIES.values():
                assert connection.execute(f"SELECT count(*) FROM {schema}.{entity.table}").fetchone() == (
                    0,
                )


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system has no affinity")
def test_this_process_may_use_its_cores_again_afterwards(run: Run, tmp_path: Path):
    before = os.sched_getaffinity(0)
    run(write_dataset(tmp_path / "d.jsonl", many(2)))
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("limits", [{"workers": 0}, {"concurrency": 0}, {"workers": -1}])
def test_there_is_at_least_one_of_each(limits):
    with pytest.raises(InputError, match=f"{next(iter(limits))} must be at least 1"):
        Limits(**limits)


# --- samples


def test_a_sample_is_the_same_for_the_same_seed_and_in_the_order_of_the_file(run: Run, tmp_path: Path):
    documents = many(30, turns=1)
    order = [entry["conversation_id"] for entry in documents]
    dataset = write_dataset(tmp_path / "d.jsonl", documents)

    def drawn(sample: int, seed: int, **options: Any) -> list[str]:
        run(dataset, sample=sample, seed=seed, overwrite=True, **options)
        return [line["conversation_id"] for line in read_lines(tmp_path / "out" / "results.jsonl")]

    first = drawn(8, 1)
    assert len(set(first)) == 8
    assert first == sorted(first, key=order.index)
    assert drawn(8, 1) == first
    assert drawn(8, 1, limits=Limits(concurrency=3)) == first
    assert drawn(8, 2) != first
    assert drawn(99, 1) == order


def test_a_sample_of_nothing_is_refused(run: Run, tmp_path: Path, output: Path):
    with pytest.raises(InputError, match="at least one"):
        run(write_dataset(tmp_path / "d.jsonl", many(2)), sample=0)
    assert not output.exists()


# --- going on


def interrupted_after(count: int) -> Callable[[Progress], None]:
    def progress(where: Progress) -> None:
        if where.done >= count:
            raise KeyboardInterrupt

    return progress


def test_a_run_that_was_interrupted_goes_on(
    run: Run, tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("crm_assets.engine.progress._REPORT_SECONDS", 0.0)
    monkeypatch.setattr("crm_assets.engine.worker._DELIVER_SECONDS", 0.0)
    dataset = write_dataset(tmp_path / "d.jsonl", mixed())
    run(dataset, to=tmp_path / "whole.jsonl")
    with pytest.raises(KeyboardInterrupt):
        run(dataset, limits=Limits(concurrency=3), progress=interrupted_after(7))
    done = [line["conversation_id"] for line in read_lines(output)]
    assert 7 <= len(done) < 40
    # A crash would have torn the last line.
    output.write_bytes(output.read_bytes()[:-20])
    summary = run(dataset)
    assert summary.resumed == len(done) - 1
    assert (summary.total, summary.succeeded, summary.failed) == (40, 30, 10)
    assert settled(output) == settled(tmp_path / "whole.jsonl")
    again = run(dataset)
    assert (again.resumed, again.total, again.succeeded) == (40, 40, 30)


def test_conversations_that_the_infrastructure_ended_are_run_again(run: Run, tmp_path: Path, output: Path):
    dataset = write_dataset(tmp_path / "d.jsonl", many(5))
    run(dataset)
    lines = read_lines(output)
    before = settled(output)
    lines[2] |= {"status": "infrastructure_error", "overall_success": None, "per_turn_results": []}
    output.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    summary = run(dataset)
    assert (summary.resumed, summary.total, summary.succeeded, summary.infrastructure_errors) == (
        4,
        5,
        5,
        0,
    )
    assert settled(output) == before


def test_what_cannot_be_started_is_told_and_the_rest_is_run(run: Run, tmp_path: Path, output: Path):
    bad = document(turn("client_search"), conversation_id="bad", seeds={"Client": {ACME: {"name": " "}}})
    dataset = write_dataset(tmp_path / "d.jsonl", [*many(2), bad])
    summary = run(dataset)
    assert (summary.total, summary.succeeded, summary.failed, summary.infrastructure_errors) == (3, 2, 0, 1)
    line = read_lines(output)[2]
    assert (line["status"], line["overall_success"], line["reward_signal"]) == (
        "infrastructure_error",
        None,
        None,
    )
    assert f"seed Client '{ACME}'" in line["error_message"]
    assert run(dataset).resumed == 2


@pytest.mark.parametrize("sessions", [1, 3])
def test_an_interrupt_while_agents_think_ends_their_sessions(
    run: Run, tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch, sessions: int
):
    begun: list[str] = []
    ended: list[str] = []

    class Thinking(AgentSession):
        async def act(self, utterance: str) -> Action:
            def interrupt() -> None:
                raise KeyboardInterrupt

            begun.append(utterance)
            if len(begun) == sessions:
                asyncio.get_running_loop().call_soon(interrupt)  # as Ctrl-C comes: not in a task
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                ended.append(utterance)
                raise
            return Action(reply="")

        async def proceed(self, outcomes: Sequence[Outcome], *, may_call: bool) -> Action:
            raise AssertionError("not reached")

    monkeypatch.setattr(scripted, "make_agent", lambda spec: Script(lambda conversation: Thinking()))
    dataset = write_dataset(tmp_path / "d.jsonl", many(10))
    with pytest.raises(KeyboardInterrupt):
        run(dataset, limits=Limits(concurrency=sessions))
    assert len(begun) == len(ended) == sessions
    assert output.read_bytes() == b""
    monkeypatch.undo()
    assert run(dataset).succeeded == 10


@pytest.mark.parametrize("changed", ["dataset", "agent", "sample", "seed"])
def test_another_run_is_not_gone_on_with(run: Run, tmp_path: Path, output: Path, changed: str):
    dataset = write_dataset(tmp_path / "d.jsonl", many(3, turns=1))
    options: dict[str, Any] = {"sample": 2, "seed": 1}
    run(dataset, **options)
    before = output.read_bytes()
    if changed == "dataset":
        write_dataset(dataset, many(3, turns=2))
    elif changed == "agent":
        options["agent"] = AgentSpec("noop")
    else:
        options[changed] = 3
    with pytest.raises(InputError, match="cannot be resumed") as refusal:
        run(dataset, **options)
    named = {"dataset": "dataset_sha256", "agent": "agent.name"}.get(changed, changed)
    assert f"{named} was " in str(refusal.value)
    assert output.read_bytes() == before
    assert run(dataset, overwrite=True, **options).resumed == 0


# --- progress


def test_progress_is_told_from_start_to_end(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("crm_assets.engine.progress._REPORT_SECONDS", 0.0)
    monkeypatch.setattr("crm_assets.engine.worker._DELIVER_SECONDS", 0.0)
    dataset = write_dataset(tmp_path / "d.jsonl", mixed(20))
    told: list[Progress] = []
    run(dataset, progress=told.append)
    first, last = told[0], told[-1]
    assert (first.done, first.total, first.rate_per_second, first.eta_seconds) == (0, 20, 0.0, None)
    assert (last.done, last.total, last.succeeded, last.infrastructure_errors) == (20, 20, 15, 0)
    assert last.eta_seconds == 0
    assert [entry.done for entry in told] == sorted(entry.done for entry in told)
    middle = told[len(told) // 2]
    assert middle.eta_seconds == pytest.approx((20 - middle.done) / middle.rate_per_second)
    again: list[Progress] = []
    run(dataset, progress=again.append)
    assert {(entry.done, entry.rate_per_second) for entry in again} == {(20, 0.0)}


# --- what may go wrong


def test_a_malformed_dataset_is_told_in_full_and_nothing_is_run(run: Run, tmp_path: Path, output: Path):
    path = tmp_path / "d.jsonl"
    path.write_bytes(
        orjson.dumps(many(1)[0])
        + b"\nnot json\n"
        + orjson.dumps(document(turn("no_such_tool"), conversation_id="b"))
        + b"\n"
        + orjson.dumps({"conversation_id": 5, "turns": []})
        + b"\n"
    )
    with pytest.raises(DatasetError) as refusal:
        run(path)
    assert {finding.line for finding in refusal.value.findings} == {2, 3, 4}
    assert not output.parent.exists()


def test_a_dataset_that_is_not_there_is_an_input_error(run: Run, tmp_path: Path, output: Path):
    with pytest.raises(InputError, match="There is no dataset at"):
        run(tmp_path / "none.jsonl")
    assert not output.parent.exists()


def test_a_full_disk_is_one_sentence_and_the_run_can_go_on(run: Run, tmp_path: Path, output: Path):
    dataset = write_dataset(tmp_path / "d.jsonl", many(60))
    with full_disk(40_000), pytest.raises(InfrastructureError) as failure:
        run(dataset)
    assert str(output) in str(failure.value)
    assert "\n" not in str(failure.value)
    done = read_lines(output)
    assert 0 < len(done) < 60
    summary = run(dataset)
    assert (summary.resumed, summary.succeeded) == (len(done), 60)


def test_a_database_that_is_down_is_one_sentence_and_leaves_no_file(
    tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DB_HOST", "127.0.0.1")
    monkeypatch.setenv("DB_PORT", "1")
    dataset = write_dataset(tmp_path / "d.jsonl", many(2))
    with pytest.raises(InfrastructureError, match="does not answer") as failure:
        run_harness(dataset, output, databases=connect_databases(Project(tmp_path)), agent=REPLAY)
    assert "\n" not in str(failure.value)
    assert not output.exists()


def test_a_database_that_goes_away_is_never_the_agents_fault(
    lonely_project: Project,
    databases: Databases,
    tmp_path: Path,
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("crm_assets.engine.progress._REPORT_SECONDS", 0.0)
    monkeypatch.setattr("crm_assets.engine.worker._DELIVER_SECONDS", 0.0)
    monkeypatch.setenv("DB_OUTAGE_SECONDS", "0.2")
    dataset = write_dataset(tmp_path / "d.jsonl", many(150))
    dropped = False

    def drop(where: Progress) -> None:
        nonlocal dropped
        if where.done >= 5 and not dropped:
            dropped = True
            with psycopg.connect(databases.sandbox, autocommit=True) as connection:
                connection.execute(f'DROP DATABASE "{os.environ["DB_NAME"]}" WITH (FORCE)')

    with pytest.raises(InfrastructureError) as failure:
        run_harness(
            dataset, output, databases=connect_databases(lonely_project), agent=REPLAY, progress=drop
        )
    assert "\n" not in str(failure.value)
    lines = read_lines(output)
    assert {line["overall_success"] for line in lines if line["status"] == "completed"} == {True}
    assert all(
        line["overall_success"] is line["reward_signal"] is line["state_match"] is None
        for line in lines
        if line["status"] != "completed"
    )
    summary = run_harness(dataset, output, databases=connect_databases(lonely_project), agent=REPLAY)
    assert summary.succeeded == summary.total == 150
    assert summary.resumed >= 5


def test_a_worker_that_is_killed_is_one_sentence_and_what_is_finished_is_kept(
    run: Run, tmp_path: Path, output: Path
):
    dataset = write_dataset(tmp_path / "d.jsonl", many(600))
    killed = False

    def kill(where: Progress) -> None:
        nonlocal killed
        if where.done and not killed:
            killed = True
            [child] = [each for each in multiprocessing.active_children() if each.name.endswith("-1")]
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(InfrastructureError, match=r"^A worker process ended unexpectedly \(exit code -9\)"):
        run(dataset, limits=Limits(workers=2), progress=kill)
    assert multiprocessing.active_children() == []
    done = len(read_lines(output))
    assert 0 < done < 600
    summary = run(dataset)
    assert (summary.resumed, summary.succeeded) == (done, 600)


def test_a_message_that_breaks_off_is_a_worker_that_ended():
    class Child:
        exitcode = -9

        def join(self) -> None:
            pass

    for sent in (b"", b"\x00\x00", b"\x00\x00\x10\x00only a part of it"):
        receiver, sender = multiprocessing.Pipe(duplex=False)
        os.write(sender.fileno(), sent)
        sender.close()
        with receiver, pytest.raises(InfrastructureError, match="ended unexpectedly"):
            processes._receive(receiver, Child())


@dataclass(frozen=True)
class FileSource:
    """Conversations in a file, by lines of one length; good ones, or bad when a worker reads them."""

    path: Path
    bad: bool = False

    def parse(self, item: WorkItem, line: bytes) -> Talk:
        if self.bad:
            raise DatasetError("d.jsonl", (Finding("d.jsonl", 3, "turns", "must not be empty"),), 1)
        return Talk(Conversation.model_validate(orjson.loads(line)))


class Talk(NamedTuple):
    conversation: Conversation


def own_result(task: Talk, result: ConversationResult) -> ConversationResult:
    return result


def work_of(dataset: Path, *, bad: bool = False, **order: bool) -> Work[Talk]:
    """Work on a dataset; its learning keys are a, b and c in turn."""
    items = [
        WorkItem(orjson.loads(line.data)["conversation_id"], "abc"[n % 3], 1 + n, line.number, line.offset)
        for n, line in enumerate(jsonl.read_lines(dataset))
    ]
    runners = ScriptedRunners(REPLAY, own_result, database_is_local=True)
    return Work(items, FileSource(dataset, bad), runners, **order)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_arrives_as_what_it_is(
    databases: Databases, tmp_path: Path, output: Path, workers: int
):
    work = work_of(write_dataset(tmp_path / "d.jsonl", many(2)), bad=True)
    with pytest.raises(InputError, match=r"d\.jsonl:3: turns must not be empty"):
        run_work(work, output, databases=databases, identity={}, limits=Limits(workers=workers))


def _processes_of_group(group: int) -> list[str]:
    """What still runs in a process group."""
    left: list[str] = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                left.append(" ".join(process.cmdline()))
    return left


def test_ctrl_c_is_one_sentence_and_leaves_no_process_and_the_run_can_go_on(
    run: Run, tmp_path: Path, output: Path, databases: Databases
):
    dataset = write_dataset(tmp_path / "d.jsonl", many(600, turns=2))
    parts = psycopg.conninfo.conninfo_to_dict(databases.sandbox)
    environment = {
        **os.environ,
        "CRM_ASSETS_HOME": str(tmp_path),
        "DB_HOST": str(parts["host"]),
        "DB_PORT": str(parts["port"]),
        "DB_USER": str(parts["user"]),
    }
    command = [sys.executable, "-c", program(TO_THE_GROUP), "harness", "--workers", "2"]
    command += ["--sessions", "4", "--dataset", str(dataset), "--output", str(output)]
    process = subprocess.Popen(
        command,
        env=environment,
        start_new_session=True,  # so that the signal reaches the workers too, as in a terminal
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert eventually(lambda: _processes_of_group(process.pid) == [])
    done = read_lines(output)
    assert 0 < len(done) < 600
    summary = run(dataset)
    assert (summary.resumed, summary.succeeded) == (len(done), 600)
