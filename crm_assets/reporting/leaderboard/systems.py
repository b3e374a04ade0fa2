"""Groups the runs of a dataset into systems, of one sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from crm_assets.errors import InputError
from crm_assets.records import RunHeader, SessionLog
from crm_assets.reporting.comparison.matrix_models import SetApart
from crm_assets.reporting.formats import counted
from crm_assets.reporting.metrics import read_metrics
from crm_assets.reporting.models import Metrics
from crm_assets.reporting.run_figures import RunFigures, Sample
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.project import Project
from crm_assets.workspace.run_names import in_order

__all__ = ["DatasetSystems", "SystemRun", "SystemRuns", "systems_of"]

_MOST_RUNS = 60
"""Newest runs of a dataset that are looked at: the pairs of systems grow with their square."""
_OF_THE_RUN = ("epochs", "namespace")
"""Facts of an agent that are no part of the system: how often it ran, and where its lessons went."""


@dataclass(frozen=True)
class SystemRun:
    """A finished run."""

    paths: BaselinePaths
    metrics: Metrics
    header: RunHeader

    @property
    def figures(self) -> RunFigures:
        """Return its headline figures."""
        return RunFigures.of(self.metrics)


@dataclass
class SystemRuns:
    """A system with its runs, newest first."""

    key: str
    """The same for all runs of the system, on any dataset."""
    runs: list[SystemRun] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return the agent with its model and configuration."""
        newest = self.runs[0]
        config = newest.header.config_path
        parts = [newest.figures.who, config.rpartition("/")[2] if config else None]
        if (playbook := newest.header.playbook) is not None:
            learning = "learning" if (newest.header.agent or {}).get("learning") == "on" else "frozen"
            entries = counted(playbook.entries, "playbook entry", "playbook entries")
            parts.append(f"{learning}, {entries if playbook.entries else 'empty playbook'} at the start")
        return ", ".join(filter(None, parts))


@dataclass(frozen=True)
class DatasetSystems:
    """The systems of a dataset, by sample (see `run_figures.Sample`), newest first."""

    samples: dict[Sample, dict[str, SystemRuns]]
    unusable: list[SetApart]
    """Runs of no sample."""

    @property
    def keys(self) -> set[str]:
        """Return the keys of all systems."""
        return {key for systems in self.samples.values() for key in systems}

    def choose(self, preferred: set[str]) -> tuple[list[SystemRuns], list[SetApart]]:
        """Return the systems of one sample, and the runs that are not comparable with them.

        It is the sample with the most systems among `preferred`, then with the most at all; of equals, the
        newest.
        """

        def size(sample: Sample) -> tuple[int, int]:
            return len(preferred & set(self.samples[sample])), len(self.samples[sample])

        chosen = max(self.samples, key=size)
        apart = [
            SetApart(run=str(run.paths.key), reason=chosen.differences(sample))
            for sample, systems in self.samples.items()
            if sample != chosen
            for run in _runs(systems)
        ]
        return list(self.samples[chosen].values()), [*self.unusable, *apart]


def systems_of(project: Project, dataset: str) -> DatasetSystems:
    """Return the systems of a dataset.

    Raises:
        InputError: the dataset has no finished run.
    """
    apart: list[SetApart] = []
    runs = list(_finished(project, dataset, apart))
    if not runs:
        raise InputError(
            f"Dataset {dataset} has no finished run; make one by crm-assets baseline --dataset {dataset}."
        )
    samples: dict[Sample, dict[str, SystemRuns]] = {}
    for run in runs:
        systems = samples.setdefault(_sample(run), {})
        key = _key(run)
        systems.setdefault(key, SystemRuns(key)).runs.append(run)
    return DatasetSystems(samples, apart)


def _runs(systems: Mapping[str, SystemRuns]) -> list[SystemRun]:
    return [run for system in systems.values() for run in system.runs]


def _finished(project: Project, dataset: str, apart: list[SetApart]) -> Sequence[SystemRun]:
    found: list[SystemRun] = []
    for paths in reversed([each for each in in_order(project, dataset) if each.finished]):
        if len(found) == _MOST_RUNS:
            apart.append(SetApart(run=str(paths.key), reason=f"older than the newest {_MOST_RUNS} runs"))
            continue
        try:
            run = SystemRun(paths, read_metrics(paths.metrics), SessionLog(paths.sessions).header)
        except InputError as error:
            apart.append(SetApart(run=str(paths.key), reason=str(error).rstrip(".")))
            continue
        if run.metrics.origin is not None and run.metrics.origin.kind != "import":
            apart.append(SetApart(run=str(paths.key), reason=f"a {run.metrics.origin.label}"))
        elif run.metrics.not_run:
            apart.append(SetApart(run=str(paths.key), reason="its budget did not cover all sessions"))
        else:
            found.append(run)
    return found


def _sample(run: SystemRun) -> Sample:
    """Return the run's sample; repeats of a conversation are averaged, so their number does not matter."""
    return run.figures.sample._replace(epochs=1, replay_of=None)


def _key(run: SystemRun) -> str:
    facts: dict[str, Any] = {
        name: value for name, value in (run.header.agent_config or {}).items() if name not in _OF_THE_RUN
    }
    facts["code"] = run.header.code
    if (playbook := run.header.playbook) is not None:
        facts["playbook"] = playbook.sha256 if playbook.entries else "empty"
    return orjson.dumps(facts, option=orjson.OPT_SORT_KEYS).decode()
