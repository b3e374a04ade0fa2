"""Replies: their normal form, and the values in reference replies that no run can reproduce."""

from __future__ import annotations

import unicodedata

from crm_assets.conversations.conversation import Conversation
from crm_assets.conversations.patterns import TIMESTAMP, UUID

__all__ = ["normalize_reply", "unreproducible_values"]

# Marks at the end of a sentence; not all punctuation: "50%" and "50" are different answers.
_TRAILING = " .,;:!?。"

# Signs of one meaning that Unicode keeps apart: models write the left ones, datasets the right ones.
_ALIKE = str.maketrans(
    dict.fromkeys("‘’‚‛′´ʼ＇", "'") | dict.fromkeys("“”„‟″«»", '"') | dict.fromkeys("‐‑‒–—―−", "-")
)


def normalize_reply(text: str) -> str:
    """Return `text` without the differences that do not change its meaning.

    Unified are compatibility characters, case, runs of blanks, the forms of quotation marks, apostrophes,
    hyphens and dashes, and the punctuation at the end. Normalizing twice equals normalizing once.
    """
    if text.isascii():
        folded = text.lower()
    else:
        # Unicode's definition of a compatibility caseless match (D146), composed at the end.
        folded = unicodedata.normalize("NFD", text).casefold().translate(_ALIKE)
        folded = unicodedata.normalize("NFKC", folded).casefold()
        folded = unicodedata.normalize("NFKC", folded).translate(_ALIKE)
    return " ".join(folded.split()).rstrip(_TRAILING)


def unreproducible_values(conversation: Conversation, text: str) -> list[str]:
    """Return the values in a reference reply that another run of the conversation cannot produce.

    These are times, and UUIDs that are neither in the seeds nor in expected arguments (they were generated
    in the run that the reply was written from).
    """
    found = [match for match in UUID.findall(text) if match.lower() not in conversation.known_uuids]
    found += TIMESTAMP.findall(text)
    return list(dict.fromkeys(found))
