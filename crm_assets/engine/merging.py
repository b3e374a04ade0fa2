"""Merges what a run's shards have done: each session once, calls in the order in which they ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import orjson

from crm_assets.engine.checkpoint import SessionCounts, read_entry, require_same_run
from crm_assets.errors import InfrastructureError
from crm_assets.llm import merge_ledgers
from crm_assets.records import RunHeader, merge_software
from crm_assets.workspace.baseline_files import RunFiles, sidecar_of
from crm_assets.workspace.compressed_lines import join_packed
from crm_assets.workspace.files import atomic_writer, write_json
from crm_assets.workspace.jsonl import read_lines
from crm_assets.workspace.shard_files import absorb

__all__ = ["merge_shards"]

_Place = tuple[int, int]
"""Number of a file, and bytes before a line in it."""


def merge_shards(files: RunFiles, order: Iterable[str] | None = None) -> SessionCounts | None:
    """Make what a run's shards have done the run's own; None if it has none.

    Args:
        files: of the run.
        order: keys of all its sessions, in order: each must be there. None for a run that goes on.

    Raises:
        InputError: shards are of different runs, or somebody still writes one of the files.
        InfrastructureError: a session is missing, or there twice, or the disk refused; nothing is changed.
    """
    counts: list[SessionCounts] = []

    def merge(target: RunFiles, every: list[RunFiles]) -> None:
        sources = [each for each in every if each.partial.is_file()]
        write_json(sidecar_of(target.partial), _common(sources))
        counts.append(_merge_results(target.partial, [source.partial for source in sources], order))
        if ledgers := [each.ledger for each in every if each.ledger.is_file()]:
            merge_ledgers(target.ledger, ledgers)
        join_packed(target.requests, [each.requests for each in every])

    return counts[0] if absorb(files, merge) and counts else None


def _common(sources: Sequence[RunFiles]) -> dict[str, object]:
    """Return what is kept of the run, with the software that any of its shards saw."""
    documents = [orjson.loads(sidecar_of(source.partial).read_bytes()) for source in sources]
    headers = [RunHeader.model_validate(document) for document in documents]
    for source, header in zip(sources, headers, strict=True):
        require_same_run(source.partial, documents[0], header.identity(), headers[0].facts())
    return {**documents[0], "software": merge_software(*(header.software for header in headers))}


def _merge_results(target: Path, sources: Sequence[Path], order: Iterable[str] | None) -> SessionCounts:
    places: dict[str, _Place] = {}
    counts = SessionCounts()
    for number, source in enumerate(sources):
        for line in read_lines(source):
            entry = None if line.is_torn else read_entry(line.data)
            if entry is None:
                continue  # torn by a kill; its session is run again
            key = entry[0]
            if key in places:
                raise InfrastructureError(
                    f"Session {key} is in {sources[places[key][0]]} and in {source}, so it was run twice: "
                    "remove one of the two lines, then go on."
                )
            places[key] = number, line.offset
            counts.add(*entry[1:])
    with atomic_writer(target) as handle:
        for line_data in _lines(sources, places.values() if order is None else _complete(places, order)):
            handle.write(line_data)
    return counts


def _complete(places: dict[str, _Place], order: Iterable[str]) -> Iterator[_Place]:
    """Yield the places of all sessions in order.

    Raises:
        InfrastructureError: one is missing, or there is one more.
    """
    count = 0
    for key in order:
        if key not in places:
            raise InfrastructureError(
                f"Session {key} is missing in the results of the shards; go on with the run to run it."
            )
        count += 1
        yield places[key]
    if count != len(places):
        raise InfrastructureError(
            f"The shards hold {len(places):,} sessions and the run has {count:,}; start over (--overwrite)."
        )


def _lines(sources: Sequence[Path], places: Iterable[_Place]) -> Iterator[bytes]:
    with ExitStack() as opened:
        handles = [opened.enter_context(source.open("rb")) for source in sources]
        for number, offset in places:
            handles[number].seek(offset)
            yield handles[number].readline()
