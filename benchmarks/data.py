"""The conversations that the benchmarks run: the real evaluation set where it is, else our own demo."""

from __future__ import annotations

import os
from pathlib import Path

import orjson

REPOSITORY = Path(__file__).resolve().parent.parent


def evaluation_set() -> Path:
    """The standard evaluation set, or our own `demo` dataset."""
    corpus = Path(os.environ.get("CRM_CORPUS", REPOSITORY.parent / "shared" / "datasets"))
    real = corpus / "clbench_eval.jsonl"
    return real if real.is_file() else REPOSITORY / "data" / "conversations" / "demo.jsonl"


def repeated(source: Path, target: Path, count: int) -> Path:
    """`count` conversations: those of `source` over and over, each time under new IDs."""
    documents = [orjson.loads(line) for line in source.read_bytes().splitlines()]
    with target.open("wb") as handle:
        for number in range(count):
            document = dict(documents[number % len(documents)])
            document["conversation_id"] += f"#{number // len(documents)}"
            handle.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
    return target
