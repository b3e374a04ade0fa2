"""One run of a comparison, read from its session log into columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from crm_assets.conversations.revision import read_revision_file
from crm_assets.errors import InputError
from crm_assets.records import Entry, RunHeader, Scalar, SessionLog
from crm_assets.records.results import StrictFormula
from crm_assets.reporting.breakdowns import counts_of, sums_by
from crm_assets.reporting.columns import Columns, ColumnSource
from crm_assets.reporting.comparison.models import MEASURES, Measure, RunOutcome, RunSide
from crm_assets.reporting.comparison.provenance import RunFacts
from crm_assets.reporting.origin import origin_of
from crm_assets.workspace.baseline_files import BaselinePaths

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]
    Means = dict[Measure, NDArray[np.float64]]

__all__ = ["UNKNOWN_CONTENT", "RunOutcomes", "outcomes_of", "read_run"]

UNKNOWN_CONTENT: Final = hash(None)
"""The content of a conversation whose sessions do not say it."""

_CHUNK = 64  # sessions
_VERDICTS: Final = {1: True, 0: False, -1: None}
_COLUMNS: Final[dict[str, ColumnSource]] = {
    "conversation": ColumnSource("name", "session.conversation_id"),
    "content": ColumnSource("hash", "session.work_hash"),
    "offset": ColumnSource("whole", "offset"),
    "epoch": ColumnSource("whole", "session.epoch"),
    "status": ColumnSource("name", "session.status"),
    "workflow": ColumnSource("name", "session.atlas_metadata.workflow_category"),
    "complexity": ColumnSource("name", "session.atlas_metadata.complexity_level"),
    "formula": ColumnSource("name", "session.strict_formula"),
    "noop": ColumnSource("verdict", "session.noop_state_match"),
    **{str(measure): ColumnSource("number", f"session.{measure}") for measure in MEASURES},
}


@dataclass(frozen=True)
class RunOutcomes:
    """The outcomes of a run."""

    log: SessionLog
    side: RunSide
    facts: dict[str, Scalar]
    """Its facts, by path."""
    sessions: pd.DataFrame
    """A row for each session: `conversation` (position in `conversations`), `offset` (bytes before its
    line), `epoch`, and by each measure a verdict, a reward or NaN; one that did not end has none."""
    conversations: pd.DataFrame
    """A row for each conversation ID: `workflow`, `complexity`, `content` (a hash), and `noop`: 1 if an
    agent that calls nothing leaves the expected end state, 0 if not, -1 if that is not known."""

    def means(self, owners: Numbers) -> Means:
        """Return, by measure, the mean over the sessions of each owner; NaN without a verdict.

        Args:
            owners: of each conversation, from 0; -1 for one to leave out.
        """
        import numpy as np  # noqa: PLC0415  (heavy)

        of_sessions = owners[self.sessions["conversation"]]
        found: Means = {}
        for measure in MEASURES:
            values = self.sessions[measure].to_numpy()
            known = (of_sessions >= 0) & ~np.isnan(values)
            sums = sums_by(of_sessions[known], values[known])
            found[measure] = np.full(int(owners.max()) + 1, np.nan)
            found[measure][sums.owners] = sums.sums / sums.counts
        return found


def read_run(paths: BaselinePaths) -> RunOutcomes:
    """Read the outcomes of a finished baseline.

    Raises:
        InputError: it is not finished, its sessions cannot be read or are of several runs.
    """
    import pandas as pd  # noqa: PLC0415  (heavy)

    if not paths.has_sessions:
        raise InputError(
            f"Baseline {paths.key} has no sessions.jsonl yet: finish it, or choose another run of "
            f"dataset {paths.key.dataset}."
        )
    log, facts, columns = SessionLog(paths.sessions), RunFacts(), Columns(_COLUMNS)
    waiting: list[Entry] = []
    for entry in log.summaries():
        facts.add(entry.session)
        waiting.append(entry)
        if len(waiting) == _CHUNK:
            columns.extend(waiting)
            waiting.clear()
    columns.extend(waiting)
    sessions = pd.DataFrame(columns.build())
    _refuse_twice(paths, sessions)
    sessions.loc[sessions["status"] != "succeeded", "reward"] = float("nan")
    formula: StrictFormula = "turns" if (sessions["formula"] == "turns").any() else "turns_and_state"
    if formula == "turns":  # by the formula that all lines know
        sessions["strict_success"] = sessions["turns_right"]
    conversations = _conversations(sessions)
    return RunOutcomes(
        log=log,
        side=_side(paths, log.header, sessions, formula),
        facts=facts.complete(log.header),
        sessions=sessions[["conversation", "offset", "epoch", *MEASURES]].assign(
            conversation=sessions["conversation"].cat.codes
        ),
        conversations=conversations,
    )


def _refuse_twice(paths: BaselinePaths, sessions: pd.DataFrame) -> None:
    """Raise InputError if a conversation stands twice in one epoch."""
    twice = sessions.duplicated(["conversation", "epoch"]).to_numpy()
    if twice.any():
        line = int(twice.argmax())
        row = sessions.iloc[line]
        raise InputError(
            f"{paths.sessions}, line {line + 1}: conversation {row['conversation']!r} stands twice in "
            f"epoch {row['epoch']}, so it cannot be told which one to compare; make the baseline again "
            "from a dataset whose conversation IDs are unique."
        )


def _conversations(sessions: pd.DataFrame) -> pd.DataFrame:
    """Return the conversations, in the order in which they first stand in the file."""
    first = sessions.drop_duplicates("conversation").set_index("conversation")
    ran = sessions[sessions["status"] == "succeeded"].drop_duplicates("conversation", keep="last")
    noop = ran.set_index("conversation")["noop"].reindex(first.index, fill_value=-1)
    found: pd.DataFrame = first[["workflow", "complexity", "content"]].assign(noop=noop)
    found.index = found.index.astype("str")
    return found


def outcomes_of(paths: BaselinePaths) -> list[RunOutcome]:
    """Return the outcomes of a finished baseline, one for each conversation ID.

    Raises:
        InputError: as `read_run`.
    """
    import numpy as np  # noqa: PLC0415  (heavy)

    run = read_run(paths)
    means = run.means(np.arange(len(run.conversations), dtype=np.int64))
    facts = run.conversations
    rows = zip(
        *(facts.index, facts["workflow"], facts["complexity"]),
        np.bincount(run.sessions["conversation"]).tolist(),
        *([None if np.isnan(each) else each for each in means[m].tolist()] for m in MEASURES),
        [_VERDICTS[each] for each in facts["noop"].tolist()],
        strict=True,
    )
    return [RunOutcome(*row) for row in rows]


def _side(
    paths: BaselinePaths, header: RunHeader, sessions: pd.DataFrame, formula: StrictFormula
) -> RunSide:
    revision = header.dataset_revision
    if revision is None and paths.revision.is_file():
        revision = read_revision_file(paths.revision).sha256
    of_conversations = sessions["conversation"].value_counts()
    return RunSide(
        run=str(paths.key.run),
        run_id=header.run_id,
        agent=header.agent_name,
        dataset_revision=revision,
        strict_success_formula=formula,
        sessions=len(sessions),
        conversations=len(of_conversations),
        epochs=int(of_conversations.max()),
        statuses=counts_of(sessions["status"]),
        taught_by=header.playbook.taught_by if header.playbook else None,
        origin=origin_of(header.agent_config, header.replay_of),
    )
