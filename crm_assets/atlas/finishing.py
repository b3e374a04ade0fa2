"""Decides if a run is finished: most of its sessions have a verdict."""

from __future__ import annotations

from pathlib import Path

import orjson

from crm_assets.engine import SessionCounts
from crm_assets.errors import InfrastructureError, UnfinishedError
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.jsonl import read_lines

__all__ = ["finish_run", "require_verdicts"]


def finish_run(files: RunFiles, tally: SessionCounts) -> None:
    """Move the sessions into place, unless most of those that should have run are to be run again.

    Sessions without a verdict because the past run did not record them, or because no judge decided, do
    not count as lost: running them again would change nothing.

    Raises:
        InfrastructureError: more than half are lost, most of them to errors around the agent.
        UnfinishedError: more than half are lost, most of them since the budget was spent.
    """
    require_verdicts(files, tally)
    files.finish()


def require_verdicts(files: RunFiles, tally: SessionCounts) -> None:
    """Refuse sessions most of which are lost; raises what `finish_run` raises."""
    wanted, lost = tally.total - tally.not_recorded, tally.to_be_run_again
    if 2 * lost <= wanted:
        return
    if tally.not_run > tally.infrastructure_errors:
        raise UnfinishedError(
            f"The budget was spent before {tally.not_run:,} of {wanted:,} sessions had run, so the run is "
            "not finished; what is done is kept: go on with a larger budget."
        )
    raise InfrastructureError(
        f"{lost:,} of {wanted:,} sessions have no verdict, so the run is not finished; what is done is "
        f"kept. The first was lost to: {_first_error(files.partial)}"
    )


def _first_error(partial: Path) -> str:
    """Return what ended the first session that was lost to the infrastructure."""
    for line in read_lines(partial):
        result = orjson.loads(line.data)["conversation_result"]
        if result["status"] == "infrastructure_error":
            return str(result["error_message"])
    return "an error that is not recorded"
