"""Options and arguments that name a dataset, a run or a model, with their completion in the shell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import click
from click.shell_completion import CompletionItem

from crm_assets.workspace.baseline_files import runs_of
from crm_assets.workspace.datasets import available_datasets
from crm_assets.workspace.keys import is_name
from crm_assets.workspace.project import find_project
from crm_assets.workspace.run_names import LATEST

__all__ = ["DATASET", "MODEL", "ROLE", "RUN", "dataset_option", "run_option"]

_Command = TypeVar("_Command", bound=Callable[..., object])


class _DatasetName(click.ParamType[str]):
    name = "dataset"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return _starting(incomplete, available_datasets(find_project()))


class _RunName(click.ParamType[str]):
    """A run of the dataset that the same command names; also several of them, separated by commas."""

    name = "run"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        dataset = ctx.params.get("dataset")
        if not isinstance(dataset, str) or not is_name(dataset):
            return []
        keys = [str(paths.key.run) for paths in runs_of(find_project(), dataset)]
        before, comma, last = incomplete.rpartition(",")
        found = _starting(last, [*reversed(keys), LATEST])
        return [CompletionItem(f"{before}{comma}{item.value}") for item in found]


class _ModelName(click.ParamType[str]):
    name = "model"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        import yaml

        from crm_assets.offline_models.dispatch import MODELS

        files = find_project().configs.glob("*.yaml")
        documents = [yaml.safe_load(file.read_bytes()) for file in files]
        configured = sorted({name for document in documents for name in _models_in(document)})
        return _starting(incomplete, [*configured, *(f"offline/{name}" for name in MODELS)])


class _RoleName(click.ParamType[str]):
    name = "role"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from crm_assets.llm import ROLES

        return click.Choice(ROLES).convert(value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from crm_assets.llm import ROLES

        return _starting(incomplete, ROLES)


def _models_in(document: object) -> Iterator[str]:
    """Yield the models that a configuration names, at any depth, as `provider/model`."""
    if isinstance(document, dict):
        if isinstance(document.get("model"), str) and "provider" in document:
            yield f"{document['provider']}/{document['model']}"
        for value in document.values():
            yield from _models_in(value)


def _starting(incomplete: str, names: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


DATASET = _DatasetName()
RUN = _RunName()
MODEL = _ModelName()
ROLE = _RoleName()


def dataset_option(
    *,
    required: bool = True,
    default: str | None = None,
    help: str = "A file's stem in data/conversations.",
) -> Callable[[_Command], _Command]:
    """Return the option `--dataset`."""
    return click.option(
        "--dataset",
        type=DATASET,
        required=required,
        default=default,
        show_default=default is not None,
        help=help,
    )


def run_option(
    *,
    required: bool = False,
    help: str = "YYYYMMDDTHHMMSSZ[-label], the start of a run's key, or latest; left out, a new run.",
) -> Callable[[_Command], _Command]:
    """Return the option `--run`."""
    return click.option("--run", "run", type=RUN, metavar="KEY", required=required, help=help)
