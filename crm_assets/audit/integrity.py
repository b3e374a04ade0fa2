"""Integrity: the files of a baseline agree with its dataset and with each other.

Everything is read again from disk.
"""

from __future__ import annotations

from typing import NamedTuple

from crm_assets.atlas.tasks import read_task_ids, read_tasks, task_id
from crm_assets.conversations import load_conversations
from crm_assets.conversations.revision import read_revision_file
from crm_assets.records import SessionLog
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.project import Project

__all__ = ["Verdict", "find_dataset_change", "find_session_mismatch", "find_task_mismatch"]


class Verdict(NamedTuple):
    """The finding of a check: no problem, or one sentence that describes it."""

    problem: str | None
    compared: int

    @classmethod
    def good(cls, compared: int) -> Verdict:
        """Return the verdict that all `compared` records are right."""
        return cls(None, compared)


def find_dataset_change(project: Project, paths: BaselinePaths) -> Verdict:
    """Check that the dataset's content is the one that the baseline's revision names."""
    revision = read_revision_file(paths.revision)
    actual = sha256_of_file(require_dataset(project, paths.key.dataset))
    if actual == revision.sha256:
        return Verdict.good(1)
    return Verdict(
        f"Dataset {paths.key.dataset} has changed: its SHA-256 is {actual[:12]}…, the revision says "
        f"{revision.sha256[:12]}…; start a new run, or put the old content back.",
        1,
    )


def find_task_mismatch(project: Project, paths: BaselinePaths, limit: int | None) -> Verdict:
    """Check that the tasks are the dataset's (first `limit`) conversations, one to one and in order.

    Tasks of a part of the dataset are compared with the conversations of that part.
    """
    revision = read_revision_file(paths.revision)
    seen: set[str] = set()
    dataset = load_conversations(require_dataset(project, paths.key.dataset))
    subset = next((task.subset for task in read_tasks(paths.tasks)), None)
    if subset is None:
        expected = revision.conversations if limit is None else min(limit, revision.conversations)
    else:
        wanted = list(subset.of(dataset))
        expected, dataset = len(wanted), iter(wanted)
    for task in read_tasks(paths.tasks):
        conversation = next(dataset, None)
        place = f"Task {len(seen) + 1} ({task.task_id})"
        if task.task_id in seen:
            return Verdict(f"{place} has an ID that an earlier task has.", len(seen))
        seen.add(task.task_id)
        if conversation is None or conversation.content_hash != task.conversation.content_hash:
            found = "nothing" if conversation is None else conversation.conversation_id
            return Verdict(f"{place} is not the dataset's conversation: that is {found}.", len(seen))
        if task.subset != subset:
            return Verdict(f"{place} is of another part of the dataset than the first one.", len(seen))
        if task.dataset_revision != revision.sha256:
            return Verdict(f"{place} was made from another revision of the dataset.", len(seen))
    if len(seen) != expected:
        return Verdict(f"There are {len(seen)} tasks for {expected} conversations.", len(seen))
    return Verdict.good(expected)


def find_session_mismatch(paths: BaselinePaths) -> Verdict:
    """Check that each task of this run has exactly one session in each epoch.

    Raises:
        InputError: the session log cannot be read.
    """
    tasks = dict.fromkeys(read_task_ids(paths.tasks))
    seen: set[tuple[str, int]] = set()
    log = SessionLog(paths.sessions)
    epochs = log.header.epochs
    for number, _, session in log.summaries():
        name, conversation = session.task_id, session.conversation_id
        place = f"Session {number} ({name})"
        if name not in tasks or name != task_id(conversation, paths.key.run_id):
            return Verdict(f"{place} of {conversation} belongs to no task.", len(seen))
        if session.epoch > epochs:
            return Verdict(f"{place} is of epoch {session.epoch}, and the run has {epochs}.", len(seen))
        seen.add((name, session.epoch))
    wanted = [(name, epoch) for epoch in range(1, epochs + 1) for name in tasks]
    missing = [name for name, epoch in wanted if (name, epoch) not in seen]
    if missing:
        return Verdict(
            f"{len(missing)} of {len(wanted)} tasks have no session, the first is {missing[0]}.",
            len(seen),
        )
    return Verdict.good(len(seen))
