"""Columns of a frame, filled row by row."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Columns"]

_CODES = {"name": "i", "id": "q", "verdict": "b", "number": "d"}
_CHUNK = 1024
_VERDICT = {True: 1, False: 0, None: -1}
_NAN = float("nan")


class _Numbers(dict[str, int]):
    """Give names numbers, from 0, as they come."""

    def __missing__(self, name: str) -> int:
        number = self[name] = len(self)
        return number


class Columns:
    """Columns that grow together.

    Kinds by name: an array's type code; `verdict` (True, False, None as 1, 0, -1); `number` (None as NaN);
    `name` for strings that become a category, each kept once; `id` for strings that become whole numbers,
    equal for equal strings.
    """

    def __init__(self, **kinds: str) -> None:
        self._kinds = kinds
        self._arrays = {name: array(_CODES.get(kind, kind)) for name, kind in kinds.items()}
        self._names = {name: _Numbers() for name, kind in kinds.items() if kind == "name"}
        self._rows: list[tuple[Any, ...]] = []

    def append(self, *values: Any) -> None:
        """Add a row: a value for each column, in their order."""
        self.extend((values,))

    def extend(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Add rows: for each a value for each column, in their order."""
        self._rows.extend(rows)
        if len(self._rows) >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        for (name, kind), values in zip(self._kinds.items(), zip(*self._rows, strict=True), strict=False):
            self._arrays[name].fromlist(self._coded(name, kind, values))
        self._rows.clear()

    def _coded(self, name: str, kind: str, values: tuple[Any, ...]) -> list[Any]:
        if kind == "name":
            return list(map(self._names[name].__getitem__, values))
        if kind == "verdict":
            return list(map(_VERDICT.__getitem__, values))
        if kind == "number":
            return [_NAN if value is None else value for value in values]
        # 64 bits, with a random seed: the chance that two of 100,000 are equal is below 10**-9.
        return list(map(hash, values) if kind == "id" else values)

    def frame(self) -> pd.DataFrame:
        """Build the frame; nothing can be added any more."""
        # Half a second and 60 MB that reading metrics alone does not need.
        import numpy as np  # noqa: PLC0415  (heavy)
        import pandas as pd  # noqa: PLC0415  (heavy)

        self._flush()
        columns: dict[str, object] = {}
        for name in list(self._arrays):
            column = self._arrays.pop(name)  # so that two copies of one column, at most, are in memory
            values = np.array(column, column.typecode)
            if self._kinds[name] == "name":
                columns[name] = pd.Categorical.from_codes(
                    values, categories=pd.Index(list(self._names[name]))
                )
            elif self._kinds[name] == "id":
                columns[name] = pd.factorize(values)[0].astype("int32")
            else:
                columns[name] = values
        frame: pd.DataFrame = pd.DataFrame(columns)
        return frame
