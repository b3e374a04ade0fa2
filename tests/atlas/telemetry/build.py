"""Sessions to be stored, as the loop would leave them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from crm_assets.atlas.outcomes import (
    Judgment,
    ModeDecision,
    Principle,
    Reward,
    SampleStats,
    Validation,
)
from crm_assets.atlas.playbook import Cue, LearningState, PlaybookAction, PlaybookEntry, Provenance
from crm_assets.atlas.telemetry import SessionEnd, SessionStart, Step, StepAttempt, TrajectoryEvent
from crm_assets.llm.messages import Usage
from crm_assets.llm.spending import Spending

KEY = "a" * 64
RUN = "20260101T000000Z-abc"

PRINCIPLES = (Principle(name="Right row", weight=0.7, description="The client that was meant."),)
NOTHING_WRONG = Validation(valid=True)
LOOK_AGAIN = Validation(valid=False, guidance="Search for the client first.")


def start(number: int = 1, **changes: Any) -> SessionStart:
    """A session of run `RUN` and key `KEY`."""
    begun = SessionStart(
        session_key=f"dev|{RUN}|c-{number}|1",
        run_id=RUN,
        learning_key=KEY,
        task=f"Work on conversation c-{number}.",
        metadata={
            "conversation_id": f"c-{number}",
            "incident_id": f"c-{number}",
            "workflow_category": "Client Management",
            "complexity_level": "simple",
            "tags": ["crm", "dev"],
        },
    )
    return replace(begun, **changes)


def reward(score: float = 0.75, uncertainty: float = 0.1, **changes: Any) -> Reward:
    """Three judges' word."""
    samples = tuple(
        Judgment(
            score=score,
            rationale=f"It was worth {score}, says the judge at {temperature}.",
            principles=PRINCIPLES,
            uncertainty=uncertainty,
            temperature=temperature,
        )
        for temperature in (0.2, 0.5, 0.8)
    )
    whole = Reward(
        status="scored",
        score=score,
        rationale=samples[0].rationale,
        principles=PRINCIPLES,
        samples=samples,
        stats=SampleStats(
            score=score,
            score_mean=score,
            score_stddev=0.0,
            sample_count=3,
            uncertainty_mean=uncertainty,
            uncertainty_stddev=0.0,
            best_uncertainty=uncertainty,
            timestamp="2026-01-01T00:00:00+00:00",
        ),
        audit=tuple(
            {
                "stage": "tier1",
                "model": "offline/judge",
                "temperature": sample.temperature,
                "messages": [{"role": "user", "content": "Judge this."}],
                "response": sample.rationale,
                "usage": {"prompt_tokens": 10, "completion_tokens": 5},
            }
            for sample in samples
        ),
    )
    return whole.model_copy(update=changes)


NO_REWARD = Reward(status="failed", score=None, rationale=None, audit=({"stage": "tier1", "error": "no"},))


def end(turns: int = 5, *, attempts: int = 2, **changes: Any) -> SessionEnd:
    """A session of `turns` turns that went well, at the last attempt."""
    ids = range(1, turns + 1)
    tries = range(1, attempts + 1)
    whole = SessionEnd(
        status="succeeded",
        final_answer="All is done.",
        mode=ModeDecision(mode="paired", source="forced"),
        reward=reward(),
        validation=NOTHING_WRONG,
        steps=tuple(
            Step(
                id=number,
                description=f"Please do number {number}.",
                tool="client_search",
                tool_params={"name": f"Client {number}", "limit": number},
                trace='{"result":[{"name":"Acme"}],"error":null}',
                output=f"Number {number} is done.",
                attempts=attempts,
                metadata={"success": True, "verification": "exact_match"},
            )
            for number in ids
        ),
        attempts=tuple(
            StepAttempt(
                step_id=number,
                attempt=attempt,
                validation=NOTHING_WRONG if attempt == attempts else LOOK_AGAIN,
                evaluation={"tool": "client_search", "success": attempt == attempts},
            )
            for number in ids
            for attempt in tries
        ),
        guidance=tuple(f"{LOOK_AGAIN.guidance} ({attempt})" for attempt in tries[1:]),
        events=(
            TrajectoryEvent("WORKFLOW_START", "session", "atlas", 1_760_000_000.5, data={"input": "c-1"}),
            *(
                TrajectoryEvent("TOOL_END", "client_search", "student", metadata={"turn": number})
                for number in ids
            ),
            TrajectoryEvent("WORKFLOW_END", "session", "atlas"),
        ),
        student_note="Search before you write.",
        teacher_note="Ask for the search.",
        spending={
            "student": Spending(10, 1, Usage(1000, 100, 200, 0), 0.01),
            "teacher": Spending(2, 0, Usage(500, 50), 0.02),
        },
    )
    return replace(whole, **changes)


def entry(name: str = "e-1") -> PlaybookEntry:
    """Something learnt."""
    return PlaybookEntry(
        id=name,
        cue=Cue(type="keyword", pattern="client"),
        action=PlaybookAction(imperative="Search for the client first.", runtime_handle="client_search"),
        provenance=Provenance(created_at="2026-01-01T00:00:00Z"),
    )


def learn(state: LearningState) -> LearningState:
    """One session's lesson."""
    return state.model_copy(
        update={
            "version": state.version + 1,
            "sessions": state.sessions + 1,
            "student_learning": "Search first.",
            "entries": (*state.entries, entry(f"e-{state.version + 1}")),
        }
    )
