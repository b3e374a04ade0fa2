"""Which conversations may be trained on: none that is held out, here or by a study of the dataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from crm_assets.atlas.tasks import read_tasks
from crm_assets.conversations import load_conversations
from crm_assets.conversations.revision import read_revision
from crm_assets.conversations.split import Split, Subset, split_conversations
from crm_assets.records import SessionLog
from crm_assets.workspace.baseline_files import BaselinePaths, runs_of
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.project import Project

__all__ = ["Taught", "taught_conversations"]


class Taught(NamedTuple):
    """The conversations of a dataset, by what may be done with them."""

    revision: str
    """Hex SHA-256 of the dataset's file."""
    contents: dict[str, str]
    """Content hash of each conversation, by ID."""
    allowed: frozenset[str]
    """Contents that may be trained on."""
    held_out: frozenset[str]
    """Contents that may not."""
    studies: int
    """Number of splits by studies that were found."""


def taught_conversations(project: Project, dataset: str, split: Split | None) -> Taught:
    """Part the conversations of `dataset` by content.

    Args:
        project: where the dataset and its runs are.
        dataset: the dataset.
        split: whose part to teach on may be trained on; None for all but what studies hold out.

    Raises:
        InputError: the dataset is missing or malformed, or cannot be split.
    """
    file = require_dataset(project, dataset)
    revision = read_revision(file, dataset, root=project.root).sha256
    contents = {each.conversation_id: each.work_hash for each in load_conversations(file)}
    known = set(contents.values())
    allowed, held_out = set(known), set[str]()
    subsets = list(_subsets(project, dataset))
    studied = {subset.split for revised, subset, _ in subsets if revised == revision}
    for each in (*([] if split is None else [split]), *studied):
        parts = split_conversations(load_conversations(file), each)
        held_out |= {contents[name] for name, part in parts.items() if part == "held-out"}
        if each is split:
            allowed = {contents[name] for name, part in parts.items() if part == "teach"}
    for revised, subset, paths in subsets:
        if revised != revision and subset.part == "held-out" and paths.tasks.is_file():
            held_out |= {task.conversation.work_hash for task in read_tasks(paths.tasks)}
    splits = {subset.split for _, subset, _ in subsets}
    return Taught(revision, contents, frozenset(allowed - held_out), frozenset(held_out), len(splits))


def _subsets(project: Project, dataset: str) -> Iterator[tuple[str | None, Subset, BaselinePaths]]:
    """Yield revision, part and files of every run of a study, finished or not."""
    for paths in runs_of(project, dataset):
        log = SessionLog(paths.run.with_name("sessions.jsonl"))  # whose header alone is read
        if paths.run.is_file() and log.is_current and (subset := log.header.subset) is not None:
            yield log.header.dataset_revision, subset, paths
