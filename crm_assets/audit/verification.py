"""Computes again what a baseline's files say of each other, and finds any byte that was changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

from crm_assets.audit.models import Check, DagsterRecords, Verification
from crm_assets.audit.rechecks import CannotTell, Finding, Rechecks
from crm_assets.errors import CrmAssetsError
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.manifest import MANIFEST_NAME, Manifest, baseline_files, read_manifest
from crm_assets.workspace.project import Project

__all__ = ["verify_baseline"]

_SHORT = 12


def verify_baseline(project: Project, paths: BaselinePaths, dagster: DagsterRecords | None) -> Verification:
    """Compute everything again that can be.

    What follows from a file that was changed is not held against what was made of it before.

    Args:
        project: whose baseline it is.
        paths: a finished baseline's.
        dagster: what Dagster's storage says was materialized; None where it does not answer.
    """
    work = _Verifier(paths)
    manifest = work.manifest()
    again = Rechecks(project, paths, work.changed(), manifest)
    dataset = project.relative(project.dataset_file(paths.key.dataset))
    work.check(dataset, "hash as in revision.json", again.dataset)
    work.check(paths.tasks.name, "hash as in run.json; of this revision of the dataset", again.tasks)
    work.check(paths.sessions.name, "a session for each task, all of this run", again.sessions)
    work.check(paths.run.name, "agent and code as in metrics.json", again.run)
    work.check(paths.metrics.name, "every figure, from the sessions", again.figures)
    work.check(paths.readme.name, "every line, from the sessions", again.readme)
    if again.asked_models():
        work.check(paths.ledger.name, "sums by role as in the sessions", again.ledger)
    if paths.playbook.is_file():
        work.check(paths.playbook.name, "hashes of its entries, as in run.json", again.playbook)
    for name, sha256 in again.imported():
        work.check(name, "hash as in the sessions", partial(work.hash, name, sha256))
    work.materialized(dagster)
    work.strangers()
    return Verification(checks=tuple(work.checks), notes=tuple(work.notes))


class _Verifier:
    """Notes what is found with one baseline's files."""

    def __init__(self, paths: BaselinePaths) -> None:
        self.checks: list[Check] = []
        self.notes: list[str] = []
        self._paths = paths
        self._there = dict(baseline_files(paths))
        if paths.manifest.is_file():
            self._there[MANIFEST_NAME] = paths.manifest
        self._hashes: dict[str, str] = {}

    def check(self, file: str, what: str, find: Finding) -> None:
        """Note what `find` finds wrong with `file`."""
        try:
            problem = find()
        except CannotTell as reason:
            self.notes.append(f"{file} ({what}) could not be checked: {reason}.")
            return
        except CrmAssetsError as error:
            problem = str(error)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            # A damaged file may hold anything; what trips over it has found it.
            problem = f"{file} cannot be read ({type(error).__name__}: {error})."
        self.checks.append(Check(file=file, what=what, problem=problem))

    def manifest(self) -> Manifest | None:
        """Check the manifest and every file that it names; return it, or None if it cannot be read."""
        found: list[Manifest] = []

        def read() -> None:
            found.append(read_manifest(self._paths))

        self.check(MANIFEST_NAME, "as it was written", read)
        for manifest in found:
            for name, record in manifest.files.items():
                self.check(name, f"hash as in {MANIFEST_NAME}", partial(self.hash, name, record.sha256))
            self._note_others(manifest.files, MANIFEST_NAME)
        return found[0] if found else None

    def changed(self) -> frozenset[str]:
        """Return the files that failed a check so far."""
        return frozenset(check.file for check in self.checks if check.problem is not None)

    def materialized(self, dagster: DagsterRecords | None) -> None:
        """Compare the files with the hashes that Dagster recorded when they were made."""
        if dagster is None:
            self.notes.append("Dagster's storage does not answer: the hashes in it could not be checked.")
            return
        if dagster.published:
            self._published(dagster.published)
            return
        recorded = [each for each in dagster.materializations if each.file and each.sha256]
        if not recorded:
            self.notes.append(
                "Dagster's storage has no record of this baseline: it was made without Dagster."
            )
        for each in recorded:
            name, sha256 = str(each.file), str(each.sha256)
            what = f"hash as when {each.asset} was materialized"
            self.check(name, what, partial(self.hash, name, sha256))

    def _published(self, published: Sequence[Mapping[str, str]]) -> None:
        """Compare all files with the record of them that has this manifest, else with the newest one.

        Older ones count, since a baseline that was replaced can be restored.
        """
        manifest = self._sha256(MANIFEST_NAME)
        files = next((each for each in published if each.get(MANIFEST_NAME) == manifest), published[0])
        for name, sha256 in files.items():
            self.check(name, "hash as Dagster recorded it", partial(self.hash, name, sha256))
        self._note_others(files, "what Dagster recorded")

    def strangers(self) -> None:
        """Note files that are no baseline's: hidden ones, and ones that are still being written."""
        for path in sorted(self._paths.folder.rglob("*")):
            name = path.relative_to(self._paths.folder).as_posix()
            if path.is_file() and name not in self._there:
                self.notes.append(f"{name} is hidden or unfinished, and no part of the baseline.")

    def _note_others(self, known: Collection[str], where: str) -> None:
        self.notes += [
            f"{name} is not in {where}: it came later, and nothing says what it was."
            for name in self._there
            if name not in known and name != MANIFEST_NAME
        ]

    def hash(self, name: str, sha256: str) -> str | None:
        """Return a sentence if a file of the baseline is missing or has another hash than `sha256`."""
        found = self._sha256(name)
        if found is None:
            return f"{name} is gone."
        if found == sha256:
            return None
        return f"{name} was changed: its SHA-256 is {found[:_SHORT]}…, and was {sha256[:_SHORT]}…."

    def _sha256(self, name: str) -> str | None:
        """Return the hash of a file as it is now; None for a missing one."""
        if name not in self._hashes and name in self._there:
            self._hashes[name] = sha256_of_file(self._there[name])
        return self._hashes.get(name)
