"""Works off runs that standard input names, a JSON line each, and answers each with a line."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import orjson

from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.run_plan import run_plan
from crm_assets.database import connect_databases
from crm_assets.errors import CrmAssetsError
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.project import Project


def main() -> None:
    with os.fdopen(os.dup(1), "wb", buffering=0) as answers:
        os.dup2(2, 1)  # whatever else is printed is no answer
        for line in sys.stdin.buffer:
            answers.write(orjson.dumps(outcome(orjson.loads(line))) + b"\n")


def outcome(order: dict[str, object]) -> dict[str, object]:
    fields = dict(order["plan"])  # type: ignore[call-overload]
    plan = SessionPlan(**{**fields, "config": Path(fields["config"])})
    project = Project(Path(str(order["root"])))
    started, cpu = time.perf_counter(), time.process_time()
    try:
        summary = run_plan(
            RunFiles(Path(str(order["folder"]))),
            plan,
            project=project,
            databases=connect_databases(project),
            dataset="dev",
        )
    except CrmAssetsError as error:
        return {"error": type(error).__name__, "message": str(error)}
    spent = {"wall": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    return {**{name: getattr(summary, name) for name in ("total", "succeeded", "not_run")}, **spent}


if __name__ == "__main__":
    main()
