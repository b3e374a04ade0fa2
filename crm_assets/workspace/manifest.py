"""manifest.json: size and hash of every file of a finished baseline."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from crm_assets.errors import InputError
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import atomic_writer, sha256_of_file

__all__ = [
    "MANIFEST_NAME",
    "FileRecord",
    "Manifest",
    "baseline_files",
    "published_files",
    "read_manifest",
    "write_manifest",
]

MANIFEST_NAME: Final = "manifest.json"

_ON_THE_WAY = ".partial"  # unfinished sessions, and the facts of their run


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRecord(_Frozen):
    """One file."""

    bytes: int
    """Size of the file."""
    sha256: str
    """Hex SHA-256 of its content."""


class Manifest(_Frozen):
    """The files of a baseline, with a seal that shows changes of the manifest itself."""

    schema_version: Literal[1, 2] = 2
    """Version of this document's form."""
    baseline: str
    """`dataset|run`."""
    files: dict[str, FileRecord]
    """{path in the baseline's folder: file}."""
    written_by: str | None = None
    """Hash of the code that wrote the pages (see `reporting.page_code`); None in version 1."""
    sha256: str
    """Hex SHA-256 of the fields above, as JSON with sorted keys."""

    @classmethod
    def of(cls, baseline: str, files: dict[str, FileRecord], written_by: str | None) -> Manifest:
        """Return the sealed manifest of these files."""
        draft = cls(baseline=baseline, files=files, written_by=written_by, sha256="")
        return draft.model_copy(update={"sha256": draft._seal()})

    def _seal(self) -> str:
        content = self.model_dump(mode="json", exclude={"sha256"}, exclude_none=True)
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @property
    def intact(self) -> bool:
        """Return True if the manifest is unchanged since it was sealed."""
        return self.sha256 == self._seal()

    def document(self) -> bytes:
        """Return the file's content; equal manifests have equal bytes."""
        options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(self.model_dump(mode="json", exclude_none=True), option=options)


def baseline_files(paths: BaselinePaths) -> Iterator[tuple[str, Path]]:
    """Yield (path in the folder, file) of a baseline's files, sorted, without its manifest.

    Files that are being written are left out; those in a store are brought here.
    """
    paths.bring_all()
    folder = paths.folder
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in Path(name).parts)
        if path.is_file() and not hidden and name != MANIFEST_NAME and _ON_THE_WAY not in path.name:
            yield name, path


def write_manifest(paths: BaselinePaths, *, written_by: str | None = None) -> Path:
    """Write the manifest of a baseline's current files; return its path.

    Raises:
        InfrastructureError: the file cannot be written.
    """
    paths.remove_unfinished()
    files = {
        name: FileRecord(bytes=path.stat().st_size, sha256=sha256_of_file(path))
        for name, path in baseline_files(paths)
    }
    target = paths.manifest
    with atomic_writer(target) as handle:
        handle.write(Manifest.of(str(paths.key), files, written_by).document())
    return target


def published_files(paths: BaselinePaths) -> dict[str, str]:
    """Return {path in the folder: hex SHA-256} of a baseline's files, its manifest included.

    Raises:
        InputError: the manifest is missing or changed.
    """
    files = {name: record.sha256 for name, record in read_manifest(paths).files.items()}
    return {**files, MANIFEST_NAME: sha256_of_file(paths.manifest)}


def read_manifest(paths: BaselinePaths) -> Manifest:
    """Return the manifest of a baseline.

    Raises:
        InputError: it is missing, or was changed after it was written.
    """
    path = paths.manifest
    try:
        content = path.read_bytes()
        manifest = Manifest.model_validate(orjson.loads(content))
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is missing, so the files cannot be checked: materialize baseline_readme of this "
            "partition again."
        ) from error
    except (OSError, ValidationError, orjson.JSONDecodeError) as error:
        raise InputError(
            f"{path} is not a manifest: it was changed after the baseline was made."
        ) from error
    if not manifest.intact or manifest.document() != content or manifest.baseline != str(paths.key):
        raise InputError(f"{path} was changed after the baseline was made, or belongs to another one.")
    return manifest
