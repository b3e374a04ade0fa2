"""Parts of metrics.json: what judges and teacher are worth, held against the harness's verdicts."""

from __future__ import annotations

from crm_assets.reporting.agreement import Statistic
from crm_assets.reporting.figures import Mean, Model, Rate, tidy

__all__ = [
    "CalibrationBin",
    "Coefficient",
    "Confusion",
    "EscalationChange",
    "Escalations",
    "JudgeFigures",
    "RewardAgainst",
    "RewardsOf",
    "ScoreAgreement",
]


class Coefficient(Model):
    """A coefficient with its interval, such as an AUC; undefined is null, not 0."""

    value: float | None
    """Null where it is undefined."""
    low: float | None
    """Lower end of the 95 % interval; null where there are too few conversations, or no spread."""
    high: float | None
    """Upper end of it."""

    @classmethod
    def of(cls, found: Statistic) -> Coefficient:
        """Return a statistic as metrics.json has it."""
        return cls(
            value=tidy(found.value),
            low=tidy(found.interval.low if found.interval else None),
            high=tidy(found.interval.high if found.interval else None),
        )


class RewardsOf(Model):
    """The rewards of what has one verdict."""

    count: int
    """Sessions (or turns, each with its session's reward) that have this verdict and a reward."""
    mean: Mean
    """Their mean reward, over conversations."""
    quartiles: tuple[float, float, float, float, float] | None
    """The lowest, the three quartiles, and the highest; null without any."""


class CalibrationBin(Model):
    """Sessions (or turns) whose rewards are close to each other."""

    low: float
    """Rewards from here on."""
    high: float
    """To here, which belongs to the next bin; to the last one, if it is 1."""
    reward: float | None
    """Their mean reward, where every conversation counts once; null without any."""
    right: Rate
    """Number of them that are right."""


class RewardAgainst(Model):
    """The judges' rewards against one of the harness's verdicts."""

    right: RewardsOf
    """Rewards of what the harness found right."""
    wrong: RewardsOf
    """Rewards of what it found wrong."""
    auc: Coefficient
    """Chance that what is right has a higher reward than what is wrong; 0.5 is chance; undefined where the
    harness found all of it right, or all wrong."""
    brier: Mean
    """Brier score, the mean of (reward - verdict)²: 0 is best."""
    brier_of_base_rate: float | None
    """Brier score of rewards that are always the share of right ones: what has a higher one than this says
    less than that share alone."""
    calibration_error: float | None
    """Mean distance of a bin's mean reward from its share of right ones, by the weight of the bins."""
    bins: tuple[CalibrationBin, ...]
    """By reward; empty bins are left out."""


class Confusion(Model):
    """A rater's verdicts by those of another one, here the harness or a person."""

    yes_right: int
    """Accepted, and right."""
    yes_wrong: int
    """Accepted, and wrong."""
    no_right: int
    """Rejected, and right."""
    no_wrong: int
    """Rejected, and wrong."""
    without_verdict: int
    """One of the two has none."""
    agreement: Rate
    """Verdicts that are the same."""
    right_among_yes: Rate
    """Of the accepted ones, those that are right (precision)."""
    yes_among_right: Rate
    """Of the right ones, those accepted (sensitivity)."""
    yes_among_wrong: Rate
    """Of the wrong ones, those accepted (false acceptance)."""
    kappa: Coefficient
    """Cohen's kappa: agreement beyond what the two rates alone give; undefined where one word is all that
    both say."""


class ScoreAgreement(Model):
    """Agreement of several scores of one thing."""

    subjects: int
    """Things with at least two scores."""
    scores: int
    """Their scores."""
    without: int
    """Things with a score that have no second one, or of which single scores are not recorded."""
    range: Mean
    """Highest less lowest score of one thing, over conversations."""
    icc: Coefficient
    """Share of the variance of single scores that lies between things (ICC(1)): 1 if the scores of each
    are the same, about 0 if they are as different as those of different things."""


class EscalationChange(Model):
    """Changes by the large judge, where both its score and the small judges' are recorded."""

    sessions: int
    """Sessions that it decided and that record both."""
    difference: Mean
    """The large judge's score less the small ones' mean."""
    distance: Mean
    """The same without its sign."""
    other_side: int
    """Sessions whose reward went from one side of 0.5 to the other."""
    brier_change: Mean
    """Change of the Brier score against strict success, where there is a verdict: below 0 the large judge
    was nearer to the harness."""


class Escalations(Model):
    """Sessions that went to the large judge, because the small ones disagreed or were unsure."""

    sessions: Rate
    """Rewarded sessions in which it was asked."""
    decided: int
    """Those that it decided."""
    failed: int
    """Those in which it gave no usable reply, so that the small judges' scores counted."""
    not_recorded: int
    """Those decided, of which an older version did not record the small judges' scores."""
    change: EscalationChange | None
    """Null where no session records both."""


class JudgeFigures(Model):
    """Reliability of judges and teacher."""

    rewards: dict[str, RewardAgainst]
    """By verdict: `strict_success`, `turns_right` and `state_match` of sessions, `turn_success` of turns
    (each with its session's reward)."""
    teacher_first: Confusion
    """The teacher's verdict on the first attempt by its strict success; that a session has a second attempt
    means that the teacher rejected the first."""
    teacher_last: Confusion
    """The teacher's verdict on the last attempt by the session's strict success."""
    between_judges: ScoreAgreement
    """The small judges' scores of one session, those that the large judge overruled included."""
    between_epochs: ScoreAgreement | None
    """Rewards of one conversation over its sessions: what the agent did differently is in it, too. Null
    where every conversation ran once."""
    escalations: Escalations
    """Escalations to the large judge, and what they changed."""
