"""The UI and the history with many baselines: how long a person waits, and what Dagster's server takes.

One baseline is really made; its events and files then stand for all the others, under other keys.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
from playwright.sync_api import Page, Request
from psycopg import sql

from crm_assets.database import connect_databases
from crm_assets.defs.partitions import DATASET_PARTITIONS, RUN_PARTITIONS
from crm_assets.orchestration.materialize import open_instance, refresh_history
from crm_assets.reporting.history import HistoryPaths
from crm_assets.reporting.run_list import runs_of
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from tests.ui import person
from tests.ui.chromium import Viewer, find_chromium, viewer
from tests.ui.serving import REPOSITORY, crm_assets, environment, own_project, served

DATASETS, RUNS, BASELINES = 50, 2_000, 500
_PATTERN = "dev"
_ALL = "all"
_FIRST = datetime(2026, 1, 1, tzinfo=timezone.utc)
_LOOKS = 3

# What stands for a run in Dagster's storage; asset_event_tags comes after, since it names events by ID.
_TABLES = ("runs", "run_tags", "event_logs", "asset_check_executions")


@dataclass(frozen=True)
class Wait:
    """How long a page took, in seconds, at the median of some looks."""

    page: str
    shown: float
    """Until it showed what it is for, in the browser."""
    answered: float
    """Its slowest question to the server."""
    question: str
    """Which one that was."""


def report(scale: int) -> None:
    """Print all figures; `scale` 10 does a tenth of the work."""
    imports, more = definitions_seconds()
    print(f"definitions: {more:.2f} s beyond importing dagster ({imports:.2f} s)")
    with own_project() as project:
        keys, events = fill(project, RUNS // scale, BASELINES // scale)
        print(
            f"{DATASETS} datasets x {RUNS // scale:,} runs, {len(keys)} baselines, {events:,} events; "
            f"each baseline with {_sessions_megabytes(project, keys[0]):.1f} MB of sessions"
        )
        for dataset, count in ((keys[0].dataset, len(keys) // DATASETS), (_ALL, len(keys))):
            cold, warm = history_seconds(project, dataset)
            print(f"history of {count:,} baselines: {cold:.1f} s; with one new baseline {warm:.1f} s")
        chromium = find_chromium()
        if chromium is None:
            print("pages: not measured, since no browser was found")
            return
        with served(project, daemon=False) as address, viewer(chromium, address) as view:
            for wait in waits(view, keys[-1]):
                print(
                    f"{wait.page}: shown after {wait.shown:.2f} s; slowest answer {wait.answered:.2f} s "
                    f"({wait.question})"
                )


_DEFINITIONS = """
import time
begun = time.perf_counter()
import dagster
imported = time.perf_counter()
from crm_assets.definitions import defs
defs.get_repository_def()
print(imported - begun, time.perf_counter() - imported)
"""


def definitions_seconds() -> tuple[float, float]:
    """Seconds to import dagster, and to load our definitions after that, in a process of its own."""
    best = (float("inf"), float("inf"))
    for _ in range(_LOOKS):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _DEFINITIONS], check=True, capture_output=True, text=True
        )
        imports, more = map(float, done.stdout.split())
        best = min(best, (imports, more), key=lambda pair: pair[1])
    return best


def fill(project: Project, runs: int, baselines: int) -> tuple[list[BaselineKey], int]:
    """Register everything and make `baselines` of it: their keys, and how many events there are."""
    shutil.copy(REPOSITORY / "data" / "conversations" / "dev.jsonl", project.conversations)
    first = BaselineKey.of(_PATTERN, f"{_FIRST:%Y%m%dT%H%M%SZ}")
    printed = crm_assets(project, "baseline", "--dataset", _PATTERN, "--run", str(first.run))
    run_id = printed.strip().rsplit("/runs/", 1)[-1]
    times = [_FIRST + timedelta(hours=1 + number) for number in range(runs)]
    run_keys = [f"{moment:%Y%m%dT%H%M%SZ}" for moment in times]
    datasets = [f"set-{number:02d}" for number in range(DATASETS)]
    for dataset in (*datasets, _ALL):
        os.link(project.dataset_file(_PATTERN), project.dataset_file(dataset))
    keys = [BaselineKey.of(datasets[number % DATASETS], run_keys[number]) for number in range(baselines)]
    with _at_home(project), open_instance(project) as instance:
        instance.add_dynamic_partitions(DATASET_PARTITIONS.name or "", datasets)
        instance.add_dynamic_partitions(RUN_PARTITIONS.name or "", run_keys)
    for key in keys:
        _link(project, first, key)
        _link(project, first, BaselineKey(_ALL, key.run))
    return keys, _copy_events(project, first, run_id, keys)


@contextmanager
def _at_home(project: Project) -> Iterator[None]:
    """This process works in `project`, as one that the command line or Dagster starts does."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment(project))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _link(project: Project, first: BaselineKey, key: BaselineKey) -> None:
    """The files of `first` are those of `key`, too."""
    source, target = BaselinePaths.of(project, first).folder, BaselinePaths.of(project, key).folder
    shutil.copytree(source, target, copy_function=os.link)


