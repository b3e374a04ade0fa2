"""`crm-assets agents`: agents of your own."""

from __future__ import annotations

import shlex
from itertools import islice

import click

from crm_assets.cli.common import json_option, print_json
from crm_assets.cli.names import dataset_option
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.project import find_project

__all__ = ["agents"]

_FORMS = "write module:factory, http://host:port/path, or a program with its arguments"


@click.group()
def agents() -> None:
    """Try agents of your own (docs/agents.md)."""


@agents.command("try")
@click.argument("agent", metavar="AGENT...", nargs=-1, required=True)
@dataset_option(required=False, default="dev")
@click.option(
    "--limit", type=click.IntRange(min=1), default=1, show_default=True, help="Number of conversations."
)
@click.option(
    "--calls",
    type=click.Choice(["one", "many"]),
    default="one",
    show_default=True,
    help="Calls made per turn, as agent.calls_per_turn.",
)
@json_option
def try_command(*, agent: tuple[str, ...], dataset: str, limit: int, calls: str, as_json: bool) -> None:
    """Try an agent on a few conversations of a dataset.

    AGENT is a factory (module:factory), the address of a service (http://…), or a program with its
    arguments; put -- before a program that has options of its own.

    Shows the turns, and says what is wrong with the agent in a sentence each.

    Nothing is kept. Exits 1 if the agent failed.
    """
    project = find_project()
    require_dataset(project, dataset)

    from pydantic import ValidationError

    from crm_assets.atlas.agent_trial import complaints, try_agent
    from crm_assets.atlas.config import AgentConfig
    from crm_assets.conversations import load_conversations
    from crm_assets.database import connect_databases, read_environment
    from crm_assets.errors import InputError

    try:
        named = {"name": shlex.join(agent), **_key_of(agent), "calls_per_turn": calls}
        config = AgentConfig.model_validate(named)
    except ValidationError:
        raise InputError(f"{shlex.join(agent)} names no agent: {_FORMS}.") from None
    conversations = list(islice(load_conversations(require_dataset(project, dataset)), limit))
    results = try_agent(
        config,
        conversations,
        folder=project.root,
        environment=read_environment(project),
        sandbox=connect_databases(project).sandbox,
    )
    if as_json:
        print_json(results)
    for result in () if as_json else results:
        click.echo(f"{result.conversation_id}")
        for turn in result.per_turn_results:
            click.echo(f"  {turn.turn_id}. user: {turn.user_utterance}")
            for call in turn.made_calls:
                click.echo(f"     {call.tool_name}: {'done' if call.error is None else call.error}")
            click.echo(f"     agent: {turn.agent_response_text or '(nothing)'}")
            click.echo(f"     {'right' if turn.success else turn.verification.replace('_', ' ')}")
        if result.error_message:
            click.echo(f"  {result.error_message}")
        for sentence in complaints(result, config):
            click.echo(f"  ! {sentence}")
    if any("agent_failure" in result.metadata for result in results):
        raise click.exceptions.Exit(1)


def _key_of(agent: tuple[str, ...]) -> dict[str, object]:
    """Return the type of an agent, and the key that names it."""
    only = agent[0] if len(agent) == 1 else ""
    if "://" in only:
        return {"type": "http", "url": only}
    if ":" in only and "/" not in only:
        return {"type": "python", "factory": only}
    return {"type": "mcp", "command": agent}
