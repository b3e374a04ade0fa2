"""Runs as Inspect logs, read by Inspect itself."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crm_assets.errors import InputError
from crm_assets.exports.inspect_log import write_inspect_log
from crm_assets.llm import read_ledger
from crm_assets.records import SessionLog
from crm_assets.reporting import RunInfo, compute_metrics
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from tests.records.test_old_baselines import ARCHIVE, ATLAS, IMPORT, NOOP, RUNS, STUDENT
from tests.reporting.conftest import Record, replied, session, turn, unrun


def _log() -> Any:  # imported by the worker that runs these tests alone: it takes seconds
    return pytest.importorskip("inspect_ai.log", reason="the extra inspect is not installed")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("exported")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return Project(folder)


def paths_of(project: Project, run: str) -> BaselinePaths:
    return BaselinePaths.of(project, BaselineKey.of("mini", run))


@pytest.fixture(scope="module")
def exported(project: Project) -> dict[str, Path]:
    """The log of each run of the archive."""
    files = {run: project.root / f"{run}.eval" for run in RUNS}
    for run, file in files.items():
        write_inspect_log(paths_of(project, run), file)
    return files


def export(folder: Path, records: Sequence[Record], plan: Record | None = None) -> Any:
    """The log of sessions, as Inspect reads it."""
    paths = BaselinePaths.of(Project(folder), BaselineKey.of("dev", "20250102T030405Z"))
    paths.folder.mkdir(parents=True)
    paths.sessions.write_text("".join(json.dumps(record) + "\n" for record in records))
    if plan is not None:
        paths.plan.write_text(json.dumps({"schema_version": 1, "sessions": plan}))
    write_inspect_log(paths, folder / "made.eval")
    return _log().read_eval_log(str(folder / "made.eval"))


def test_a_log_says_when_the_calls_of_its_run_began_and_ended(
    project: Project, exported: dict[str, Path]
) -> None:
    calls = list(read_ledger(paths_of(project, ATLAS).ledger))
    starts = [datetime.fromisoformat(call.started_at) for call in calls]
    ends = [
        start + timedelta(seconds=call.latency_seconds) for start, call in zip(starts, calls, strict=True)
    ]
    stats = _log().read_eval_log(str(exported[ATLAS]), header_only=True).stats
    for said, known in ((stats.started_at, min(starts)), (stats.completed_at, max(ends))):
        assert abs(datetime.fromisoformat(said) - known) < timedelta(milliseconds=1)
    without = _log().read_eval_log(str(exported[NOOP]), header_only=True).stats
    assert without.completed_at == ""


@pytest.mark.parametrize("run", RUNS)
def test_inspect_computes_the_same_figures(project: Project, exported: dict[str, Path], run: str) -> None:
    metrics = compute_metrics(paths_of(project, run).sessions, run=RunInfo())
    read = _log().read_eval_log(str(exported[run]))
    written = read.results.model_copy(deep=True)
    _log().recompute_metrics(read)
    figures = {score.name: score.metrics["mean"].value for score in read.results.scores}
    assert figures["strict_success"] == pytest.approx(metrics.strict_success.value)
    assert figures["every_turn"] == pytest.approx(metrics.turns_right.value)
    assert figures["state_match"] == pytest.approx(metrics.state_match.value)
    assert figures["turn_share"] == pytest.approx(metrics.harness_reward_summary.mean)
    if run == ATLAS:
        assert figures["reward"] == pytest.approx(metrics.reward_summary.mean, abs=1e-6)
    for ours, theirs in zip(written.scores, read.results.scores, strict=True):
        assert ours.model_copy(update={"metrics": {}}) == theirs.model_copy(update={"metrics": {}})
        for name, metric in theirs.metrics.items():
            assert ours.metrics[name].value == pytest.approx(metric.value)
    assert written.model_dump(exclude={"scores"}) == read.results.model_dump(exclude={"scores"})


@pytest.mark.parametrize("run", RUNS)
def test_samples_are_what_inspect_would_have_written(exported: dict[str, Path], run: str) -> None:
    """No field is lost or changed by its models, and the summaries are those that it makes."""
    read = _log().read_eval_log(str(exported[run]))
    with zipfile.ZipFile(exported[run]) as archive:
        for sample in read.samples:
            content = archive.read(f"samples/{sample.id}_epoch_{sample.epoch}.json")
            # Inspect changes what it is given.
            read_back = _log().EvalSample.model_validate(
                json.loads(content), context={"deserializing": True}
            )
            assert _is_part_of(json.loads(content), json.loads(read_back.model_dump_json())) == ""
    summaries = _log().read_eval_log_sample_summaries(str(exported[run]))
    assert summaries == [sample.summary() for sample in read.samples]


def _is_part_of(part: Any, whole: Any, place: str = "sample") -> str:
    """The first place where `whole` does not have what `part` has."""
    if isinstance(part, dict):
        if not isinstance(whole, dict):
            return place
        found = (_is_part_of(part[name], whole.get(name), f"{place}.{name}") for name in part)
    elif isinstance(part, list):
        if not isinstance(whole, list) or len(part) != len(whole):
            return place
        found = (
            _is_part_of(one, other, f"{place}[{number}]")
            for number, (one, other) in enumerate(zip(part, whole, strict=True))
        )
    else:
        is_nan = isinstance(part, float) and math.isnan(part)
        return "" if part == whole or is_nan else f"{place}: {part!r}, {whole!r}"
    return next((each for each in found if each), "")


def test_a_sample_holds_the_whole_session(project: Project, exported: dict[str, Path]) -> None:
    ours = next(SessionLog(paths_of(project, ATLAS).sessions).records())
    sample = _log().read_eval_log_sample(str(exported[ATLAS]), ours.conversation_id, ours.epoch)
    turns = ours.conversation_result.per_turn_results
    assert [message.text for message in sample.messages if message.role == "user"] == [
        each.user_utterance for each in turns
    ]
    calls = [call for message in sample.messages for call in getattr(message, "tool_calls", None) or ()]
    assert [(call.function, call.arguments) for call in calls] == [
        (each.tool_name, each.arguments) for each in turns if each.tool_name
    ]
    results = [json.loads(message.text) for message in sample.messages if message.role == "tool"]
    assert results == [each.result for each in turns if each.tool_name]
    assert sample.scores["strict_success"].value is ours.conversation_result.overall_success
    assert "Turn 1: " in sample.scores["every_turn"].explanation
    assert sample.scores["reward"].explanation == ours.session_reward.judges[0].rationale
    assert sample.store["state_diff"] == ours.conversation_result.state_diff
    usage = sample.role_usage["student"]
    known = ours.atlas_metadata.token_usage["student"]
    assert usage.input_tokens + (usage.input_tokens_cache_read or 0) == known.prompt_tokens
    assert sample.metadata["workflow"] == ours.atlas_metadata.workflow_category


def test_epochs_are_kept(exported: dict[str, Path]) -> None:
    read = _log().read_eval_log(str(exported[STUDENT]))
    assert read.eval.config.epochs == 2
    assert {sample.epoch for sample in read.samples} == {1, 2}
    assert len({sample.uuid for sample in read.samples}) == len(read.samples)


def test_what_has_no_verdict_is_no_zero(tmp_path: Path) -> None:
    undecided = turn(success=None, tool_success=None, verification="undecided")
    read = export(
        tmp_path,
        [
            session("c-1", [turn(), replied(2, "mismatch")]),
            session("c-2", [undecided], result={"overall_success": None, "reward_signal": None}),
            unrun("c-3", "failed", "connection lost"),
            unrun("c-4", "not_recorded"),
        ],
    )
    right, open_, failed, absent = read.samples
    assert right.metadata["failure"] == "Right action, wrong reply"
    assert open_.scores["strict_success"].reason == "no_verdict"
    assert failed.error.message == "connection lost"
    assert (failed.scores, absent.scores, absent.error) == (None, None, None)
    strict = read.results.scores[0]
    assert (strict.scored_samples, strict.unscored_samples, strict.metrics["mean"].value) == (1, 1, 0.0)
    assert read.results.completed_samples == 3
    _log().recompute_metrics(read)
    assert read.results.scores[0].scored_samples == 1


def test_a_spent_budget_is_a_limit(tmp_path: Path) -> None:
    record = unrun("c-1", "not_run")
    record["conversation_result"]["error_message"] = "The budget of $2.50 is spent."
    (sample,) = export(tmp_path, [record], plan={"agent": "atlas", "budget_usd": 2.5}).samples
    assert (sample.limit.type, sample.limit.limit) == ("cost", 2.5)
    assert sample.limit.reason == "The budget of $2.50 is spent."
    assert (sample.error, sample.scores) == (None, None)


def test_refused_calls_and_bad_arguments_stay_readable(tmp_path: Path) -> None:
    refused = turn(error="No such client.", error_kind="not_found", result=None)
    garbled = turn(2, arguments="{name: Acme")
    read = export(tmp_path, [session("c-1", [refused, garbled])])
    (sample,) = read.samples
    tools = [message for message in sample.messages if message.role == "tool"]
    assert tools[0].error.message == "No such client."
    (call,) = (
        sample.messages[-2].tool_calls
        if sample.messages[-1].role == "tool"
        else (sample.messages[-3].tool_calls)
    )
    assert call.arguments == {}
    assert "{name: Acme" in call.parse_error


def test_its_data_frames_read_it(exported: dict[str, Path]) -> None:
    pytest.importorskip("pyarrow")
    analysis = pytest.importorskip("inspect_ai.analysis")
    samples = analysis.samples_df(str(exported[ATLAS]), quiet=True)
    assert samples["score_strict_success"].tolist() == [True, False, True, False]
    read = _log().read_eval_log(str(exported[ATLAS]))
    messages = analysis.messages_df(str(exported[ATLAS]), quiet=True)
    assert len(messages) == sum(len(sample.messages) for sample in read.samples)
    assert messages["tool_calls"].notna().any()


@pytest.mark.whole
def test_inspect_dumps_it(exported: dict[str, Path]) -> None:
    command = [str(Path(sys.executable).with_name("inspect")), "log", "dump", str(exported[NOOP])]
    dumped = subprocess.run(command, check=True, capture_output=True, text=True)
    assert len(json.loads(dumped.stdout)["samples"]) == 4


def test_an_import_keeps_its_source(exported: dict[str, Path]) -> None:
    read = _log().read_eval_log(str(exported[IMPORT]), header_only=True)
    assert read.eval.metadata["imported"]["file"] == "past.jsonl"


def test_a_log_that_cannot_be_finished_leaves_no_file(project: Project, tmp_path: Path) -> None:
    paths = paths_of(project, NOOP)
    whole = paths.sessions.read_bytes()
    try:
        paths.sessions.write_bytes(whole[: len(whole) - 40])
        with pytest.raises(InputError, match="no session that can be shown"):
            write_inspect_log(paths, tmp_path / "log.eval")
    finally:
        paths.sessions.write_bytes(whole)
    assert list(tmp_path.iterdir()) == []


def test_without_inspect_one_sentence_says_how_to_get_it(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crm_assets.exports.inspect_package.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'crm-assets\[inspect\]'"):
        write_inspect_log(paths_of(project, NOOP), tmp_path / "log.eval")
