"""The section of README and report on what judges and teacher are worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from crm_assets.reporting.document import (
    Block,
    Cell,
    Column,
    Points,
    Section,
    Table,
    Text,
    code,
    figures,
    strong,
)
from crm_assets.reporting.figures import Mean
from crm_assets.reporting.formats import (
    NOTHING,
    counted,
    interval,
    number,
    of,
    percent,
    spread,
)
from crm_assets.reporting.judge_models import (
    Coefficient,
    Confusion,
    EscalationChange,
    Escalations,
    JudgeFigures,
    RewardAgainst,
    RewardsOf,
    ScoreAgreement,
)

__all__ = ["JUDGES_TITLE", "VERDICTS", "coefficient_cells", "judge_section"]

JUDGES_TITLE = "What the judges are worth"
VERDICTS: Mapping[str, str] = {
    "strict_success": "Strict success",
    "turns_right": "Every turn correct",
    "state_match": "State match",
    "turn_success": "Turn success, by turn",
}
"""The verdicts that rewards are held against, in words."""

_TOLD: Mapping[object, str] = {
    "verdicts": "the harness's verdicts",
    "oracle": "the harness's verdicts and the expected calls",
}


def judge_section(judges: JudgeFigures, feedback: object) -> Section:
    """Return what judges and teacher are worth, in tables and sentences.

    Args:
        judges: the figures.
        feedback: what the judges were told of the ground truth, as in the run's configuration.
    """
    return Section(JUDGES_TITLE, tuple(_blocks(judges, feedback)))


def _blocks(judges: JudgeFigures, feedback: object) -> Iterator[Block]:
    yield (
        "The judges' rewards and the teacher's verdicts against the harness's. AUC: the chance that what "
        "is right has a higher reward than what is wrong (0.5 is chance). Brier score: 0 is best; above "
        "that of the base rate, rewards say less than the share of right ones alone."
    )
    if feedback in _TOLD:
        yield (
            strong(f"The judges were told {_TOLD[str(feedback)]}"),
            " (feedback ", code(str(feedback)), "): a high AUC shows that they follow the harness, not "
            "what they find out themselves.",
        )  # fmt: skip
    yield _rewards(judges.rewards)
    yield from _undefined(judges.rewards)
    yield _distributions(judges.rewards)
    strict = judges.rewards["strict_success"]
    if strict.bins:
        yield "Calibration: strict success by reward."
        yield _calibration(strict)
    yield "The teacher's verdicts by strict success of the same attempt:"
    yield _teacher({"First attempt": judges.teacher_first, "Last attempt": judges.teacher_last})
    yield (
        "Agreement of scores: ICC is the share of their variance that lies between sessions or "
        "conversations (1: scores of the same one do not differ)."
    )
    yield _agreement(judges)
    yield Points(tuple(_escalations(judges.escalations)))


def coefficient_cells(found: Coefficient) -> tuple[Cell, Cell]:
    """Return a coefficient and its interval as cells."""
    return number(found.value, 3), _span(found)


def _span(found: Coefficient) -> str:
    """Return an interval; `to` rather than a dash, since ends may be below 0."""
    if found.low is None or found.high is None:
        return NOTHING
    return f"{found.low:.3f} to {found.high:.3f}"


def _rewards(rewards: Mapping[str, RewardAgainst]) -> Table:
    header = figures(
        *("Right", "Mean reward", "Wrong", "Mean reward", "AUC", "95% interval"),
        *("Brier", "95% interval", "Of the base rate", "Calibration error"),
    )
    return Table.of(
        (Column("Verdict"), *header),
        (
            (
                VERDICTS.get(name, name),
                found.right.count,
                number(found.right.mean.mean, 3),
                found.wrong.count,
                number(found.wrong.mean.mean, 3),
                *coefficient_cells(found.auc),
                number(found.brier.mean, 3),
                spread(found.brier, 3),
                number(found.brier_of_base_rate, 3),
                number(found.calibration_error, 3),
            )
            for name, found in rewards.items()
        ),
    )


def _undefined(rewards: Mapping[str, RewardAgainst]) -> Iterator[Block]:
    for name, found in rewards.items():
        if found.auc.value is None:
            missing = [
                word for word, side in (("right", found.right), ("wrong", found.wrong)) if not side.count
            ]
            yield (
                f"{VERDICTS.get(name, name)}: the AUC is undefined, which is not 0, because nothing with a "
                f"reward is {' or '.join(missing)}."
            )


def _distributions(rewards: Mapping[str, RewardAgainst]) -> Table:
    header = figures("Count", "Mean", "95% interval", "Lowest", "Quartile", "Median", "Quartile", "Highest")
    return Table.of(
        (Column("Rewards of"), *header),
        (
            (f"{VERDICTS.get(name, name)}: {word}", *_distribution(side))
            for name, found in rewards.items()
            for word, side in (("right", found.right), ("wrong", found.wrong))
        ),
    )


def _distribution(side: RewardsOf) -> tuple[Cell, ...]:
    quartiles = side.quartiles or (None,) * 5
    return (
        side.count,
        number(side.mean.mean, 3),
        spread(side.mean, 3),
        *(number(each, 3) for each in quartiles),
    )


def _calibration(found: RewardAgainst) -> Table:
    return Table.of(
        (Column("Reward"), *figures("Mean reward", "Strict success", "95% interval", "Count")),
        (
            (
                f"{each.low:.1f}–{each.high:.1f}",
                number(each.reward, 3),
                percent(each.right),
                interval(each.right),
                of(each.right),
            )
            for each in found.bins
        ),
    )


def _teacher(confusions: Mapping[str, Confusion]) -> Table:
    header = figures(
        *("Accepted, right", "Accepted, wrong", "Rejected, right", "Rejected, wrong", "No verdict"),
        *("Right of accepted", "Accepted of right", "Accepted of wrong", "Kappa", "95% interval"),
    )
    return Table.of(
        (Column("Teacher"), *header),
        (
            (
                name,
                *(found.yes_right, found.yes_wrong, found.no_right, found.no_wrong),
                found.without_verdict,
                percent(found.right_among_yes),
                percent(found.yes_among_right),
                percent(found.yes_among_wrong),
                *coefficient_cells(found.kappa),
            )
            for name, found in confusions.items()
        ),
    )


def _agreement(judges: JudgeFigures) -> Table:
    header = figures(
        "Compared", "Scores", "Not compared", "Mean range", "95% interval", "ICC", "95% interval"
    )
    rows: dict[str, ScoreAgreement | None] = {
        "Small judges, in a session": judges.between_judges,
        "Rewards of a conversation, over its sessions": judges.between_epochs,
    }
    return Table.of(
        (Column("Scores of"), *header),
        (
            (
                name,
                found.subjects,
                found.scores,
                found.without,
                number(found.range.mean, 3),
                spread(found.range, 3),
                *coefficient_cells(found.icc),
            )
            for name, found in rows.items()
            if found is not None
        ),
    )


def _escalations(found: Escalations) -> Iterator[Text]:
    asked = found.sessions
    failed = f"; in {found.failed:,} it gave no usable reply." if found.failed else "."
    yield (
        strong(f"The large judge was asked in {of(asked)} rewarded sessions"),
        f" ({percent(asked)}; 95% interval {interval(asked)}) and decided {found.decided:,}{failed}",
    )
    if found.not_recorded:
        yield (
            f"What it changed in {counted(found.not_recorded, 'session')} is not recorded: the small "
            "judges' scores are not in the file."
        )
    if found.change is not None:
        yield _change(found.change)


def _change(change: EscalationChange) -> str:
    said = (
        f"In {counted(change.sessions, 'session')} it changed the small judges' mean by "
        f"{_signed(change.difference)}, up or down by {number(change.distance.mean, 3)}; "
        f"{change.other_side:,} went to the other side of 0.5."
    )
    if not change.brier_change.count:
        return said
    return (
        f"{said} The Brier score against strict success changed by {_signed(change.brier_change)}; "
        "below 0 the large judge was nearer to the harness."
    )


def _signed(mean: Mean) -> str:
    if mean.mean is None:
        return NOTHING
    if mean.low is None or mean.high is None:
        return f"{mean.mean:+.3f}"
    return f"{mean.mean:+.3f} (95% interval {mean.low:.3f} to {mean.high:.3f})"
