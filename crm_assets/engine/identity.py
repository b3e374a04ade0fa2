"""A session's keys: in its run, in the ledger, and of the stream that it learns in."""

from __future__ import annotations

import hashlib

from crm_assets.workspace.keys import ends_like_epoch

__all__ = ["FIRST_EPOCH", "learning_key", "ledger_key", "session_key"]

FIRST_EPOCH = 1


def session_key(task_id: str, epoch: int = FIRST_EPOCH) -> str:
    """Return the key of a session in its run: a task, and which time (from 1) it is worked on.

    Different sessions have different keys: a task whose ID itself ends like an epoch is always given one.
    """
    return task_id if epoch == FIRST_EPOCH and not ends_like_epoch(task_id) else f"{task_id}#{epoch}"


def ledger_key(conversation_id: str, epoch: int = FIRST_EPOCH) -> str:
    """Return the key under which a session's calls are recorded in its run's ledger.

    It does not name the run, so that another run can be answered from the same ledger.
    """
    return session_key(conversation_id, epoch)


def learning_key(workflow_category: str, complexity_level: str) -> str:
    """Return the key of the stream that sessions of such conversations learn in.

    The hex SHA-256 of `crm-benchmark::<workflow_category>::<complexity_level>`, as existing CRM runs have
    it.
    """
    return hashlib.sha256(f"crm-benchmark::{workflow_category}::{complexity_level}".encode()).hexdigest()
