"""Which conversations came out differently than in another run."""

from __future__ import annotations

from collections import defaultdict

from crm_assets.records import SessionLog
from crm_assets.workspace.baseline_files import BaselinePaths

__all__ = ["flips_against"]


def flips_against(base: BaselinePaths, paths: BaselinePaths) -> dict[str, str]:
    """Return gained, lost or same for each conversation that has verdicts in both runs.

    What counts is the rate of strict success, of several epochs their mean. A conversation is left out if
    its content or the definition of strict success is another one in `base`.

    Raises:
        InputError: a session log cannot be read.
    """
    before, after = _rates(base), _rates(paths)
    found = {}
    for conversation, (rate, content) in after.items():
        known, known_content = before.get(conversation, (None, content))
        if known is not None and content == known_content:
            found[conversation] = "gained" if rate > known else "lost" if rate < known else "same"
    return found


def _rates(paths: BaselinePaths) -> dict[str, tuple[float, tuple[str, str | None]]]:
    """Return the rate of strict success of each conversation, and what it is a rate of."""
    verdicts: defaultdict[str, list[bool]] = defaultdict(list)
    contents: dict[str, tuple[str, str | None]] = {}
    for entry in SessionLog(paths.sessions).summaries():
        session = entry.session
        if session.strict_success is not None:
            verdicts[session.conversation_id].append(session.strict_success)
            contents[session.conversation_id] = (session.content, session.strict_formula)
    return {name: (sum(each) / len(each), contents[name]) for name, each in verdicts.items()}
