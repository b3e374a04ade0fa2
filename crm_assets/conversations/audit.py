"""What a person should know about a dataset before trusting a score on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from crm_assets.conversations.conversation import Conversation, Turn
from crm_assets.conversations.findings import DEFAULT_FINDINGS, Findings
from crm_assets.conversations.lines import DatasetReader
from crm_assets.conversations.patterns import strings_in
from crm_assets.conversations.references import find_placeholders, find_references
from crm_assets.conversations.replies import unreproducible_values

__all__ = ["AuditFact", "AuditReport", "ReplayFinding", "audit"]

MAX_KEYS = 1_000
"""Distinct keys a count keeps; memory must not grow with a file that never repeats itself."""

OTHER = "(other)"
"""Where a count puts what comes after `MAX_KEYS` distinct keys."""

EXAMPLES = 20

REPLAYED_AT_ONCE = 64
"""Conversations whose ground truth is asked for together."""


class ReplayFinding(BaseModel):
    """The ground truth of a conversation did not do what the dataset says it does."""

    model_config = ConfigDict(frozen=True)

    conversation_id: str
    """The conversation."""
    turn_id: int | None = None
    """The first turn that came out differently; None where the seeds already failed."""
    reason: str
    """What happened instead."""


class AuditFact(BaseModel):
    """One kind of thing found in a dataset: how much, where, and examples."""

    total: int = 0
    """How many were found."""
    conversations: int = 0
    """How many conversations hold at least one."""
    counts: dict[str, int] = Field(default_factory=dict)
    """How many of each, most frequent first."""
    examples: list[str] = Field(default_factory=list)
    """The first few, each with its conversation."""


class AuditReport(BaseModel):
    """The audit of one dataset."""

    schema_version: Literal[1] = 1
    """Version of this document's form."""
    path: str
    """The file, as it was given."""
    sha256: str
    """Hex SHA-256 of its bytes."""
    bytes: int
    """Its size."""
    conversations: int
    """How many conversations it holds."""
    turns: int
    """How many turns they hold."""
    chains: int
    """Conversations of several segments."""
    expected_failures: int
    """Turns that must fail."""
    expected_responses: int
    """Turns with a reference reply."""
    references: int
    """`{{turn_N.field}}` in arguments and users' texts."""
    by_workflow: dict[str, int]
    """Conversations by workflow category."""
    by_complexity: dict[str, int]
    """Conversations by complexity level."""
    by_tool: dict[str, int]
    """Turns by expected tool."""
    unfillable_placeholders: AuditFact
    """Texts like `{stage}` in utterances and arguments, which no turn can fill."""
    unreproducible_replies: AuditFact
    """Turns whose reference reply holds IDs or times that no other run can have."""
    duplicate_ids: AuditFact
    """Conversation IDs that are there more than once."""
    copies: AuditFact = Field(default_factory=AuditFact)
    """Conversations with the seeds and turns of an earlier one under any ID; they measure nothing new."""
    ignored_seed_fields: AuditFact
    """Seed fields that the CRM does not have."""
    seeds_created_later: AuditFact
    """Seed rows whose ID a turn of the same conversation creates: not part of the state at the start."""
    ground_truth_failures: AuditFact
    """Conversations whose ground truth does not replay; empty where `replayed` is false."""
    replayed: bool
    """Whether the ground truth was replayed."""


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
) -> AuditReport:
    """Read a dataset from end to end and describe it.

    Args:
        path: the JSON Lines file.
        replay: runs the ground truth of some conversations at a time and tells of each what went wrong,
            None where nothing did.
        seed_fields: the fields of each entity; None counts no field as ignored.
        created_ids: entity and ID of what a conversation's own calls create, with the turn; None counts no
            seed as created later.
        limit_findings: how many findings the error for a malformed dataset keeps.

    Raises:
        DatasetError: lines are malformed or there is none; repeated IDs are reported, not raised.
        InputError: the file is not there or cannot be read.
    """
    reader = DatasetReader(Path(path))
    findings = Findings(path, limit_findings)
    auditor = _Auditor(seed_fields, created_ids, replay)
    for scanned in reader:
        for problem in scanned.problems:
            findings.add(scanned.number, problem.field, problem.reason)
        # After the first bad line the report will not be made; only its errors still matter.
        if scanned.conversation is not None and not findings.total:
            auditor.add(scanned.conversation, scanned.number)
    if not reader.conversations:
        findings.add(0, "", "holds no conversation; one JSON object a line is expected")
    findings.raise_if_any()
    return auditor.report(str(path), reader)


class _Tally:
    """Counts by key, for at most `MAX_KEYS` keys."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, key: str, count: int = 1) -> None:
        if key not in self._counts and len(self._counts) >= MAX_KEYS:
            key = OTHER
        self._counts[key] = self._counts.get(key, 0) + count

    def sorted(self) -> dict[str, int]:
        return dict(sorted(self._counts.items(), key=lambda item: (-item[1], item[0])))


class _Gathered:
    """An `AuditFact` in the making."""

    def __init__(self) -> None:
        self._tally = _Tally()
        self._fact = AuditFact()

    def add(self, conversation: Conversation, found: list[tuple[str, str]]) -> None:
        """Count what one conversation holds, as (key, example)."""
        if not found:
            return
        self._fact.conversations += 1
        self._fact.total += len(found)
        for key, example in found:
            self._tally.add(key)
            if len(self._fact.examples) < EXAMPLES:
                self._fact.examples.append(f"{conversation.conversation_id}: {example}"[:300])

    def fact(self) -> AuditFact:
        return self._fact.model_copy(update={"counts": self._tally.sorted()})


class _Auditor:
    """Takes conversations one by one; what it keeps does not grow with them, IDs excepted."""

    def __init__(
        self, seed_fields: SeedFields | None, created_ids: CreatedIds | None, replay: Replay | None
    ) -> None:
        self._seed_fields = seed_fields or {}
        self._created_ids = created_ids
        self._replay = replay
        self._waiting: list[Conversation] = []
        self._first_line: dict[str, int] = {}
        self._first_of_work: dict[bytes, int] = {}
        self._turns = self._chains = self._failures = self._responses = self._references = 0
        self._workflow, self._complexity, self._tool = _Tally(), _Tally(), _Tally()
        self._placeholders, self._replies, self._duplicates = _Gathered(), _Gathered(), _Gathered()
        self._ignored, self._created, self._replays = _Gathered(), _Gathered(), _Gathered()
        self._copies = _Gathered()

    def add(self, conversation: Conversation, line: int) -> None:
        first = self._first_line.setdefault(conversation.conversation_id, line)
        repeated = [] if first == line else [(conversation.conversation_id, f"lines {first} and {line}")]
        self._duplicates.add(conversation, repeated)
        original = self._first_of_work.setdefault(bytes.fromhex(conversation.work_hash), line)
        copied = [] if original == line else [(f"line {original}", f"line {line} repeats line {original}")]
        self._copies.add(conversation, copied)
        self._count(conversation)
        self._placeholders.add(conversation, list(_placeholders(conversation)))
        self._replies.add(conversation, list(_unreproducible_replies(conversation)))
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
