"""The keys of a baseline: its dataset and its run.

The only module that parses and formats such keys. It does not import Dagster, so that commands start
quickly.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from crm_assets.errors import InputError

__all__ = [
    "DATASET_DIMENSION",
    "RUN_DIMENSION",
    "BaselineKey",
    "RunKey",
    "ends_like_epoch",
    "has_form_of_key",
    "is_name",
    "is_run_key",
    "parse_dataset",
    "parse_namespace",
]

DATASET_DIMENSION = "dataset"
RUN_DIMENSION = "run"

_SEPARATOR = "|"  # Dagster's, between the dimensions of a multi-partition key
_MAX_LENGTH = 100  # a key becomes a folder's name
_NAME = r"[a-z0-9_-]+"
_DATASET = re.compile(_NAME)
_EPOCH = re.compile(r"#[0-9]+\Z")
_RUN = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z" rf"(?:-({_NAME}))?")


def ends_like_epoch(key: str) -> bool:
    """Tell if a key ends like that of a later epoch's session: `#` and a number."""
    return _EPOCH.search(key) is not None


def is_name(text: str) -> bool:
    """Return True if `text` can name a dataset or a namespace: lower-case letters, digits, `_` and `-`."""
    return _DATASET.fullmatch(text) is not None and len(text) <= _MAX_LENGTH


def is_run_key(text: str) -> bool:
    """Return True if `text` is a whole run key."""
    try:
        RunKey.parse(text)
    except InputError:
        return False
    return True


def has_form_of_key(text: str) -> bool:
    """Return True if `text` is written as a run key is, though its time may not exist."""
    return _RUN.fullmatch(text) is not None


def parse_namespace(text: str) -> str:
    """Return `text` if it can name a namespace of playbooks.

    Raises:
        InputError: it cannot.
    """
    if not is_name(text):
        raise InputError(
            f"{text!r} is not a namespace: use lower-case letters, digits, '_' and '-' only "
            f"(at most {_MAX_LENGTH}), as in 'dev' or 'shared'."
        )
    return text


def parse_dataset(text: str) -> str:
    """Return `text` if it is a valid dataset key: lower-case letters, digits, `_` and `-`.

    Raises:
        InputError: it is not valid.
    """
    if not is_name(text):
        raise InputError(
            f"{text!r} is not a dataset key: use lower-case letters, digits, '_' and '-' only "
            f"(at most {_MAX_LENGTH}), as in 'dev'."
        )
    return text


@dataclass(frozen=True, order=True)
class RunKey:
    """One run: the UTC second of its start, and optionally a label."""

    started: datetime
    label: str = ""

    @classmethod
    def parse(cls, text: str) -> RunKey:
        """Read `YYYYMMDDTHHMMSSZ` or `YYYYMMDDTHHMMSSZ-label`.

        Raises:
            InputError: `text` has another form, or is not an existing time.
        """
        match = _RUN.fullmatch(text)
        if match is None or len(text) > _MAX_LENGTH:
            raise InputError(
                f"{text!r} is not a run key: use a UTC time, optionally with a label of lower-case "
                "letters, digits, '_' and '-', as in '20260131T093000Z' or '20260131T093000Z-trial'."
            )
        *parts, label = match.groups()
        try:
            started = datetime(*map(int, parts), tzinfo=timezone.utc)  # type: ignore[arg-type, misc]
        except ValueError as error:
            raise InputError(
                f"{text!r} is not a run key: there is no such time ({error}); "
                "use a real UTC time as in '20260131T093000Z'."
            ) from error
        return cls(started, label or "")

    @classmethod
    def now(cls, label: str = "") -> RunKey:
        """Return a run that starts in this second.

        Raises:
            InputError: `label` cannot be part of a run key.
        """
        return cls.parse(str(cls(datetime.now(timezone.utc), label)))

    @property
    def timestamp(self) -> str:
        """Return the run's time without its label, `YYYYMMDDTHHMMSSZ`."""
        at = self.started
        date = f"{at.year:04}{at.month:02}{at.day:02}"  # strftime does not pad years everywhere
        return f"{date}T{at.hour:02}{at.minute:02}{at.second:02}Z"

    def next_second(self) -> RunKey:
        """Return a run with the same label one second later."""
        return RunKey(self.started + timedelta(seconds=1), self.label)

    def made_by(self, modified_ns: int) -> tuple[datetime, str]:
        """Return what runs are to be sorted by: the key, but no later time than that of the run's file.

        A key in the future would otherwise stay the newest for ever.

        Args:
            modified_ns: the file's modification time, nanoseconds since 1970.
        """
        modified = datetime.fromtimestamp(modified_ns / 1e9, tz=timezone.utc)
        return min(self.started, modified), str(self)

    def __str__(self) -> str:
        return f"{self.timestamp}-{self.label}" if self.label else self.timestamp


@dataclass(frozen=True, order=True)
class BaselineKey:
    """One baseline: a run over a dataset; its text is Dagster's partition key `dataset|run`."""

    dataset: str
    run: RunKey

    @classmethod
    def of(cls, dataset: str, run: str | RunKey) -> BaselineKey:
        """Return the baseline of these two keys.

        Raises:
            InputError: one of them is not valid.
        """
        return cls(parse_dataset(dataset), RunKey.parse(str(run)))

    @classmethod
    def parse(cls, text: str) -> BaselineKey:
        """Read `dataset|run`.

        Raises:
            InputError: `text` is not of that form.
        """
        dataset, separator, run = text.partition(_SEPARATOR)
        if not separator:
            raise InputError(
                f"{text!r} is not a partition key: use '<dataset>{_SEPARATOR}<run>', "
                f"as in 'dev{_SEPARATOR}20260131T093000Z'."
            )
        return cls.of(dataset, run)

    @classmethod
    def from_dimensions(cls, keys: Mapping[str, str]) -> BaselineKey:
        """Return the baseline of a multi-partition key's dimensions.

        Raises:
            InputError: a dimension's key is not valid.
        """
        return cls.of(keys[DATASET_DIMENSION], keys[RUN_DIMENSION])

    @property
    def run_id(self) -> str:
        """Return `<timestamp>-<suffix>`, the run's stable name in tasks and sessions."""
        suffix = hashlib.sha256(str(self).encode()).hexdigest()[:8]
        return f"{self.run.timestamp}-{suffix}"

    def __str__(self) -> str:
        return f"{self.dataset}{_SEPARATOR}{self.run}"