def _copy_events(project: Project, first: BaselineKey, run_id: str, keys: list[BaselineKey]) -> int:
    """Tell Dagster of `keys` what it knows of `first`; returns how many events it has then."""
    url = connect_databases(project).dagster.replace("+psycopg2", "")
    with psycopg.connect(url) as connection:
        columns = _text_columns(connection)
        for key in keys:
            names = {
                run_id: f"{run_id[:-12]}{abs(hash(key)) % 16**12:012x}",
                str(first): str(key),
                f'"{first.run}"': f'"{key.run}"',
                f'"{first.dataset}"': f'"{key.dataset}"',
            }
            for table in _TABLES:
                _copy_rows(connection, table, columns[table], run_id, names)
            _copy_event_tags(connection, run_id, names)
        connection.execute("ANALYZE")
        row = connection.execute("SELECT count(*) FROM event_logs").fetchone()
    return int(row[0]) if row else 0


def _text_columns(connection: psycopg.Connection[Any]) -> dict[str, dict[str, bool]]:
    """The columns of each table, and whether they are text; without IDs, which number themselves."""
    columns: dict[str, dict[str, bool]] = {}
    for table, column, kind in connection.execute(
        "SELECT table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = 'public' AND column_name <> 'id' ORDER BY ordinal_position"
    ):
        columns.setdefault(table, {})[column] = kind in ("text", "character varying")
    return columns


def _copy_rows(
    connection: psycopg.Connection[Any],
    table: str,
    columns: dict[str, bool],
    run_id: str,
    names: dict[str, str],
) -> None:
    values = [
        _renamed(sql.Identifier(name), names) if is_text else sql.Identifier(name)
        for name, is_text in columns.items()
    ]
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} WHERE run_id = {} ORDER BY id").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(values),
            sql.Identifier(table),
            sql.Literal(run_id),
        )
    )


def _copy_event_tags(connection: psycopg.Connection[Any], run_id: str, names: dict[str, str]) -> None:
    """The tags of the copied events, and the events that the copied evaluations of checks are of."""
    renamed = {"run": run_id, "copy": names[run_id]}
    connection.execute(
        sql.SQL(
            "INSERT INTO asset_event_tags (event_id, asset_key, key, value, event_timestamp) "
            "SELECT new.id, tag.asset_key, tag.key, {}, tag.event_timestamp FROM asset_event_tags tag "
            "JOIN event_logs old ON old.id = tag.event_id AND old.run_id = %(run)s "
            "JOIN event_logs new ON new.run_id = %(copy)s AND new.timestamp = old.timestamp "
            "AND new.dagster_event_type = old.dagster_event_type AND new.asset_key = old.asset_key"
        ).format(_renamed(sql.SQL("tag.value"), _partition_parts(names))),
        renamed,
    )
    for column in ("evaluation_event_storage_id", "materialization_event_storage_id"):
        connection.execute(
            sql.SQL(
                "UPDATE asset_check_executions made SET {column} = new.id FROM event_logs old "
                "JOIN event_logs new ON new.run_id = %(copy)s AND new.timestamp = old.timestamp "
                "AND new.dagster_event_type = old.dagster_event_type "
                "AND new.step_key IS NOT DISTINCT FROM old.step_key "
                "WHERE made.run_id = %(copy)s AND old.id = made.{column}"
            ).format(column=sql.Identifier(column)),
            renamed,
        )


