"""The choices that a plan and a configuration share."""

from __future__ import annotations

from typing import Literal

__all__ = [
    "MODEL_ROLES",
    "AgentKind",
    "CallsPerTurn",
    "Engine",
    "ExecutionMode",
    "Feedback",
    "LearningMode",
    "ModelRole",
]

AgentKind = Literal["atlas", "student", "replay", "noop", "recorded"]
"""Agent of a session: the whole Atlas loop, its student alone, or an agent without a model."""

CallsPerTurn = Literal["one", "many"]
"""Calls made of those in a student's turn: the first, or all of them, in several rounds."""

Engine = Literal["crm_assets", "sdk"]
"""Driver of the loop: this package, or the Atlas SDK."""

ExecutionMode = Literal["auto", "paired", "coach"]

Feedback = Literal["none", "verdicts", "oracle"]
"""The harness's verdicts and ground truth that judges and learner see."""

LearningMode = Literal["on", "frozen", "off"]
"""`on`: sessions of a key run in order and each learns; `frozen`: what was learned is used and stays as
it is; `off`: nothing learned is used."""

ModelRole = Literal["student", "teacher", "judge", "learner"]

MODEL_ROLES: tuple[ModelRole, ...] = ("student", "teacher", "judge", "learner")
