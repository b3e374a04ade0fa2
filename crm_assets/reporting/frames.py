"""sessions.jsonl as compact pandas frames, built some sessions at a time.

A session's line is some kilobytes, mostly text that no metric needs; here it is some tens of bytes,
so that 100,000 sessions fit where a list of their records would not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crm_assets.errors import InputError
from crm_assets.records import RunHeader, SessionLog
from crm_assets.records.results import StrictFormula
from crm_assets.reporting.failures import FailureLog
from crm_assets.reporting.models import RunInfo
from crm_assets.reporting.session_columns import SessionColumns

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SessionFrames", "read_frames"]

_CHECKED = ("run_id", "dataset", "dataset_revision")


@dataclass(frozen=True)
class SessionFrames:
    """The parts of the sessions that metrics are made of.

    Verdicts are small integers: 1 yes, 0 no, -1 none. Missing numbers are NaN.
    """

    sessions: pd.DataFrame
    """A row for each session: its number, those of its conversation (one for all sessions of one content)
    and of its conversation's ID, status, workflow, mode, verdicts, rewards."""
    turns: pd.DataFrame
    """A row for each executed turn of a session that ran: session, conversation, verdicts, tool, kind."""
    usage: pd.DataFrame
    """A row for each session and role that report tokens."""
    costs: pd.DataFrame
    """A row for each session and role that report a cost."""
    judgments: pd.DataFrame
    """A row for each known score of a small judge, with its session."""
    escalations: pd.DataFrame
    """A row for each session in which the large judge was asked, and whether it decided."""
    failures: FailureLog
    run: RunInfo
    """The header of the run, completed by what the caller knows."""
    strict_formula: StrictFormula
    """Formula of strict success in the column `overall`."""


def read_frames(path: Path, *, run: RunInfo) -> SessionFrames:
    """Read the sessions of one run.

    Raises:
        InputError: a line cannot be used, or belongs to another run; names file and line.
    """
    columns, failures, log = SessionColumns(), FailureLog(), SessionLog(path)
    for entry in log.summaries():
        columns.add(entry.session)
        failures.add(entry.session)
    frames = columns.build()
    formula: StrictFormula = "turns" if "turns" in columns.formulas else "turns_and_state"
    if formula == "turns":  # of a run that an older version began, all by the formula that all lines know
        frames["sessions"]["overall"] = frames["sessions"]["turns_right"]
    return SessionFrames(
        **frames, failures=failures, run=_completed(path, log.header, run), strict_formula=formula
    )


def _completed(path: Path, header: RunHeader, run: RunInfo) -> RunInfo:
    """Return the facts of the run, completed by those that the caller knows."""
    said = header.model_dump(include=set(RunInfo.model_fields))
    for name in _CHECKED:
        known = getattr(run, name)
        if known is not None and said[name] is not None and known != said[name]:
            raise InputError(
                f"{path} is of {name} {said[name]!r}, not {known!r}; give the sessions of this run."
            )
    said |= {
        "subset": header.subset,
        "playbook": header.playbook,
        "replay_of": header.replay_of,
        "estimate": header.estimate,
        "agent_config": header.agent_config,
        "software": {**run.software, **header.software},
    }
    return run.model_copy(update={name: value for name, value in said.items() if value is not None})