def _partition_parts(names: dict[str, str]) -> dict[str, str]:
    """The renaming of a partition's parts, which stand alone in tags."""
    return {old.strip('"'): new.strip('"') for old, new in names.items()}


def _renamed(value: sql.Composable, names: dict[str, str]) -> sql.Composable:
    for old, new in names.items():
        value = sql.SQL("replace({}, {}, {})").format(value, sql.Literal(old), sql.Literal(new))
    return value


def _sessions_megabytes(project: Project, key: BaselineKey) -> float:
    return BaselinePaths.of(project, key).sessions.stat().st_size / 1e6


def history_seconds(project: Project, dataset: str) -> tuple[float, float]:
    """Seconds to materialize a history from nothing, and when one of its baselines is new."""
    with _at_home(project), open_instance(project) as instance:
        HistoryPaths.of(project, dataset).document.unlink(missing_ok=True)
        begun = time.perf_counter()
        refresh_history(instance, dataset)
        cold = time.perf_counter() - begun
        *_, last = runs_of(project, dataset)
        newest = last.sessions
        content = newest.read_bytes()
        newest.unlink()
        newest.write_bytes(content)  # a file of its own, and newer
        begun = time.perf_counter()
        refresh_history(instance, dataset)
        return cold, time.perf_counter() - begun


def waits(view: Viewer, key: BaselineKey) -> Iterator[Wait]:
    """How long people wait for the pages that they open."""
    pages = {
        "graph": (f"{person.GROUP_PAGE}/baseline", "baseline_metrics"),
        "baseline_metrics": ("/assets/baseline_metrics", "strict_success"),
        "baseline_metrics, one baseline": (
            f"/assets/baseline_metrics?view=partitions&partition={key}",
            "strict_success",
        ),
        "baseline_readme": ("/assets/baseline_readme", "[Show Markdown]"),
        "baseline_history": ("/assets/baseline_history", "progression"),
        "runs": ("/runs", "Launched by"),
    }
    for page, (path, text) in pages.items():
        with view.page(None, width=1600) as tab:
            _look(tab, page, view.address + path, text)  # the UI's code is loaded once, and then kept
            looks = [_look(tab, page, view.address + path, text) for _ in range(_LOOKS)]
        yield sorted(looks, key=lambda look: look.shown)[len(looks) // 2]


def _look(tab: Page, name: str, address: str, text: str) -> Wait:
    tab.goto("about:blank")
    answers: dict[str, float] = {}
    listener = _listener(answers)
    tab.on("requestfinished", listener)
    begun = time.perf_counter()
    tab.goto(address)
    tab.get_by_text(text, exact=True).first.wait_for()
    shown = time.perf_counter() - begun
    tab.wait_for_load_state("networkidle")
    tab.remove_listener("requestfinished", listener)
    question, answered = max(answers.items(), key=lambda pair: pair[1])
    return Wait(name, shown, answered, question)


def _listener(answers: dict[str, float]) -> Callable[[Request], None]:
    """Keeps in `answers` the seconds that each kind of question to the server took at most."""

    def note(request: Request) -> None:
        if "/graphql" in request.url:
            seconds = (request.timing["responseEnd"] - request.timing["requestStart"]) / 1000
            question = str((request.post_data_json or {}).get("operationName"))
            answers[question] = max(seconds, answers.get(question, 0.0))

    return note


if __name__ == "__main__":
    report(1)
