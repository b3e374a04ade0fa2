"""Commands that take a `SessionPlan`: its fields are their options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from crm_assets.cli.names import MODEL, RUN
from crm_assets.errors import InputError
from crm_assets.workspace.project import find_project
from crm_assets.workspace.run_names import find_run

if TYPE_CHECKING:
    from crm_assets.atlas.choices import AgentKind
    from crm_assets.atlas.plan import PlanField

__all__ = ["PlanCommand", "given_options"]

_GIVEN = "crm_assets.given_options"


class PlanCommand(click.Command):
    """A command whose function is called with a `plan`, made from options that the plan's fields describe.

    The options are made when they are first needed: `crm-assets --help` does not load pydantic.
    """

    def __init__(self, *args: Any, agents: Sequence[AgentKind] | None = None, **options: Any) -> None:
        """Make the command.

        Args:
            args: for `click.Command`.
            agents: what the command can run, its default first; None for every agent. Fields that have
                no effect with any of them are left out.
            options: for `click.Command`.
        """
        super().__init__(*args, **options)
        self._agents = agents
        self._plan_params: list[click.Parameter] | None = None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters, then the plan's, then `--help`."""
        own = super().get_params(ctx)
        if self._plan_params is None:
            self._plan_params = _plan_params(self._agents)
        return [*own[:-1], *self._plan_params, own[-1]]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command with the plan in place of its fields.

        Raises:
            InputError: the options do not go together.
        """
        from crm_assets.atlas.plan import SessionPlan

        chosen = {name: ctx.params.pop(name, None) for name in SessionPlan.model_fields}
        if self._agents is not None and chosen["agent"] is None:
            chosen["agent"] = self._agents[0]
        plan = SessionPlan(**{name: value for name, value in chosen.items() if value is not None})
        ctx.meta[_GIVEN] = {
            name: chosen[name]
            for name in chosen
            if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        }
        if plan.replay is not None and not plan.replay.exists() and ctx.params.get("dataset"):
            named = find_run(find_project(), str(ctx.params["dataset"]), str(plan.replay)).run
            plan = plan.model_copy(update={"replay": Path(str(named))})
        if plan.recorded is not None and not plan.recorded.is_file():
            raise InputError(f"{plan.recorded} is not a file: give --recorded a past run's results file.")
        ctx.params["plan"] = plan
        return super().invoke(ctx)


def given_options() -> dict[str, Any]:
    """Return the plan's fields that the command line of a `PlanCommand` gives, without defaults."""
    given: dict[str, Any] = click.get_current_context().meta[_GIVEN]
    return given


class _RunOrPath(click.ParamType[Path]):
    """A run's key, or the path of its folder or ledger: a path that exists is made absolute."""

    name = "run"
    shell_complete = RUN.shell_complete

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        return path.resolve() if path.exists() else path


def _plan_params(agents: Sequence[AgentKind] | None) -> list[click.Parameter]:
    return [
        click.Option(
            [*(field.use.flags or (f"--{field.name.replace('_', '-')}",)), field.name],
            type=_type(field),
            default=field.default,
            show_default=field.default is not None,
            metavar=field.use.metavar,
            help=field.help,
        )
        for field in _offered(agents)
    ]


def _offered(agents: Sequence[AgentKind] | None) -> list[PlanField]:
    """Return the fields that a command for `agents` offers."""
    from crm_assets.atlas.plan import plan_fields

    if agents is None:
        return list(plan_fields())
    fields = [field for field in plan_fields() if set(agents) & set(field.use.agents)]
    agent = fields[0]._replace(choices=tuple(agents), default=agents[0])
    return [agent, *fields[1:]] if len(agents) > 1 else fields[1:]


def _type(field: PlanField) -> click.ParamType[Any]:
    """Return click's type of a field: its choices or bounds; paths are made absolute."""
    from crm_assets.atlas.choices import MODEL_ROLES

    if field.choices:
        return click.Choice(field.choices)
    if field.name == "replay":
        return _RunOrPath()
    if field.type is Path:
        return click.Path(path_type=Path, resolve_path=True)
    if field.name in MODEL_ROLES:
        return MODEL
    if field.type is str:
        return click.STRING
    bound = next(iter(field.bounds), None)
    above = getattr(bound, "gt", None)
    return (click.IntRange if field.type is int else click.FloatRange)(
        min=getattr(bound, "ge", above), min_open=above is not None
    )
