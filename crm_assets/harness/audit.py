"""The audit of a dataset with its ground truth run: does every turn come out as the dataset says?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crm_assets.conversations import AuditReport, Conversation, ReplayFinding, audit
from crm_assets.conversations.audit import EXAMPLES
from crm_assets.crm import SandboxPool, created_ids, seed_fields
from crm_assets.database import Databases
from crm_assets.harness.ground_truth import GroundTruthStore, replay_finding

__all__ = ["audit_dataset"]


def audit_dataset(path: Path, *, databases: Databases, examples: int | None = EXAMPLES) -> AuditReport:
    """Audit the dataset at `path`, replaying what has not been replayed before.

    The end states found on the way are kept, so that runs over the dataset need not compute them.

    Args:
        path: the JSON Lines file.
        databases: where it is replayed.
        examples: number of examples that are kept of each kind of finding; None for all.

    Raises:
        DatasetError: the dataset is malformed.
        InputError: it cannot be read.
        InfrastructureError: the database failed.
    """
    with SandboxPool(databases.sandbox) as pool:
        store = GroundTruthStore(databases.sandbox, pool)
        try:

            def replay(conversations: Sequence[Conversation]) -> list[ReplayFinding | None]:
                truths = store.get_many(conversations)
                return [replay_finding(*pair) for pair in zip(conversations, truths, strict=True)]

            return audit(
                path,
                replay=replay,
                seed_fields=seed_fields(),
                created_ids=created_ids,
                examples=examples,
            )
        finally:
            store.close()
