"""The keys of datasets, runs and baselines: their forms, and that their text loses nothing."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_assets.errors import InputError
from crm_assets.workspace.keys import BaselineKey, RunKey, parse_dataset

names = st.from_regex(r"[a-z0-9_-]{1,40}", fullmatch=True)
moments = st.datetimes(timezones=st.just(timezone.utc)).map(lambda moment: moment.replace(microsecond=0))
runs = st.builds(RunKey, moments, st.just("") | names)


@given(runs)
def test_a_run_key_survives_its_text(run: RunKey) -> None:
    assert RunKey.parse(str(run)) == run


@given(names, runs)
def test_a_baseline_key_survives_its_text(dataset: str, run: RunKey) -> None:
    key = BaselineKey(dataset, run)
    assert BaselineKey.parse(str(key)) == key
    assert BaselineKey.of(dataset, str(run)) == key


def test_the_form_of_a_run_key() -> None:
    run = RunKey(datetime(2026, 1, 31, 9, 30, 5, tzinfo=timezone.utc), "trial")
    assert str(run) == "20260131T093005Z-trial"
    assert run.timestamp == "20260131T093005Z"
    assert str(RunKey(datetime(7, 1, 1, tzinfo=timezone.utc))) == "00070101T000000Z"


def test_now_is_now_and_takes_a_label() -> None:
    before = datetime.now(timezone.utc).replace(microsecond=0)
    run = RunKey.now("noop")
    assert before <= run.started <= datetime.now(timezone.utc)
    assert run.label == "noop"
    with pytest.raises(InputError):
        RunKey.now("two words")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20260131T093000",
        "20260131T093000z",
        "20260131 093000Z",
        "2026-01-31T09:30:00Z",
        "20260131T093000Z-",
        "20260131T093000Z-A",
        "20260131T093000Z-a|b",
        "20260131T093000Z-a,b",
        "20260131T093000Z/../x",
        "20260131T093000Z\n",
        "２０260131T093000Z",
        "20260230T093000Z",
        "20260131T240000Z",
        "20260131T093060Z",
        "00000131T093000Z",
        "20260131T093000Z-" + "a" * 100,
    ],
)
def test_what_is_no_run_key_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(InputError, match="is not a run key") as raised:
        RunKey.parse(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text", ["", "Dev", "de v", "dev|x", "dev,x", "dev/x", "..", "dev\n", "dév", "a" * 101]
)
def test_what_is_no_dataset_key_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(InputError, match="is not a dataset key") as raised:
        parse_dataset(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "dev", "dev|", "|20260131T093000Z", "dev|20260131T093000Z|x", "a|b"])
def test_what_is_no_partition_key_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        BaselineKey.parse(text)


def test_a_run_id_is_stable_and_tells_baselines_apart() -> None:
    key = BaselineKey.of("dev", "20260131T093000Z")
    assert key.run_id == BaselineKey.of("dev", "20260131T093000Z").run_id
    assert key.run_id.startswith("20260131T093000Z-")
    others = [BaselineKey.of("demo", "20260131T093000Z"), BaselineKey.of("dev", "20260131T093000Z-a")]
    assert len({key.run_id, *(other.run_id for other in others)}) == 3


def test_keys_do_not_cost_dagsters_import() -> None:
    script = "import sys, crm_assets.workspace.keys; sys.exit('dagster' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
