"""Telemetry: sessions in the database, in the Atlas SDK's format."""

from __future__ import annotations

from crm_assets.atlas.telemetry.documents import trace_of, usage_document
from crm_assets.atlas.telemetry.drift import Baseline, Drift, Review, ReviewStatus, detect_drift, review
from crm_assets.atlas.telemetry.records import (
    EventType,
    SessionEnd,
    SessionStart,
    Step,
    StepAttempt,
    TrajectoryEvent,
)
from crm_assets.atlas.telemetry.schema import migrate, telemetry_version
from crm_assets.atlas.telemetry.steps import steps_of
from crm_assets.atlas.telemetry.store import Merge, TelemetryStore

__all__ = [
    "Baseline",
    "Drift",
    "EventType",
    "Merge",
    "Review",
    "ReviewStatus",
    "SessionEnd",
    "SessionStart",
    "Step",
    "StepAttempt",
    "TelemetryStore",
    "TrajectoryEvent",
    "detect_drift",
    "migrate",
    "review",
    "steps_of",
    "telemetry_version",
    "trace_of",
    "usage_document",
]
