"""`crm-assets tools`: the reference of the CRM's tools."""

from __future__ import annotations

import click

__all__ = ["tools"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The JSON Schemas that a model is given.")
def tools(as_json: bool) -> None:
    """Print the CRM's entities and tools (docs/crm_tools.md)."""
    if not as_json:
        from crm_assets.crm import tools_markdown

        click.echo(tools_markdown(), nl=False)
        return
    import orjson

    from crm_assets.crm import TOOLS

    schemas = [
        {"name": tool.name, "description": tool.description, "parameters": tool.json_schema()}
        for tool in TOOLS.values()
    ]
    click.echo(orjson.dumps(schemas, option=orjson.OPT_INDENT_2).decode())
