"""Agreement of harness, judges and teacher with people, on the sessions and turns that people labeled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from crm_assets.records import SessionLog, SessionSummary, TurnResult
from crm_assets.records.results import all_right
from crm_assets.reporting.figures import Model
from crm_assets.reporting.judge_models import Confusion, RewardAgainst
from crm_assets.reporting.judges import SIDES, confusion, rewards_against
from crm_assets.reporting.labels.store import LabelFile, Word, identifier, read_labels
from crm_assets.workspace.baseline_files import BaselinePaths

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LabelFigures", "label_figures"]

_VERDICT = {True: 1, False: 0, None: -1}
_WORD: dict[Word, int] = {"yes": 1, "no": 0, "unsure": -1}


class LabelFigures(Model):
    """People's labels, and who agrees with them."""

    sessions: dict[Word, int]
    """Labeled sessions, by label."""
    turns: dict[Word, int]
    """Labeled turns, by label."""
    session_raters: dict[str, Confusion]
    """By rater: its verdicts on labeled sessions by the person's (`right`); `unsure` is no verdict."""
    turn_raters: dict[str, Confusion]
    """The same of turns."""
    rewards: RewardAgainst | None
    """The judges' rewards against people's labels of sessions; null where no labeled session has one."""


class _RatedRow(NamedTuple):
    session: int
    conversation: int
    yes: int
    right: int
    reward: float | None


def label_figures(paths: BaselinePaths) -> LabelFigures:
    """Return how well the raters of a baseline agree with its labels.

    Only labeled sessions are read whole, and only where turns are labeled.

    Raises:
        InputError: sessions or labels cannot be read, or do not belong together.
    """
    labels, log = read_labels(paths), SessionLog(paths.sessions)
    work = _Gathered(labels)
    for entry in log.summaries():
        if entry.session.ran is not None:
            work.add_session(entry.session)
            if work.has_turns(entry.session):
                turns = log.record(entry.offset).conversation_result.per_turn_results
                work.add_turns(entry.session, turns)
    return work.figures()


class _Gathered:
    """The verdicts of all raters on what people labeled."""

    def __init__(self, labels: LabelFile) -> None:
        self._labels = labels.labels
        self._of_turns = {key.rpartition("::")[0] for key in self._labels}
        self._sessions: dict[str, list[_RatedRow]] = {}
        self._turns: dict[str, list[_RatedRow]] = {}
        self._words: dict[str, Counter[Word]] = {"session": Counter(), "turn": Counter()}
        self._contents: dict[str, int] = {}
        self._number = 0

    def has_turns(self, session: SessionSummary) -> bool:
        """Tell whether a turn of the session may be labeled."""
        return identifier(session) in self._of_turns

    def add_session(self, session: SessionSummary) -> None:
        """Take the verdicts on a session, if it is labeled."""
        self._number += 1
        label = self._labels.get(identifier(session))
        if label is None:
            return
        self._words["session"][label.label] += 1
        reward = session.reward
        verdicts = {
            "Strict success": session.strict_success,
            "Every turn correct": session.turns_right,
            "State match": session.state_match,
            f"Reward of {SIDES} or more": None if reward is None else reward >= SIDES,
            "Teacher, last attempt": session.atlas_metadata.teacher_valid,
        }
        for rater, verdict in verdicts.items():
            row = self._row(session, verdict, label.label, reward)
            self._sessions.setdefault(rater, []).append(row)

    def add_turns(self, session: SessionSummary, turns: Iterable[TurnResult]) -> None:
        """Take the verdicts on a session's labeled turns."""
        for turn in turns:
            label = self._labels.get(identifier(session, turn.turn_id))
            if label is None:
                continue
            self._words["turn"][label.label] += 1
            for rater, verdict in _of_turn(turn):
                row = self._row(session, verdict, label.label, None)
                self._turns.setdefault(rater, []).append(row)

    def _row(
        self, session: SessionSummary, yes: bool | None, word: Word, reward: float | None
    ) -> _RatedRow:
        conversation = self._contents.setdefault(session.content, len(self._contents))
        return _RatedRow(self._number, conversation, _VERDICT[yes], _WORD[word], reward)

    def figures(self) -> LabelFigures:
        """Return the figures of all that was taken."""
        rewarded = [row for row in self._sessions.get("Strict success", ()) if row.reward is not None]
        return LabelFigures(
            sessions=dict(self._words["session"]),
            turns=dict(self._words["turn"]),
            session_raters=_confusions(self._sessions),
            turn_raters=_confusions(self._turns),
            rewards=rewards_against(_frame(rewarded), "right") if rewarded else None,
        )


def _of_turn(turn: TurnResult) -> Iterator[tuple[str, bool | None]]:
    judge = turn.judge
    asked = [each.success for each in (judge.call, judge.reply) if each is not None] if judge else []
    yield "Turn success", turn.success
    yield "Tool call", turn.tool_success
    yield "Reply", turn.response_success
    yield "Turn judge, where it was asked", all_right(asked) if asked else None


def _confusions(raters: dict[str, list[_RatedRow]]) -> dict[str, Confusion]:
    """Return the raters that have a verdict on anything."""
    return {
        rater: confusion(_frame(rows))
        for rater, rows in raters.items()
        if any(row.yes >= 0 for row in rows)
    }


def _frame(rows: list[_RatedRow]) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415  (heavy)

    frame: pd.DataFrame = pd.DataFrame(rows, columns=list(_RatedRow._fields)).astype({"reward": "float64"})
    return frame
