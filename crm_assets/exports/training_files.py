"""Rows as JSON Lines and as Parquet, side by side, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from crm_assets.errors import InputError
from crm_assets.exports.training_messages import Message, tool_documents
from crm_assets.exports.training_rows import Kind, Row

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["require_pyarrow", "write_rows"]

_ROWS: Final = 500  # of a row group: few enough that they fit into memory whatever they hold


def require_pyarrow() -> None:
    """Refuse to go on without pyarrow, which writes Parquet.

    Raises:
        InputError: it is not installed.
    """
    if find_spec("pyarrow") is None:
        raise InputError(
            "pyarrow, which writes Parquet, is not installed: run `pip install 'crm-assets[training]'`."
        )


def write_rows(rows: Iterable[Row], columns: Mapping[str, Kind], jsonl: Path, parquet: Path) -> int:
    """Write rows to both files; return their number.

    Both hold the same: in Parquet, tools and tool calls are of Arrow's type JSON, since they are objects of
    many shapes, which readers give back as objects (`datasets.Json`).
    """
    import pyarrow as pa  # noqa: PLC0415  (heavy, and optional)
    import pyarrow.parquet as pq  # noqa: PLC0415

    tools = [document.decode() for document in tool_documents()]
    fragment = orjson.Fragment(b"[" + b",".join(tool_documents()) + b"]")
    plain, typed = (_schema(columns, json) for json in (pa.string(), pa.json_()))
    count, waiting = 0, list[Row]()
    with jsonl.open("wb") as lines, pq.ParquetWriter(parquet, typed, compression="zstd") as writer:

        def write_group() -> None:
            packed = [{**_packed(row, columns), "tools": tools} for row in waiting]
            writer.write_table(pa.Table.from_pylist(packed, schema=plain).cast(typed))
            waiting.clear()

        for row in rows:
            ordered = {name: fragment if name == "tools" else row[name] for name in columns}
            lines.write(orjson.dumps(ordered, option=orjson.OPT_APPEND_NEWLINE))
            waiting.append(row)
            count += 1
            if len(waiting) == _ROWS:
                write_group()
        if waiting:
            write_group()
    return count


def _schema(columns: Mapping[str, Kind], json: pa.DataType) -> pa.Schema:
    import pyarrow as pa  # noqa: PLC0415

    message = pa.struct(
        {
            "role": pa.string(),
            "content": pa.string(),
            "tool_calls": pa.list_(json),
            "name": pa.string(),
            "tool_call_id": pa.string(),
        }
    )
    types: dict[Kind, pa.DataType] = {
        "text": pa.string(),
        "whole": pa.int64(),
        "number": pa.float64(),
        "verdict": pa.bool_(),
        "numbers": pa.list_(pa.float64()),
        "messages": pa.list_(message),
        "tools": pa.list_(json),
    }
    return pa.schema({name: types[kind] for name, kind in columns.items()})


def _packed(row: Row, columns: Mapping[str, Kind]) -> dict[str, Any]:
    return {
        name: list(map(_packed_message, row[name])) if kind == "messages" else row[name]
        for name, kind in columns.items()
        if kind != "tools"
    }


def _packed_message(message: Message) -> Message:
    calls = message.get("tool_calls")
    if calls is None:
        return message
    return {**message, "tool_calls": [orjson.dumps(call).decode() for call in calls]}
