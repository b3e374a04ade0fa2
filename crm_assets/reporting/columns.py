"""Columns of a frame, filled from the attributes of objects, in a few bytes each."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["MISSING", "ColumnSource", "Columns"]

MISSING: Final = "(none)"
"""Stands in a column of names for None and for an empty string."""

Kind = Literal["name", "hash", "id", "verdict", "number", "whole"]

_CODES: Final[Mapping[Kind, str]] = {
    "name": "i",
    "hash": "q",
    "id": "q",
    "verdict": "b",
    "number": "d",
    "whole": "q",
}
_VERDICT = {True: 1, False: 0, None: -1}
_NAN = float("nan")


class ColumnSource(NamedTuple):
    """One column of a frame."""

    kind: Kind
    """`name`: strings, as a category; `hash`: their hashes; `id`: their numbers, as they come; `verdict`:
    True, False and None, as 1, 0 and -1; `number`: numbers and None, as floats and NaN; `whole`: whole
    numbers."""
    path: str
    """The attribute that fills it, as in `metadata.total_turns`."""
    missing: str = MISSING
    """The name of None and of an empty string."""


class _Numbers(dict[str | None, int]):
    """Give names numbers, from 0, as they come."""

    def __missing__(self, name: str | None) -> int:
        number = self[name] = len(self)
        return number


class Columns:
    """Columns that grow together."""

    def __init__(self, columns: Mapping[str, ColumnSource]) -> None:
        self._columns = columns
        self._arrays = {name: array(_CODES[column.kind]) for name, column in columns.items()}
        self._names = {name: _Numbers() for name, column in columns.items() if column.kind == "name"}
        self._read = {name: attrgetter(column.path) for name, column in columns.items()}
        self._code = {name: self._coder(name, column.kind) for name, column in columns.items()}

    def _coder(self, name: str, kind: Kind) -> Callable[[Iterable[Any]], Iterable[Any]]:
        if kind == "name":
            return partial(map, self._names[name].__getitem__)
        if kind == "verdict":
            return partial(map, _VERDICT.__getitem__)
        if kind in ("hash", "id"):
            # 64 bits, with a random seed: the chance that two of a million are equal is below 10**-7.
            return partial(map, hash)
        if kind == "number":
            return _numbers
        return iter

    def extend(self, rows: Sequence[object]) -> None:
        """Add a row for each object."""
        for name, column in self._arrays.items():
            column.fromlist(list(self._code[name](map(self._read[name], rows))))  # quicker than one by one

    def build(self) -> dict[str, NDArray[np.generic] | pd.Categorical]:
        """Return the columns by name; nothing can be added any more."""
        # Half a second and 60 MB that reading metrics alone does not need.
        import numpy as np  # noqa: PLC0415  (heavy)
        import pandas as pd  # noqa: PLC0415  (heavy)

        built: dict[str, NDArray[np.generic] | pd.Categorical] = {}
        for name, (kind, _, missing) in self._columns.items():
            column = self._arrays.pop(name)
            values = np.frombuffer(column, column.typecode)
            if kind == "name":
                numbers, names = pd.factorize(pd.Index([each or missing for each in self._names[name]]))
                built[name] = pd.Categorical.from_codes(numbers[values], categories=names)
            elif kind == "id":
                built[name] = pd.factorize(values)[0].astype("int32")
            else:
                built[name] = values
        return built


def _numbers(values: Iterable[float | None]) -> Iterable[float]:
    return [_NAN if value is None else value for value in values]
