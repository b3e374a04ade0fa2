"""A sweep: agents × configurations × datasets × repeats, each an ordinary baseline."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from crm_assets.atlas.choices import AgentKind
from crm_assets.atlas.plan import SessionPlan, plan_fields
from crm_assets.errors import InputError
from crm_assets.workspace.keys import BaselineKey, RunKey, is_name, parse_dataset
from crm_assets.workspace.yaml_documents import read_yaml

__all__ = ["SavedSweep", "SweepRun", "SweepSpec", "read_spec"]

_OWN = {"budget_usd", "config", "replay", "recorded"}
"""Fields of a plan that a sweep sets itself, or that make no sense for several runs."""
_NO_LABEL = re.compile(r"[^a-z0-9_]+")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SweepAgent(_Part):
    """An agent with the options that are its own; in the file, a name alone or a mapping."""

    model_config = ConfigDict(frozen=True, extra="allow")

    agent: AgentKind = "atlas"
    """The agent."""
    label: str = Field(default="", max_length=40)
    """Its name in run keys; left out, the agent's."""

    @model_validator(mode="before")
    @classmethod
    def _of_name(cls, value: Any) -> Any:
        return {"agent": value} if isinstance(value, str) else value

    @property
    def name(self) -> str:
        """Return the label, else the agent."""
        return _slug(self.label or self.agent)

    @property
    def options(self) -> dict[str, Any]:
        """Return its own options of the plan."""
        return dict(self.__pydantic_extra__ or {})


class SweepSpec(_Part):
    """sweep.yaml: the combinations and options of a sweep."""

    name: str = Field(default="sweep", pattern=r"^[a-z0-9_]{1,30}$")
    """Begins the label of each run."""
    datasets: tuple[str, ...] = Field(min_length=1)
    """Datasets to run."""
    agents: tuple[SweepAgent, ...] = Field(default=(SweepAgent(),), min_length=1)
    """Agents to run, each with every configuration: `atlas`, `student`, …, or a mapping with `agent`,
    `label` and options of its own, as in `{agent: atlas, label: coached, mode: coach}`."""
    configurations: tuple[Path, ...] = ()
    """Atlas configurations, relative to the project; left out, the project's default one. Agents without
    models are run once for all of them."""
    repeats: int = Field(default=1, ge=1, le=100)
    """Runs of each combination."""
    limit: int | None = Field(default=None, ge=1)
    """Conversations of each dataset, from its start; left out, all."""
    budget_usd: float | None = Field(default=None, gt=0)
    """US dollars for all runs together."""
    options: dict[str, Any] = {}
    """Further options of every run, as `crm-assets baseline` has them; an agent that does not know one goes
    without it."""


class SweepRun(NamedTuple):
    """A run of a sweep."""

    key: BaselineKey
    plan: SessionPlan


class SavedSweep(_Part):
    """sweep.json: a sweep as it was begun."""

    schema_version: Literal[1] = 1
    """Version of this document's form."""
    run: str
    """The sweep's key, from which the keys of its runs follow."""
    spec: SweepSpec
    """Its combinations and options."""
    expected_usd: dict[str, float] = {}
    """Estimated US dollars of each run, by its key: its share of the budget."""

    def runs(self) -> list[SweepRun]:
        """Return the runs: repeat by repeat, so that what changes meanwhile changes all combinations.

        Raises:
            InputError: options do not go together, or two combinations have the same name.
        """
        found = list(self._runs())
        twice = [str(key) for key, count in Counter(run.key for run in found).items() if count > 1]
        if twice:
            raise InputError(
                f"Two combinations of the sweep would be run {twice[0]}: give each agent a label of its "
                "own, and configurations different file names."
            )
        return found

    def _runs(self) -> Iterator[SweepRun]:
        spec, started = self.spec, RunKey.parse(self.run).started
        configurations = spec.configurations or (None,)
        for repeat, dataset, agent, config in product(
            range(1, spec.repeats + 1), spec.datasets, spec.agents, configurations
        ):
            plan = self._plan(agent, config)
            if not plan.asks_models and config != configurations[0]:
                continue  # it has no configuration, so one run stands for all of them
            named = [_slug(config.stem)] if config and plan.asks_models and configurations[1:] else []
            label = "-".join([spec.name, agent.name, *named, str(repeat)])
            key = BaselineKey.of(dataset, RunKey.parse(str(RunKey(started, label))))
            yield SweepRun(key, self._apart(plan, key))

    def _plan(self, agent: SweepAgent, config: Path | None) -> SessionPlan:
        chosen = {**self.spec.options, **agent.options}
        if wrong := sorted(_OWN & set(chosen)):
            raise InputError(
                f"{wrong[0]} is no option of a sweep's runs; budget_usd and configurations are keys of "
                "their own."
            )
        known = {field.name: field for field in plan_fields()}
        chosen = {
            name: value
            for name, value in {**chosen, **({"config": config} if config else {})}.items()
            if name in agent.options or name not in known or agent.agent in known[name].use.agents
        }
        return SessionPlan(agent=agent.agent, **chosen)

    def _apart(self, plan: SessionPlan, key: BaselineKey) -> SessionPlan:
        """Return the plan with a playbook of its own: runs that are compared must not teach each other."""
        if plan.agent != "atlas" or plan.namespace is not None or plan.learning in ("off", "frozen"):
            return plan
        name = f"{key.dataset}-{key.run}".lower()
        if not is_name(name):  # too long
            name = f"{str(key.run).lower()[:60]}-{sha256(str(key).encode()).hexdigest()[:12]}"
        return plan.model_copy(update={"namespace": name})


def read_spec(path: Path) -> SweepSpec:
    """Read a sweep.yaml.

    Raises:
        InputError: it cannot be read, or a key or value means nothing; all of them are named.
    """
    try:
        document = read_yaml(path.read_bytes())
    except OSError as error:
        raise InputError(f"Cannot read the sweep {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise InputError(f"{path} is not YAML: {error}.") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} is no sweep: it needs at least the key datasets.")
    try:
        spec = SweepSpec.model_validate(document)
    except ValidationError as error:
        problems = [_problem(each["loc"], each["type"], each["msg"]) for each in error.errors()]
        raise InputError(f"{path} cannot be used: {'; '.join(problems)}.") from None
    for dataset in spec.datasets:
        parse_dataset(dataset)
    return spec


def _problem(location: tuple[int | str, ...], kind: str, message: str) -> str:
    where = ".".join(str(part) for part in location)
    if kind == "extra_forbidden":
        return f"{where} is no key of a sweep"
    return f"{where} is missing" if kind == "missing" else f"{where}: {message}"


def _slug(text: str) -> str:
    return _NO_LABEL.sub("_", text.lower()).strip("_") or "x"
