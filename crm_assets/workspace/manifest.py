"""manifest.json: what every file of a finished baseline held when it was finished."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

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
    "read_manifest",
    "write_manifest",
]

MANIFEST_NAME: Final = "manifest.json"

_ON_THE_WAY = ".partial"  # sessions that are not all through yet, and what says of which run they are


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class FileRecord(_Part):
    """One file."""

    bytes: int
    """Its size."""
    sha256: str
    """Hex SHA-256 of its content."""


class Manifest(_Part):
    """The files of a baseline, sealed: a change of the manifest itself shows, too."""

    schema_version: Literal[1] = 1
    """Version of this document's form."""
    baseline: str
    """`dataset|run`."""
    files: dict[str, FileRecord]
    """By path in the baseline's folder."""
    sha256: str
    """Hex SHA-256 of all of the above, as JSON with sorted keys."""

    @classmethod
    def of(cls, baseline: str, files: dict[str, FileRecord]) -> Manifest:
        """The sealed manifest of these files."""
        draft = cls(baseline=baseline, files=files, sha256="")
        return draft.model_copy(update={"sha256": draft._seal()})

    def _seal(self) -> str:
        content = self.model_dump(mode="json", exclude={"sha256"})
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @property
    def intact(self) -> bool:
        """Whether it is still what was sealed."""
        return self.sha256 == self._seal()

    def document(self) -> bytes:
        """It as a file: the same manifest, the same bytes."""
        options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(self.model_dump(mode="json"), option=options)


def baseline_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a baseline but for its manifest: path in the folder, and where it is; in order.

    What is being written at the moment is left out.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in Path(name).parts)
        if path.is_file() and not hidden and name != MANIFEST_NAME and _ON_THE_WAY not in path.name:
            yield name, path


def write_manifest(paths: BaselinePaths) -> Path:
    """Write down what the files of a baseline hold, now that it is finished; returns where.

    Raises:
        InfrastructureError: the disk refused.
    """
    files = {
        name: FileRecord(bytes=path.stat().st_size, sha256=sha256_of_file(path))
        for name, path in baseline_files(paths.folder)
    }
    target = paths.manifest
    with atomic_writer(target) as handle:
        handle.write(Manifest.of(str(paths.key), files).document())
    return target


def read_manifest(paths: BaselinePaths) -> Manifest:
    """The manifest of a baseline.

    Raises:
        InputError: there is none, or it is not as it was written.
    """
    path = paths.manifest
    try:
        content = path.read_bytes()
        manifest = Manifest.model_validate(_parsed(content))
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is missing, so nothing says what the files were: materialize baseline_readme of "
            "this partition again."
        ) from error
    except (OSError, ValidationError, orjson.JSONDecodeError) as error:
        raise InputError(f"{path} is no manifest: it was changed after the baseline was made.") from error
    if not manifest.intact or manifest.document() != content or manifest.baseline != str(paths.key):
        raise InputError(f"{path} was changed after the baseline was made, or is of another one.")
    return manifest


def _parsed(content: bytes) -> Any:
    return orjson.loads(content)
