from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crm_assets.errors import InputError
from crm_assets.reporting import RunInfo, compute_metrics, read_metrics

from .conftest import RUN, Measure, Write, session, turn


def broken(change: Callable[[dict[str, Any]], Any]) -> str:
    record = session("c-2")
    change(record)
    return json.dumps(record)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"schema_version": 1, "conversation_id": "c-2", "sta', "truncated"),
        ("", "truncated"),
        ("[]", "Expected `object`, got `array`"),
        ("\x00", "malformed"),
        (broken(lambda r: r.pop("task_id")), "missing required field `task_id`"),
        (broken(lambda r: r.update(status="done")), "status: "),
        (broken(lambda r: r.update(schema_version=2)), "schema_version 2"),
        (broken(lambda r: r.update(conversation_result=None)), "no conversation_result"),
        (
            broken(lambda r: r["conversation_result"].update(status="not_recorded")),
            "a result that is 'not_recorded'",
        ),
        (
            broken(lambda r: r["conversation_result"].update(overall_success="true")),
            "conversation_result.overall_success: ",
        ),
        (
            broken(lambda r: r["conversation_result"].update(per_turn_results=[turn(1, success="yes")])),
            "conversation_result.per_turn_results[0].success: ",
        ),
        (
            broken(lambda r: r["atlas_metadata"].update(cost_usd={"judge": -1})),
            "atlas_metadata.cost_usd[...]: ",
        ),
        (
            broken(lambda r: r["atlas_metadata"].update(token_usage={"a": {"total_tokens": 2**70}})),
            "atlas_metadata.token_usage[...].total_tokens: ",
        ),
        (
            broken(lambda r: r["atlas_metadata"].update(session_reward={"score": float("nan")})),
            "malformed",
        ),
    ],
)
def test_a_bad_line_is_named_with_its_reason(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "sessions.jsonl"
    path.write_text("\n".join([json.dumps(session("c-1")), line, json.dumps(session("c-3"))]) + "\n")
    with pytest.raises(InputError) as caught:
        compute_metrics(path, run=RUN)
    message = str(caught.value)
    assert f"{path}, line 2" in message
    assert reason in message
    assert "\n" not in message
    assert "atlas_sessions" in message


def test_a_task_that_stands_twice_is_refused(measure: Measure) -> None:
    with pytest.raises(InputError, match=r"line 3: task 'c-1::.*already stands in line 1"):
        measure(session("c-1"), session("c-2"), session("c-1"))


@pytest.mark.parametrize("field", ["run_id", "dataset_revision", "agent", "use_llm_judge"])
def test_sessions_of_two_runs_are_refused(measure: Measure, field: str) -> None:
    other: Any = {"agent": {"name": "noop"}, "use_llm_judge": True}.get(field, "other")
    with pytest.raises(InputError, match=rf"line 2: {field} is .* one run at a time"):
        measure(session("c-1"), session("c-2", meta={field: other}))


@pytest.mark.parametrize("field", ["run_id", "dataset", "dataset_revision"])
def test_sessions_of_another_run_are_refused(measure: Measure, field: str) -> None:
    with pytest.raises(InputError, match=rf"is of {field} .*, not 'other'"):
        measure(session("c-1"), run=RunInfo(**{field: "other"}))


def test_an_empty_file_measures_nothing(write: Write) -> None:
    with pytest.raises(InputError, match="holds no session"):
        compute_metrics(write([]), run=RUN)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Cannot read .*nowhere\.jsonl: No such file"):
        compute_metrics(tmp_path / "nowhere.jsonl", run=RUN)


@pytest.mark.parametrize("content", ["", "{}", "[1", '{"schema_version": 2}'])
def test_damaged_metrics_are_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"metrics\.json does not hold the metrics of a baseline"):
        read_metrics(path)


def test_missing_metrics_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Could not read .*metrics\.json"):
        read_metrics(tmp_path / "metrics.json")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_many_sessions_take_little_memory(tmp_path: Path) -> None:
    """3,000 sessions of 40 kB: a reader that kept their records would need half a gigabyte."""
    path = tmp_path / "sessions.jsonl"
    bulk = [turn(n, result=[{"notes": "x" * 50} for _ in range(60)]) for n in range(1, 9)]
    line = json.dumps(session("@@", bulk))
    with path.open("w") as handle:
        for number in range(3_000):
            handle.write(line.replace("@@", f"c-{number}") + "\n")
    # Not ru_maxrss: on Linux a process starts with the peak of the one that started it.
    probe = (
        "import re, sys; from pathlib import Path\n"
        "from crm_assets.reporting import RunInfo, compute_metrics\n"
        "metrics = compute_metrics(Path(sys.argv[1]), run=RunInfo())\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(metrics.turns_executed, re.search(r'VmHWM:\\s+(\\d+) kB', status).group(1))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", probe, str(path)], capture_output=True, text=True, check=True
    )
    turns, peak = map(int, ran.stdout.split())
    path.unlink()
    assert turns == 24_000
    assert peak < 250 * 1024
