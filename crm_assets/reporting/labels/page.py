"""People's labels in a terminal: who agrees with them, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from crm_assets.reporting.document import Block, Column, Section, Table, figures
from crm_assets.reporting.formats import counted, number, of
from crm_assets.reporting.judge_models import Confusion, JudgeFigures, RewardAgainst
from crm_assets.reporting.judge_page import coefficient_cells
from crm_assets.reporting.labels.agreement import LabelFigures
from crm_assets.reporting.labels.store import Word

__all__ = ["label_blocks"]


def label_blocks(found: LabelFigures, judges: JudgeFigures | None) -> Iterator[Block]:
    """Yield the agreement with people's labels.

    Args:
        found: the figures of the labels.
        judges: those of the baseline, whose AUC is shown beside; None for a run without judges.
    """
    if not found.sessions and not found.turns:
        yield "Nobody has labeled this baseline yet; crm-assets label export writes what to label."
        return
    for title, words, raters in (
        ("Sessions", found.sessions, found.session_raters),
        ("Turns", found.turns, found.turn_raters),
    ):
        if words:
            yield Section(title, tuple(_raters(title.lower(), words, raters)))
    if found.rewards is not None:
        yield Section("Rewards", tuple(_rewards(found.rewards, judges)))


def _raters(what: str, words: Mapping[Word, int], raters: Mapping[str, Confusion]) -> Iterator[Block]:
    total = sum(words.values())
    counts = ", ".join(f"{words[word]:,} {word}" for word in ("yes", "no", "unsure") if words.get(word))
    yield f"{counted(total, 'label')} of {what}: {counts}."
    yield Table.of(
        (Column("Rater"), *figures("Same", "Kappa", "95% interval", "No verdict")),
        (
            (rater, of(each.agreement), *coefficient_cells(each.kappa), each.without_verdict)
            for rater, each in raters.items()
        ),
    )
    undefined = [rater for rater, each in raters.items() if each.kappa.value is None]
    if undefined:
        yield (
            f"Kappa is undefined, which is not 0, for {', '.join(undefined)}: labels and verdicts are all "
            "the same word."
        )


def _rewards(rewards: RewardAgainst, judges: JudgeFigures | None) -> Iterator[Block]:
    strict = judges.rewards.get("strict_success") if judges else None
    sides = {"People's labels": rewards, **({"Strict success, all sessions": strict} if strict else {})}
    yield "The judges' rewards against:"
    yield Table.of(
        (Column("Verdict"), *figures("Right", "Wrong", "AUC", "95% interval", "Brier")),
        (
            (
                name,
                each.right.count,
                each.wrong.count,
                *coefficient_cells(each.auc),
                number(each.brier.mean, 3),
            )
            for name, each in sides.items()
        ),
    )
