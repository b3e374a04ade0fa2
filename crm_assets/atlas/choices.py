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
"""What takes a session's turns: the whole Atlas loop, its student alone, or an agent without a model."""

CallsPerTurn = Literal["one", "many"]
"""How many of its calls a student's turn makes: the first, or all of them, in several rounds."""

Engine = Literal["crm_assets", "sdk"]
"""What drives the loop: this package, or the Atlas SDK."""

ExecutionMode = Literal["auto", "paired", "coach"]

Feedback = Literal["none", "verdicts", "oracle"]
"""What judges and learner see of the harness's verdicts and the ground truth."""

LearningMode = Literal["on", "frozen", "off"]
"""`on`: sessions of a key run in order and each learns; `frozen`: what was learned is used and stays as
it is; `off`: nothing learned is used."""

ModelRole = Literal["student", "teacher", "judge", "learner"]

MODEL_ROLES: tuple[ModelRole, ...] = ("student", "teacher", "judge", "learner")
