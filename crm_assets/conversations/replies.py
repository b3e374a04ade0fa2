"""Replies: when two are the same, and which reference replies no run can reproduce."""

from __future__ import annotations

import unicodedata

from crm_assets.conversations.conversation import Conversation
from crm_assets.conversations.patterns import TIMESTAMP, UUID

__all__ = ["normalize_reply", "unreproducible_values"]

# The ends of sentences. Not every punctuation mark: "50%" and "50" are different answers.
_TRAILING = " .,;:!?。"

# Signs of one meaning that Unicode keeps apart: models type the left ones, datasets the right ones.
_ALIKE = str.maketrans(
    dict.fromkeys("‘’‚‛′´ʼ＇", "'") | dict.fromkeys("“”„‟″«»", '"') | dict.fromkeys("‐‑‒–—―−", "-")
)


def normalize_reply(text: str) -> str:
    """`text` with the differences removed that do not change what it says.

    Compatibility characters, case, runs of blanks, the forms of quotation marks, apostrophes, hyphens and
    dashes, and the punctuation at the end. Normalizing twice changes nothing.
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
    """The values in a reference reply that another run of the conversation cannot have.

    These are UUIDs that stand neither in the seeds nor in any expected arguments (they were generated in
    the run that the reply was written from), and times of day.
    """
    found = [match for match in UUID.findall(text) if match.lower() not in conversation.known_uuids]
    found += TIMESTAMP.findall(text)
    return list(dict.fromkeys(found))
