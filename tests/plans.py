"""Plans that together set every field of `SessionPlan`, in the ways that users write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import yaml

from crm_assets.atlas.plan import SessionPlan, plan_fields
from crm_assets.workspace.project import Project

__all__ = ["as_flags", "every_option"]


def every_option(project: Project) -> list[SessionPlan]:
    """Return plans that set each field to another value than its default, on files that exist."""
    config = project.root / "changed.yaml"
    document = yaml.safe_load((project.configs / "crm_harness.dev.yaml").read_bytes())
    config.write_text(yaml.safe_dump({**document, "feedback": "none"}))
    ledger = project.root / "ledger.jsonl"
    ledger.touch()
    past = project.root / "past.jsonl"
    past.write_bytes(orjson.dumps({"conversation_id": "one", "per_turn_results": []}) + b"\n")
    with_models = {
        "config": config,
        "student": "offline/student",
        "teacher": "offline/teacher",
        "judge": "offline/judge",
        "learner": "offline/learner",
        "learning": "frozen",
        "namespace": "trial",
        "mode": "coach",
        "feedback": "oracle",
        "engine": "sdk",
        "epochs": 3,
        "concurrency": 5,
        "budget_usd": 1.5,
        "budget_tokens": 100,
        "replay": ledger,
    }
    plans = [
        SessionPlan.model_validate(with_models),
        SessionPlan.model_validate({**with_models, "agent": "student"}),
        SessionPlan(agent="recorded", recorded=past, workers=2, concurrency=4),
    ]
    never_set = [
        field.name
        for field in plan_fields()
        if all(getattr(plan, field.name) == field.default for plan in plans)
    ]
    assert not never_set, f"give these fields a value here: {never_set}"
    return plans


def as_flags(plan: SessionPlan) -> list[str]:
    """Return a plan as a command line, with paths relative to the current folder."""
    flags: list[str] = []
    for field in plan_fields():
        value: Any = getattr(plan, field.name)
        if value == field.default:
            continue
        if isinstance(value, Path):
            value = value.relative_to(Path.cwd())
        flag = field.use.flags[0] if field.use.flags else f"--{field.name.replace('_', '-')}"
        flags += [flag, str(value)]
    return flags
