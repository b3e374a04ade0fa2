"""A folder in object storage, by fsspec: S3 and compatible servers, Google Cloud Storage, Azure.

Objects appear whole or not at all: a large one is uploaded in parts that are joined at the end. A store
that goes away after it has answered is waited for.
"""

from __future__ import annotations

import errno
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from uuid import uuid4

from crm_assets.errors import ConfigError, InfrastructureError, first_line

__all__ = ["AlreadyThere", "ObjectStore", "StoreGone", "StoredFile"]

_logger = logging.getLogger(__name__)

OUTAGE_SECONDS: Final = 300.0
"""Time that a store which has answered before is waited for, by default."""

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 5.0
_TELL_SECONDS = 10.0
_PART_BYTES = 16 << 20
_SINGLE_BYTES = 2 * _PART_BYTES
"""Smaller files go in one request, as s3fs has it; only those can say which object they replace."""
_EXTRAS = {"s3": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az"}
_S3 = ("s3", "s3a")
_NOT_AS_EXPECTED = ("PreconditionFailed", "ConditionalRequestConflict", "ConditionNotMet")
_REFUSED = (
    *("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"),
    *("AuthorizationFailure", "AuthenticationFailed", "NoSuchBucket", "ContainerNotFound"),
)
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_LIBRARIES = ("botocore", "aiobotocore", "aiohttp", "gcsfs", "google", "azure", "fsspec", "s3fs")

_Result = TypeVar("_Result")


class StoreGone(InfrastructureError):
    """The store does not answer; what was under way can be done again once it is back."""


class AlreadyThere(Exception):
    """The object is another than the one that was to be replaced, or there is one already."""


class StoredFile(NamedTuple):
    """An object in the store."""

    bytes: int
    etag: str
    """Changes with its content."""
    modified_ns: int
    """When it was written, nanoseconds since 1970, in whole seconds: stores tell no more."""


class ObjectStore:
    """The objects below one URL; names are paths below it."""

    def __init__(self, url: str, *, outage_seconds: float = OUTAGE_SECONDS) -> None:
        """Open a store; nothing is asked of it yet.

        Args:
            url: protocol, bucket and folder.
            outage_seconds: time to wait for a store that has answered before.

        Raises:
            ConfigError: no library for this kind of store is installed.
        """
        self.url = url
        self._outage_seconds = outage_seconds
        self._has_answered = False
        self._protocol = url.partition("://")[0]
        self._files, self._root = _open(url)

    def url_of(self, name: str) -> str:
        """Return the URL of an object."""
        return f"{self.url}/{name}"

    def find(self, folder: str) -> dict[str, StoredFile]:
        """Return {name: object} of all objects below a folder.

        Raises:
            StoreGone: the store does not answer.
            InfrastructureError: it refuses.
        """
        place = self._place(folder)
        found: Mapping[str, Any] = self._ask(lambda: self._found(place))
        return {
            name.removeprefix(f"{self._root}/"): _file_of(facts)
            for name, facts in found.items()
            if facts.get("type") == "file"
        }

    def _found(self, place: str) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = self._files.find(place, detail=True)
        except FileNotFoundError as error:  # nothing is there yet
            return _unless_refused(error, {})
        return found

    def info(self, name: str) -> StoredFile | None:
        """Return an object's facts; None if there is no such object.

        Raises:
            InfrastructureError: as for `find`.
        """

        def look() -> StoredFile | None:
            try:
                facts = self._files.info(self._place(name))
            except FileNotFoundError as error:
                return _unless_refused(error, None)
            return _file_of(facts) if facts.get("type") == "file" else None

        return self._ask(look)

    def get(self, name: str, target: Path) -> None:
        """Download an object to `target`, in pieces.

        Raises:
            FileNotFoundError: there is no such object.
            InfrastructureError: as for `find`, or the disk refused.
        """
        place, callback = self._place(name), _telling(f"Downloading {self.url_of(name)}")
        self._ask(lambda: self._files.get_file(place, str(target), callback=callback))

    def put(self, source: Path, name: str, *, replaces: str | None) -> StoredFile:
        """Upload a file, in place of the object with the ETag `replaces`; None for a new object.

        The store itself refuses an upload whose condition does not hold, where it can: a new object
        everywhere, a replacement on S3 up to 32 MiB. Else the object is looked at just before.

        Raises:
            AlreadyThere: the object is another one.
            InfrastructureError: as for `find`.
        """
        place = self._place(name)
        options: dict[str, Any] = {"mode": "create"} if replaces is None else {}
        if self._protocol in _S3:
            options["chunksize"] = _PART_BYTES
            if replaces is not None and source.stat().st_size < _SINGLE_BYTES:
                options["IfMatch"] = replaces
        if replaces is not None and "IfMatch" not in options:
            there = self.info(name)
            if there is None or there.etag != replaces:
                raise AlreadyThere(self.url_of(name))
        options["callback"] = _telling(f"Uploading {self.url_of(name)}")
        self._ask(lambda: self._files.put_file(str(source), place, **options))
        return self._uploaded(name)

    def overwrite(self, source: Path, name: str) -> StoredFile:
        """Upload a file, whatever is there.

        Raises:
            InfrastructureError: as for `find`.
        """
        self._ask(lambda: self._files.put_file(str(source), self._place(name)))
        return self._uploaded(name)

    def _uploaded(self, name: str) -> StoredFile:
        found = self.info(name)
        if found is None:
            raise InfrastructureError(f"{self.url_of(name)} was uploaded and is gone: see who removes it.")
        return found

    def remove(self, name: str) -> None:
        """Remove an object; it need not be there.

        Raises:
            InfrastructureError: as for `find`.
        """

        def remove() -> None:
            with suppress(FileNotFoundError):
                self._files.rm_file(self._place(name))

        self._ask(remove)

    def check(self) -> bool:
        """Write an object and remove it; return False if the store let it be replaced against a condition.

        Raises:
            InfrastructureError: as for `find`.
        """
        name = f".check-{uuid4().hex}"
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"x")
            file.flush()
            self.put(Path(file.name), name, replaces=None)
            try:
                self.put(Path(file.name), name, replaces=None)
            except AlreadyThere:
                return True
            finally:
                self.remove(name)
        return False

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder.

        Raises:
            InfrastructureError: as for `find`.
        """

        def look() -> list[Mapping[str, Any]]:
            try:
                return list(self._files.ls(self._place(folder), detail=True))
            except FileNotFoundError as error:
                return _unless_refused(error, [])

        found = self._ask(look)
        return sorted(
            str(each["name"]).rstrip("/").rpartition("/")[2]
            for each in found
            if each.get("type") == "directory"
        )

    def _place(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")

    def _ask(self, work: Callable[[], _Result]) -> _Result:
        """Return the result of `work`, done again while a store that has answered before is away."""
        give_up_at: float | None = None
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                result = self._translated(work)
            except StoreGone as error:
                now = time.monotonic()
                if give_up_at is None:
                    give_up_at = now + self._outage_seconds if self._has_answered else now
                    if give_up_at > now:
                        _logger.warning("%s Waiting for it …", error)
                if now + pause > give_up_at:
                    raise
            else:
                self._has_answered = True
                return result
            time.sleep(pause)
            pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)

    def _translated(self, work: Callable[[], _Result]) -> _Result:
        """Return the result of `work`, whose errors are any library's."""
        try:
            return work()
        except FileExistsError as error:
            raise AlreadyThere(str(error)) from error
        except FileNotFoundError as error:
            if _code(error) in _REFUSED:
                raise self._refusal(error) from error
            raise
        except Exception as error:
            if _code(error) in _NOT_AS_EXPECTED:
                raise AlreadyThere(str(error)) from error
            if isinstance(error, OSError) and error.errno in _DISK:
                raise InfrastructureError(
                    f"Could not keep what {self.url} holds: {error.strerror or error}; free some space."
                ) from error
            if isinstance(error, PermissionError) or _code(error) in _REFUSED or "redential" in str(error):
                raise self._refusal(error) from error
            if isinstance(error, (OSError, TimeoutError)) or _is_of_library(error):
                raise StoreGone(
                    f"{self.url} does not answer ({first_line(error)}): start its server, or correct the "
                    "address (for S3, AWS_ENDPOINT_URL)."
                ) from error
            raise

    def _refusal(self, error: Exception) -> InfrastructureError:
        return InfrastructureError(
            f"{self.url} refuses ({first_line(error).rstrip('.')}): check the bucket, and the credentials "
            "in the provider's usual places (for S3, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "AWS_PROFILE, or the machine's role)."
        )


