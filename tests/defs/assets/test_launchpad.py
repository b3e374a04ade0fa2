"""What the launchpad offers, and refuses before anything runs."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from crm_assets.atlas.plan import plan_fields
from crm_assets.definitions import defs
from crm_assets.defs.checks import SMOKE_JOB
from crm_assets.defs.jobs import BASELINE_JOB, HARNESS_JOB, JOBS


def fields(job: str, op: str) -> dict[str, Any]:
    schema = defs.resolve_job_def(job).run_config_schema.run_config_schema_type
    ops = schema.fields["ops"].config_type.fields  # type: ignore[attr-defined]
    return dict(ops[op].config_type.fields["config"].config_type.fields)


@pytest.mark.parametrize("op", ["dataset_revision", "atlas_tasks", "atlas_sessions"])
def test_every_option_says_what_it_is(op: str) -> None:
    for name, field in fields(BASELINE_JOB, op).items():
        assert field.description, name


def test_the_options_that_users_ask_for_are_there() -> None:
    offered = fields(BASELINE_JOB, "atlas_sessions").keys()
    own = {"overwrite", "resume", "retries", "as_planned", "accept_cost", "shards", "shard_minutes"}
    assert {field.name for field in plan_fields()} | own == offered
    conversations = {"limit", "part", "split", "seed"}
    own = {"overwrite", "agent", "config", "as_planned"}
    assert fields(BASELINE_JOB, "atlas_tasks").keys() == {*conversations, *own}


@pytest.mark.parametrize(
    ("option", "wrong"),
    [("agent", "psychic"), ("learning", "maybe"), ("mode", "solo"), ("feedback", "all"), ("nonsense", 1)],
)
def test_the_launchpad_refuses_what_is_no_choice(option: str, wrong: object) -> None:
    config = {"ops": {"atlas_sessions": {"config": {option: wrong}}}}
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(defs.resolve_job_def(BASELINE_JOB), config)


def default_config(job: str) -> dict[str, Any]:
    definition = defs.resolve_job_def(job)
    partitioned = definition.partitioned_config
    if partitioned is None:  # a sweep plans its own partitions
        return {}
    return dict(partitioned.get_run_config_for_partition_key("any"))


@pytest.mark.parametrize("job", [job.name for job in JOBS])
def test_a_job_can_be_launched_with_nothing_filled_in(job: str) -> None:
    definition = defs.resolve_job_def(job)
    assert definition.description
    dg.validate_run_config(definition, default_config(job))


def test_the_harness_baseline_is_the_student_alone() -> None:
    ops = default_config(HARNESS_JOB)["ops"]
    assert ops["atlas_sessions"]["config"]["agent"] == ops["atlas_tasks"]["config"]["agent"] == "student"


def test_the_smoke_job_is_one_conversation_in_mode_paired() -> None:
    ops = default_config(SMOKE_JOB)["ops"]
    assert ops["atlas_tasks"]["config"]["limit"] == 1
    assert ops["atlas_sessions"]["config"]["mode"] == "paired"
