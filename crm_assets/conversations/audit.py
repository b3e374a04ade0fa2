"""The audit of a dataset: properties to know before trusting a score on it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import orjson

from crm_assets.conversations.audit_report import AuditFact, AuditReport, ReplayFinding
from crm_assets.conversations.conversation import Conversation, Turn
from crm_assets.conversations.findings import DEFAULT_FINDINGS, NO_CONVERSATION, Findings
from crm_assets.conversations.lines import DatasetReader
from crm_assets.conversations.patterns import strings_in
from crm_assets.conversations.references import find_placeholders, find_references
from crm_assets.conversations.replies import unreproducible_values
from crm_assets.conversations.unknown_keys import misspelled_keys, unread_seeds

__all__ = ["EXAMPLES", "audit"]

MAX_KEYS = 1_000
"""Distinct keys that a count keeps, so that memory stays bounded for any file."""

OTHER = "(other)"
"""Key that a count uses for all keys after the first `MAX_KEYS`."""

EXAMPLES = 20
"""Examples of each kind of finding that a report keeps by default."""

REPLAYED_AT_ONCE = 64
"""Number of conversations whose ground truth is replayed together."""


Replay = Callable[[Sequence[Conversation]], "Sequence[ReplayFinding | None]"]
SeedFields = Mapping[str, frozenset[str]]
CreatedIds = Callable[[Conversation], Mapping[tuple[str, str], int]]


def audit(
    path: Path | str,
    *,
    replay: Replay | None = None,
    seed_fields: SeedFields | None = None,
    created_ids: CreatedIds | None = None,
    limit_findings: int = DEFAULT_FINDINGS,
    examples: int | None = EXAMPLES,
) -> AuditReport:
    """Read a dataset from end to end and describe it.

    Args:
        path: the JSON Lines file.
        replay: replays the ground truth of several conversations; returns a finding for each, or None
            if it replays. None skips the replay.
        seed_fields: {entity: names of its fields}; None counts no field as ignored and no seeds as unread.
        created_ids: returns {(entity, ID): turn} of the rows that a conversation's own calls create; None
            counts no seed as created later.
        limit_findings: number of findings that the error for a malformed dataset keeps.
        examples: number of examples that are kept of each kind of finding; None for all.

    Raises:
        DatasetError: lines are malformed or missing; repeated IDs are reported, not raised.
        InputError: the file is missing or cannot be read.
    """
    reader = DatasetReader(Path(path))
    findings = Findings(path, limit_findings)
    auditor = _Auditor(seed_fields, created_ids, replay, partial(_FactBuilder, examples))
    for scanned in reader:
        for problem in scanned.problems:
            findings.add(scanned.number, problem.field, problem.reason)
        # After the first bad line there will be no report; only further errors matter.
        if scanned.conversation is not None and not findings.total:
            auditor.add(scanned.conversation, scanned.number, scanned.data)
    if not reader.conversations:
        findings.add(0, "", NO_CONVERSATION)
    findings.raise_if_any()
    return auditor.report(str(path), reader)


class _KeyCounts:
    """Counts by key, for at most `MAX_KEYS` keys."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, key: str) -> None:
        if key not in self._counts and len(self._counts) >= MAX_KEYS:
            key = OTHER
        self._counts[key] += 1

    def sorted(self) -> dict[str, int]:
        return dict(sorted(self._counts.items(), key=lambda item: (-item[1], item[0])))


class _FactBuilder:
    """An `AuditFact` in the making."""

    def __init__(self, examples: int | None) -> None:
        self._counts = _KeyCounts()
        self._fact = AuditFact()
        self._most = sys.maxsize if examples is None else examples

    def add(self, conversation: Conversation, found: list[tuple[str, str]]) -> None:
        """Count the findings of one conversation, each as (key, example)."""
        if not found:
            return
        self._fact.conversations += 1
        self._fact.total += len(found)
        for key, example in found:
            self._counts.add(key)
            if len(self._fact.examples) < self._most:
                self._fact.examples.append(f"{conversation.conversation_id}: {example}"[:300])

    def fact(self) -> AuditFact:
        return self._fact.model_copy(update={"counts": self._counts.sorted()})