def _open(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the URL's path on it."""
    import fsspec  # noqa: PLC0415  (only where there is a store)

    protocol = url.partition("://")[0]
    try:
        opened = fsspec.core.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        how = f"install `crm-assets[{extra}]`" if extra else "install its library for fsspec"
        raise ConfigError(f"{url} cannot be used ({first_line(error)}): {how}.") from error
    except ValueError as error:
        raise ConfigError(
            f"{url} is of an unknown kind ({first_line(error)}): use s3://, gs://, az://, or a folder."
        ) from error
    return opened[0], str(opened[1]).rstrip("/")


def _file_of(facts: Mapping[str, Any]) -> StoredFile:
    modified = next(
        (facts[name] for name in ("LastModified", "last_modified", "mtime", "updated") if name in facts), 0
    )
    if isinstance(modified, str):
        modified = datetime.fromisoformat(modified.replace("Z", "+00:00"))
    seconds = int(modified.timestamp() if isinstance(modified, datetime) else modified)
    size = int(facts["size"])
    etag = facts.get("ETag") or facts.get("etag") or f"{size}-{modified}"
    return StoredFile(size, str(etag), seconds * 1_000_000_000)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _code(error: BaseException) -> str:
    """Return the provider's own code of an error; empty if it has none."""
    for each in _chain(error):
        response = getattr(each, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        if code := getattr(each, "error_code", None):
            return str(code)
    return ""


def _unless_refused(error: FileNotFoundError, nothing: _Result) -> _Result:
    """Return what a missing object comes to; where the bucket itself is missing, raise the error."""
    if _code(error) in _REFUSED:
        raise error
    return nothing


def _is_of_library(error: BaseException) -> bool:
    return any(type(each).__module__.partition(".")[0] in _LIBRARIES for each in _chain(error))


def _telling(what: str) -> Any:
    """Return fsspec's callback of a transfer, which tells every few seconds how far it is."""
    import fsspec  # noqa: PLC0415

    last = time.monotonic()

    def tell(size: int | None, value: int, **_: object) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _TELL_SECONDS:
            last = now
            of = f" of {size / 1e6:,.0f}" if size else ""
            _logger.info("%s: %s%s MB", what, f"{value / 1e6:,.0f}", of)

    return fsspec.callbacks.Callback(hooks={"tell": tell})
