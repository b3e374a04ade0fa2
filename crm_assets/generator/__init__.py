"""Synthetic datasets: reproducible, of any size, with a ground truth that replays.

The generator keeps a small model of the CRM beside the conversation that it writes, so that the expected
reply, match or refusal of a turn follows from the turns before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from crm_assets.conversations.conversation import Conversation
from crm_assets.errors import InputError
from crm_assets.generator.build import build_conversation
from crm_assets.workspace.files import atomic_writer, json_line

__all__ = ["generate", "write_dataset"]

_PROGRESS_EVERY = 1_000


def generate(count: int, seed: int) -> Iterator[Conversation]:
    """Yield `count` conversations, one at a time.

    The same seed gives the same conversations on every machine, and a larger count begins with those of a
    smaller one.

    Args:
        count: number of conversations; at least 1.
        seed: any whole number.

    Raises:
        InputError: `count` is less than 1.
    """
    if count < 1:
        raise InputError(f"Cannot generate {count} conversations; ask for at least 1.")
    return (build_conversation(seed, index) for index in range(count))


def write_dataset(
    path: Path | str,
    count: int,
    seed: int,
    *,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write `count` conversations to `path`, one JSON object a line; return how many.

    The file appears once it is complete; memory does not grow with `count`.

    Args:
        path: the file to write; an existing one is replaced.
        count: number of conversations; at least 1.
        seed: any whole number.
        progress: called with the number written so far, every 1,000 conversations and at the end.

    Raises:
        InputError: `count` is less than 1.
        InfrastructureError: the file could not be written; an older one is unchanged.
    """
    conversations = generate(count, seed)
    written = 0
    with atomic_writer(Path(path)) as handle:
        for conversation in conversations:
            handle.write(json_line(conversation.model_dump(mode="python")))
            written += 1
            if progress is not None and written % _PROGRESS_EVERY == 0:
                progress(written)
    if progress is not None and written % _PROGRESS_EVERY:
        progress(written)
    return written
