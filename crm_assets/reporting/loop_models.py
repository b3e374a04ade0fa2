"""Parts of metrics.json: roles, judges, teacher, learning, repeats."""

from __future__ import annotations

from crm_assets.reporting.figures import Mean, Model, Rate

__all__ = [
    "AdaptiveModes",
    "CurveBlock",
    "LoopFigures",
    "Repeats",
    "RewardCounts",
    "RewardSpread",
    "RoleCost",
    "RoleTokens",
    "SessionRewards",
    "TeacherCounts",
]


class RoleTokens(Model):
    """Tokens of one role (student, teacher, judge, …), as its provider counted them."""

    prompt_tokens: int | None
    """Null when no call reported it."""
    completion_tokens: int | None
    """Null when no call reported it."""
    total_tokens: int
    """Reported totals, or prompt + completion where no total was reported."""
    cached_tokens: int | None = None
    """Prompt tokens that were read from the provider's cache; null when no call reported it."""
    reasoning_tokens: int | None = None
    """Completion tokens that were spent on reasoning; null when no call reported it."""
    calls: int | None
    """Calls to the model, retries and failed ones included; null when they were not counted."""
    failed_calls: int | None = None
    """Calls without a usable reply; null when they were not counted."""
    unknown_usage_calls: int | None = None
    """Calls of unknown tokens; where there are any, the tokens are the least it was."""
    unknown_cost_calls: int | None = None
    """Calls of unknown cost; where there are any, the dollars are the least it was."""
    conversations: int
    """Conversations of which a session reports tokens of this role, failed ones included: they were paid
    for."""
    sessions: int | None = None
    """Sessions that do; null where an older version did not count them."""


class RoleCost(Model):
    """The cost of one role."""

    usd: float
    """US dollars."""
    conversations: int
    """Conversations of which a session reports a cost of this role, failed ones included."""
    sessions: int | None = None
    """Sessions that do; null where an older version did not count them."""


class RewardCounts(Model):
    """Finished sessions by what the judges returned."""

    scored: int
    """Sessions with a reward."""
    failed: int
    """Sessions without a usable reply from the judges: no reward, which is not a reward of 0."""
    escalated: int
    """Sessions that the large judge decided."""


class TeacherCounts(Model):
    """Finished sessions by what the teacher did."""

    valid: int
    """The last attempt was accepted."""
    invalid: int
    """The last attempt was rejected."""
    without_verdict: int
    """The teacher was not asked (mode auto) or not available."""
    intervened: int
    """Sessions in which the student received guidance."""
    repeated: int
    """Sessions in which the student ran more than once."""


class AdaptiveModes(Model):
    """Execution modes of sessions, and who chose them."""

    adaptive_mode: dict[str, int]
    """Sessions by the mode that was chosen."""
    source: dict[str, int]
    """Sessions by what chose it (`forced`, `probe`, `no_history`, …)."""
    confidence: Mean
    """Confidence of the probe, 0–1."""


class SessionRewards(Model):
    """The judges' rewards of finished sessions; their mean is `reward_summary`."""

    sessions: int
    """Sessions with a reward."""
    with_rationale: int
    """Those of which a judge gave a reason."""
    lowest: float | None
    """The smallest of them."""
    median: float | None
    """Their median."""
    highest: float | None
    """The largest of them."""


class RewardSpread(Model):
    """Agreement of the judgments of one session."""

    sessions: int
    """Sessions that record it."""
    sample_count: int
    """Judgments that counted."""
    score_stddev: Mean
    """Standard deviation of a session's judgments (of the population)."""
    uncertainty_mean: Mean
    """Mean uncertainty of a session's judgments, 0–1."""


class LoopFigures(Model):
    """The loop around the student: teacher, judges, and learner."""

    rewards: RewardCounts
    """Results of the judges."""
    teacher: TeacherCounts
    """Results of the teacher."""
    first_attempt_strict_success: Rate
    """Strict success of the first attempts, before any guidance; of each by the formula of its line."""
    learning_keys: int
    """Groups of sessions that share a playbook."""
    entries_at_start: int | None
    """Playbook entries available to the keys' first sessions; null when the sessions do not record it."""
    entries_learnt: int | None
    """Entries that passed the gates; null without learning."""
    entries_rejected: int | None
    """Entries that did not pass; null without learning."""
    learner_failures: int
    """Sessions without a usable reply from the learner."""


class CurveBlock(Model):
    """Consecutive sessions of one learning key."""

    key: str
    """The learning key."""
    label: str
    """Workflow and complexity of its first session."""
    first: int
    """Position of the block's first session among the key's, from 1."""
    last: int
    """Position of its last session."""
    rewarded: int
    """Sessions with a reward."""
    reward: float | None
    """Their mean reward; null without any."""
    decided: int
    """Sessions with a verdict."""
    strict_success: float | None
    """The share of these in which every turn succeeded; null without any."""


class Repeats(Model):
    """Results of running every conversation several times."""

    epochs: int
    """Runs of each conversation."""
    conversations: int
    """Number of conversations, each content once."""
    pass_hat_k: dict[str, Mean]
    """By k: chance that k runs of a conversation all succeed, over conversations."""
    pass_at_k: dict[str, Mean]
    """By k: chance that at least one of k runs of a conversation succeeds, over conversations."""
