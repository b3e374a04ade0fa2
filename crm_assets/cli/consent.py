"""Shows what a run will cost, and asks before it costs much."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from crm_assets.reporting.estimate.run import RunEstimate

__all__ = ["confirm_cost", "yes_option"]

yes_option = click.option(
    "--yes",
    is_flag=True,
    help="Do not ask before a run that may cost more than confirm_above_usd of the configuration.",
)


def confirm_cost(estimate: RunEstimate | None, *, yes: bool) -> None:
    """Print what is to be paid, and ask for consent if it may be much and no budget is set.

    Args:
        estimate: of all that is to run; None if nothing is to be paid.
        yes: the user has consented already.

    Raises:
        InputError: consent is needed and there is no terminal to ask on.
        click.Abort: the user does not consent.
    """
    if estimate is None:
        return
    click.echo(estimate.summary, err=True)
    if not estimate.needs_consent or yes:
        return
    if not _has_terminal():
        raise estimate.refusal()
    click.confirm("Run it without a budget?", abort=True, err=True)


def _has_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