class _Auditor:
    """Takes conversations one by one; its memory grows with their IDs only."""

    def __init__(
        self,
        seed_fields: SeedFields | None,
        created_ids: CreatedIds | None,
        replay: Replay | None,
        fact: Callable[[], _FactBuilder],
    ) -> None:
        self._seed_fields = seed_fields or {}
        self._created_ids = created_ids
        self._replay = replay
        self._waiting: list[Conversation] = []
        self._first_line: dict[str, int] = {}
        self._first_of_work: dict[bytes, int] = {}
        self._turns = self._chains = self._failures = self._responses = self._references = 0
        self._workflow, self._complexity, self._tool = _KeyCounts(), _KeyCounts(), _KeyCounts()
        self._placeholders, self._replies, self._duplicates = fact(), fact(), fact()
        self._ignored, self._created, self._replays = fact(), fact(), fact()
        self._copies, self._misspelled, self._unread = fact(), fact(), fact()

    def add(self, conversation: Conversation, line: int, data: bytes) -> None:
        first = self._first_line.setdefault(conversation.conversation_id, line)
        repeated = [] if first == line else [(conversation.conversation_id, f"lines {first} and {line}")]
        self._duplicates.add(conversation, repeated)
        original = self._first_of_work.setdefault(bytes.fromhex(conversation.work_hash), line)
        copied = [] if original == line else [(f"line {original}", f"line {line} repeats line {original}")]
        self._copies.add(conversation, copied)
        self._count(conversation)
        self._placeholders.add(conversation, list(_placeholders(conversation)))
        self._replies.add(conversation, list(_unreproducible_replies(conversation)))
        self._misspelled.add(conversation, sorted(misspelled_keys(orjson.loads(data))))
        if self._seed_fields:
            self._unread.add(conversation, list(unread_seeds(conversation, self._seed_fields)))
        self._ignored.add(conversation, list(self._ignored_fields(conversation)))
        created = self._created_ids(conversation) if self._created_ids else {}
        self._created.add(conversation, list(_seeds_created_later(conversation, created)))
        if self._replay is not None:
            self._waiting.append(conversation)
            if len(self._waiting) >= REPLAYED_AT_ONCE:
                self._replay_waiting(self._replay)

    def _replay_waiting(self, replay: Replay) -> None:
        findings = replay(self._waiting)
        for conversation, finding in zip(self._waiting, findings, strict=True):
            if finding is not None:
                turn = "seeds" if finding.turn_id is None else f"turn {finding.turn_id}"
                self._replays.add(conversation, [(turn, f"{turn}: {finding.reason}")])
        self._waiting = []

    def report(self, path: str, reader: DatasetReader) -> AuditReport:
        if self._replay is not None and self._waiting:
            self._replay_waiting(self._replay)
        return AuditReport(
            path=path,
            sha256=reader.sha256,
            bytes=reader.size,
            conversations=reader.conversations,
            turns=self._turns,
            chains=self._chains,
            expected_failures=self._failures,
            expected_responses=self._responses,
            references=self._references,
            by_workflow=self._workflow.sorted(),
            by_complexity=self._complexity.sorted(),
            by_tool=self._tool.sorted(),
            unfillable_placeholders=self._placeholders.fact(),
            unreproducible_replies=self._replies.fact(),
            duplicate_ids=self._duplicates.fact(),
            copies=self._copies.fact(),
            misspelled_keys=self._misspelled.fact(),
            unread_seeds=self._unread.fact(),
            ignored_seed_fields=self._ignored.fact(),
            seeds_created_later=self._created.fact(),
            ground_truth_failures=self._replays.fact(),
            replayed=self._replay is not None,
        )

    def _count(self, conversation: Conversation) -> None:
        self._workflow.add(conversation.workflow_category)
        self._complexity.add(conversation.complexity_level)
        self._turns += len(conversation.turns)
        self._chains += bool(conversation.segment_boundaries)
        for turn in conversation.turns:
            self._tool.add(turn.expected_tool)
            self._failures += not turn.expect_success
            self._responses += turn.expected_response is not None
            self._references += len(find_references([turn.user_utterance, turn.expected_args]))

    def _ignored_fields(self, conversation: Conversation) -> Iterator[tuple[str, str]]:
        for entity, rows in conversation.seed_data.items():
            known = self._seed_fields.get(entity)
            if known is None:
                continue
            for row_id, fields in rows.items():
                for name in fields:
                    if name not in known:
                        yield f"{entity}.{name}", f"{entity} {row_id} has '{name}'"


def _placeholders(conversation: Conversation) -> Iterator[tuple[str, str]]:
    for turn in conversation.turns:
        for text in _texts(turn):
            for placeholder in find_placeholders(text):
                yield placeholder, f"turn {turn.turn_id} has {placeholder}"


def _texts(turn: Turn) -> Iterator[str]:
    yield turn.user_utterance
    yield from strings_in(turn.expected_args)


def _unreproducible_replies(conversation: Conversation) -> Iterator[tuple[str, str]]:
    for turn in conversation.turns:
        if turn.expected_response is None:
            continue
        values = unreproducible_values(conversation, turn.expected_response.text)
        if values:
            yield turn.expected_tool, f"turn {turn.turn_id} expects {', '.join(values[:3])}"


def _seeds_created_later(
    conversation: Conversation, created: Mapping[tuple[str, str], int]
) -> Iterator[tuple[str, str]]:
    if not created:
        return
    for entity, rows in conversation.seed_data.items():
        for row_id in rows:
            turn_id = created.get((entity, row_id.lower()))
            if turn_id is not None:
                yield entity, f"{entity} {row_id} is created by turn {turn_id}"
