"""metrics.json: the figures of a run, from its session log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from crm_assets.errors import InputError
from crm_assets.reporting.breakdowns import (
    conversation_groups,
    counts_of,
    failure_kinds,
    mean,
    rate,
    turn_groups,
)
from crm_assets.reporting.figures import Rate
from crm_assets.reporting.frames import read_frames
from crm_assets.reporting.judges import judge_figures
from crm_assets.reporting.loop import learning_curve, loop_figures, repeats
from crm_assets.reporting.models import MIXED_MODES, Bounds, Metrics, ReplyCounts, RunInfo
from crm_assets.reporting.rewards import adaptive_summary, reward_stats, session_rewards
from crm_assets.reporting.usage import role_costs, role_tokens, spending, total_cost
from crm_assets.workspace.files import write_json

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compute_metrics", "read_metrics", "write_metrics"]


def compute_metrics(sessions: Path, *, run: RunInfo) -> Metrics:
    """Compute the metrics of the run whose sessions.jsonl is `sessions`.

    The same sessions give the same metrics, byte for byte, in whatever order they stand.

    Args:
        sessions: the file; beside it, run.json is read, and nothing else.
        run: what the caller knows of the run and the sessions do not say.

    Raises:
        InputError: the file is missing, empty, of several runs or of another one, or a line of it
            is not a session; names file and line.
    """
    frames = read_frames(sessions, run=run)
    all_sessions, turns, identity = frames.sessions, frames.turns, frames.run
    ran = all_sessions[all_sessions["status"] == "succeeded"]
    tokens = spending(all_sessions, frames.usage, "total")
    costs = spending(all_sessions, frames.costs, "usd")
    strict = rate(ran, "overall")
    modes = counts_of(all_sessions["mode"])
    conversations = int(all_sessions["conversation"].nunique())
    cost = total_cost(frames.costs)
    return Metrics(
        **identity.model_dump(),
        total_conversations=conversations,
        total_sessions=len(all_sessions),
        copied_conversations=int(all_sessions["identifier"].nunique()) - conversations,
        atlas_successful_runs=len(ran),
        harness_successes=strict.successes,
        failed_conversations=strict.count - strict.successes,
        conversations_without_verdict=int((ran["overall"] < 0).sum()),
        failed_runs=int((all_sessions["status"] == "failed").sum()),
        not_recorded_runs=int((all_sessions["status"] == "not_recorded").sum()),
        not_recorded_reasons=frames.failures.not_recorded(),
        not_run=int((all_sessions["status"] == "not_run").sum()),
        infrastructure_failures=frames.failures.infrastructure(),
        execution_mode=next(iter(modes)) if len(modes) == 1 else MIXED_MODES,
        execution_modes=modes,
        strict_success_formula=frames.strict_formula,
        strict_success=strict,
        strict_success_bounds=_bounds(all_sessions),
        by_workflow=conversation_groups(frames, "workflow"),
        by_complexity=conversation_groups(frames, "complexity"),
        by_tool=turn_groups(turns, "tool"),
        by_turn=turn_groups(turns, "turn"),
        failure_kinds=failure_kinds(frames),
        turns_planned=_planned(ran),
        turns_executed=len(turns),
        turns_undecided=int((turns["success"] < 0).sum()),
        turns_with_further_calls=_further_calls(turns),
        replies=_replies(turns),
        first_failed_turn=_first_failed_turn(ran),
        token_usage=role_tokens(all_sessions, frames.usage),
        tokens_per_conversation=tokens.per_conversation,
        tokens_per_success=tokens.per_success,
        cost_usd=role_costs(all_sessions, frames.costs),
        cost_usd_per_conversation=costs.per_conversation,
        cost_usd_per_success=costs.per_success,
        total_cost_usd=cost if identity.replay_of is None else 0.0,
        recorded_cost_usd=None if identity.replay_of is None else cost,
        adaptive_summary=adaptive_summary(all_sessions),
        session_reward=session_rewards(ran),
        reward_stats=reward_stats(ran),
        loop=loop_figures(all_sessions),
        judges=judge_figures(frames),
        learning_curve=learning_curve(all_sessions),
        repeats=repeats(all_sessions),
        reward_summary=mean(ran, "reward", at_most=1.0),
        harness_reward_summary=mean(ran, "signal", at_most=1.0),
        duration_seconds=mean(ran, "duration"),
        **_conversation_rates(ran, turns),
        **_turn_rates(turns),
    )


def write_metrics(path: Path, metrics: Metrics) -> None:
    """Write `metrics` to `path`, whole or not at all."""
    write_json(path, metrics.model_dump(mode="json"))


def read_metrics(path: Path) -> Metrics:
    """Read the metrics in `path`, brought to this version.

    Raises:
        InputError: the file is missing, damaged or of a newer version.
    """
    remedy = "make it again by materializing baseline_metrics"
    try:
        return Metrics.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"Could not read {path}: {error.strerror or error}; {remedy}.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        where = f"{field}: " if field else ""
        raise InputError(
            f"{path} does not hold the metrics of a baseline ({where}{first['msg']}); {remedy}."
        ) from None


def _conversation_rates(ran: pd.DataFrame, turns: pd.DataFrame) -> dict[str, Rate | None]:
    # What an agent that calls nothing reaches does not depend on the session: a verdict a conversation.
    known = ran[(ran["state"] >= 0) & (ran["noop"] >= 0)].drop_duplicates("conversation")
    everyone = int(ran["conversation"].nunique())
    return {
        "turns_right": rate(ran, "turns_right"),
        "state_match": rate(ran, "state"),
        "state_match_floor": rate(known, "noop") if len(known) else None,
        "chain_success": rate(ran, "chain"),
        "conversations_with_tool_success": _at_least_one(turns, "tool_success", among=everyone),
        "conversations_with_response_success": _at_least_one(turns, "reply", among=None),
    }


def _further_calls(turns: pd.DataFrame) -> int | None:
    recorded = turns["asked_for_more"] >= 0
    return int((turns["asked_for_more"] == 1).sum()) if recorded.any() else None


def _turn_rates(turns: pd.DataFrame) -> dict[str, Rate]:
    return {
        "turn_success": rate(turns, "success"),
        "turn_tool_success": rate(turns, "tool_success"),
        "turn_response_success": rate(turns, "reply"),
        "expected_failures": rate(turns[turns["expect_success"] == 0], "success"),
    }


def _bounds(sessions: pd.DataFrame) -> Bounds | None:
    """Return strict success with the sessions without a verdict counted as failed, and as succeeded."""
    tried = sessions[sessions["status"] != "not_recorded"]
    undecided = tried["overall"] < 0
    missing = int(undecided.sum())
    if not missing:
        return None
    return Bounds(
        missing=missing,
        worst=rate(tried.assign(overall=tried["overall"].mask(undecided, 0)), "overall"),
        best=rate(tried.assign(overall=tried["overall"].mask(undecided, 1)), "overall"),
    )


def _at_least_one(turns: pd.DataFrame, verdict: str, *, among: int | None) -> Rate:
    """Return the rate of conversations with a yes in any session.

    Among those given or (None) those with any verdict. Of those given, conversations that have no yes but
    a turn without a verdict are not counted.
    """
    verdicts = turns.groupby("conversation", observed=True)[verdict].agg(["max", "min"])
    yes = verdicts["max"] == 1
    if among is None:
        return Rate.of_conversations(int(yes.sum()), int((verdicts["max"] >= 0).sum()))
    undecided = ~yes & (verdicts["min"] < 0)
    return Rate.of_conversations(int(yes.sum()), among - int(undecided.sum()))


def _planned(ran: pd.DataFrame) -> int | None:
    planned = ran["planned"]
    return int(planned.sum()) if len(planned) and planned.notna().all() else None


def _replies(turns: pd.DataFrame) -> ReplyCounts:
    counts = counts_of(turns["reply_status"])
    return ReplyCounts(**{name: counts.get(name, 0) for name in ("scored", "unscored", "not_applicable")})


def _first_failed_turn(ran: pd.DataFrame) -> dict[str, int]:
    failed = ran.loc[(ran["turns_right"] == 0) & ran["failed_at"].notna(), "failed_at"].astype("int64")
    return {str(turn): int(count) for turn, count in failed.value_counts().sort_index().items()}
