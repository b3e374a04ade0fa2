"""Whole runs of the loop: projects with databases of their own, configurations, models over real HTTP."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import psycopg
import yaml

from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.run_plan import run_plan
from crm_assets.atlas.tasks import write_tasks
from crm_assets.database import connect_databases
from crm_assets.engine import RunSummary
from crm_assets.generator import generate
from crm_assets.llm import LedgerEntry, Message, read_ledger
from crm_assets.offline_models import answer
from crm_assets.offline_models.requests import request_of
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.project import Project
from tests.llm.scripted_server import Recorded, Scripted
from tests.projects import ADDRESSES, ProjectDatabases
from tests.servers import short_folder
from tests.waiting import HANG_SECONDS

__all__ = [
    "KEY",
    "PRICES",
    "Loop",
    "asked",
    "differences",
    "loop_project",
    "models_at",
    "offline_models",
    "role_of",
    "small_dataset",
    "telemetry_rows",
    "without_times",
    "without_tools",
]

KEY = "canary-of-the-loop-4711"
PRICES = {"usd_per_million_prompt_tokens": 0.4, "usd_per_million_completion_tokens": 1.6}

Document = dict[str, Any]


def offline_models(request: Recorded) -> Scripted:
    """The offline models as a script of the scripted server, which keeps what it was asked."""
    model = request.body["model"]
    reply = answer(model, request_of(request.body))
    message = Message("assistant", reply.content, reply.tool_calls).document()
    usage = {
        "prompt_tokens": reply.usage.prompt_tokens,
        "completion_tokens": reply.usage.completion_tokens,
        "total_tokens": reply.usage.total_tokens,
    }
    return Scripted(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason}],
            "usage": usage,
        }
    )


def without_tools(request: Recorded) -> Scripted:
    """A server that takes tools and does not show them to its model."""
    body = {name: value for name, value in request.body.items() if name not in ("tools", "tool_choice")}
    return offline_models(replace(request, body=body))


def role_of(request: Recorded) -> str:
    """Who asked: each role has a model of its own, and the turn judge shares the judge's."""
    model = str(request.body["model"])
    system = str(request.body["messages"][0]["content"])
    return "turn_judge" if model == "judge" and "turn judge" in system.partition("\n")[0] else model


def asked(requests: Iterable[Recorded], *roles: str) -> list[str]:
    """The bodies of the requests of some roles."""
    return [request.text for request in requests if role_of(request) in roles]


def models_at(url: str, **fields: Any) -> Document:
    """The sections of a configuration that name the models; one of its own for each role."""

    def model(name: str) -> Document:
        # Where nothing is said of it, nothing may time out.
        timeout = {"timeout_seconds": HANG_SECONDS}
        return {"provider": "openai", "model": name, "api_base": url, **timeout, **PRICES, **fields}

    return {
        "agent": {"llm": model("student")},
        "teacher": {"llm": model("teacher")},
        "rim": {"small_model": model("judge"), "large_model": model("arbiter-judge")},
        "learning": {"llm": model("learner")},
    }


def small_dataset(count: int, *, seed: int = 3, turns: int = 4) -> list[Document]:
    """Generated conversations, the short ones of them."""
    short = (one for one in generate(count * 8, seed) if len(one.turns) <= turns)
    return [one.model_dump(mode="json") for one, _ in zip(short, range(count), strict=False)]


@dataclass(frozen=True)
class Loop:
    """A project to run the loop in."""

    project: Project
    telemetry: str
    """Address of its telemetry database."""

    def tasks(self, documents: Sequence[Document], *, dataset: str = "dev", run: str = "one") -> RunFiles:
        """A run over `documents`, its tasks written."""
        path = self.project.dataset_file(dataset)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in documents))
        files = RunFiles(self.project.baselines / dataset / run / "atlas")
        files.folder.mkdir(parents=True)
        revision = sha256_of_file(path)
        write_tasks(path, files.tasks, dataset_revision=revision, run_id=f"20260101T000000Z-{run}")
        return files

    def config(self, *parts: Mapping[str, Any], name: str = "loop") -> Path:
        """A configuration file; later parts are merged into earlier ones."""
        document: Document = {
            "orchestration": {"forced_mode": "paired"},
            "runtime_safety": {"review": {"require_approval": False}},
        }
        for part in parts:
            document = _merged(document, part)
        path = self.project.configs / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(document))
        return path

    def run(
        self, files: RunFiles, config: Path, *, dataset: str = "dev", progress: Any = None, **plan: Any
    ) -> RunSummary:
        """Work off the tasks."""
        chosen = SessionPlan(config=config, **{"concurrency": 4, **plan})
        return run_plan(
            files,
            chosen,
            project=self.project,
            databases=connect_databases(self.project),
            dataset=dataset,
            progress=progress,
        )

    def lines(self, files: RunFiles) -> list[Document]:
        """The sessions of a run, finished or not."""
        file = files.sessions if files.sessions.exists() else files.partial
        return [orjson.loads(line) for line in file.read_bytes().splitlines()]

    def ledger(self, files: RunFiles) -> list[LedgerEntry]:
        """The calls of a run."""
        return list(read_ledger(files.ledger))

    def query(self, text: str, *parameters: object) -> list[Any]:
        """Rows of the telemetry database."""
        with psycopg.connect(self.telemetry, autocommit=True) as connection:
            return connection.execute(text, parameters).fetchall()


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> Document:
    merged = dict(one)
    for name, value in other.items():
        before = merged.get(name)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        merged[name] = _merged(before, value) if both else value  # type: ignore[arg-type]
    return merged


@contextmanager
def loop_project(databases: ProjectDatabases, **environment: str) -> Iterator[Loop]:
    """A project on databases of its own, named in its `.env`: runs need nothing of the environment."""
    root = short_folder("loop")
    (root / "workspace.yaml").write_text("load_from: []\n")
    try:
        with databases.lend("sandbox", "atlas") as variables:
            values = {**variables, "OPENAI_API_KEY": KEY, **environment}
            (root / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))
            yield Loop(Project(root), variables[ADDRESSES["atlas"]])
    finally:
        shutil.rmtree(root, ignore_errors=True)


def telemetry_rows(loop: Loop) -> str:
    """All that stands in the telemetry database, as text."""
    tables = loop.query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    rows = [loop.query(f"SELECT to_jsonb(t)::text FROM {table} AS t") for (table,) in tables]
    return "\n".join(text for found in rows for (text,) in found)


_RUNS_OWN = frozenset(
    {"replay_of", "at", "timestamp", "event_timestamp", "duration_seconds", "latency_seconds"}
)
_RUN = re.compile(r"20260101T000000Z-\w+|(?<=/dev/)\w+(?=/atlas/)")


def without_times(value: Any) -> Any:
    """A record without what differs between two runs that are the same: times, and the run's own name."""
    if isinstance(value, dict):
        return {
            name: without_times(part)
            for name, part in value.items()
            if name not in _RUNS_OWN and not name.endswith("_at")
        }
    if isinstance(value, list):
        return [without_times(part) for part in value]
    return _RUN.sub("RUN", value) if isinstance(value, str) else value


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two JSON values differ, a line each; none where they are the same."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = dict.fromkeys([*one, *other])
        pairs = [(f"{place}.{name}", one.get(name), other.get(name)) for name in names]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [
            (f"{place}[{n}]", left, right) for n, (left, right) in enumerate(zip(one, other, strict=True))
        ]
    else:
        return [] if one == other else [f"{place}: {str(one)[:200]} and {str(other)[:200]}"]
    return [line for where, left, right in pairs for line in differences(left, right, where)]
