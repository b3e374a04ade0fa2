"""The executors that a run may choose from: in its own process, in several, or on workers elsewhere.

One definition holds them all, as Dagster's default executor holds two, so that every job can be launched
with each (`execution: {config: {multiprocess: {}}}`). The environment says which others there are, since
their packages take half a second to import, and which one is the default of a whole deployment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

import dagster as dg
from dagster import InitExecutorContext, multiple_process_executor_requirements
from dagster._core.definitions.executor_definition import ExecutorRequirement

from crm_assets.defs.celery_workers import refuse_careless_workers
from crm_assets.errors import ConfigError

__all__ = ["BROKER_VARIABLE", "EXECUTOR_VARIABLE", "executors", "make_executor"]

EXECUTOR_VARIABLE = "CRM_ASSETS_EXECUTOR"
"""Environment variable: the executor of runs that choose none."""
BROKER_VARIABLE = "CRM_ASSETS_BROKER"
"""Environment variable: the address of Celery's broker."""
BACKEND_VARIABLE = "CRM_ASSETS_RESULT_BACKEND"
"""Environment variable: where Celery's workers leave results; left out, the broker itself (`rpc://`)."""

_IN_PROCESS = "in_process"


def executors(environment: Mapping[str, str]) -> dict[str, dg.ExecutorDefinition]:
    """Return the executors that an environment offers, by name: Celery's where it names a broker.

    Raises:
        ConfigError: the package of one is not installed.
    """
    found = {_IN_PROCESS: dg.in_process_executor, "multiprocess": dg.multiprocess_executor}
    wanted = environment.get(EXECUTOR_VARIABLE)
    try:
        if wanted == "celery" or environment.get(BROKER_VARIABLE):
            from dagster_celery import celery_executor  # noqa: PLC0415  (optional)

            found["celery"] = celery_executor
        if wanted == "k8s":
            from dagster_k8s import k8s_job_executor  # noqa: PLC0415  (optional)

            found["k8s"] = k8s_job_executor
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"The environment asks for an executor whose package {error.name} is not installed: install "
            f"crm-assets[celery] or crm-assets[k8s], or unset {EXECUTOR_VARIABLE} and {BROKER_VARIABLE}."
        ) from error
    return found


def make_executor(environment: Mapping[str, str] = os.environ) -> dg.ExecutorDefinition:
    """Return the executor of all jobs.

    Raises:
        ConfigError: the environment names a default that there is not.
    """
    choices = executors(environment)
    default = environment.get(EXECUTOR_VARIABLE) or _IN_PROCESS
    if default not in choices:
        raise ConfigError(
            f"{EXECUTOR_VARIABLE} is {default!r}; set it to in_process, multiprocess, celery or k8s."
        )

    def requirements(config: Mapping[str, Any]) -> Sequence[ExecutorRequirement]:
        return [] if _IN_PROCESS in config else multiple_process_executor_requirements()

    def create(context: InitExecutorContext) -> dg.Executor:
        ((name, config),) = cast("Mapping[str, Mapping[str, Any]]", context.executor_config).items()
        chosen = choices[name]
        if name == "celery":
            config = _with_broker(config, environment)
            if config["broker"]:
                refuse_careless_workers(config["broker"])
        assert chosen.executor_creation_fn is not None
        return chosen.executor_creation_fn(context._replace(executor_def=chosen, executor_config=config))

    schema = dg.Field(
        dg.Selector(  # type: ignore[no-untyped-call]
            {name: choice.config_schema.as_field() for name, choice in choices.items()}
        ),
        default_value={default: {}},
        description="Where the steps of a run are executed.",
    )
    return dg.ExecutorDefinition(
        name="crm_assets", config_schema=schema, requirements=requirements, executor_creation_fn=create
    )


def _with_broker(config: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return Celery's configuration with the addresses of the environment, where it has none itself."""
    broker, backend = environment.get(BROKER_VARIABLE), environment.get(BACKEND_VARIABLE)
    return {
        **config,
        "broker": config.get("broker") or broker,
        "backend": backend if backend and config.get("backend") == "rpc://" else config.get("backend"),
    }
