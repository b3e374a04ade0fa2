"""The card of an export: a README whose header the Hugging Face Hub and `datasets` read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from crm_assets.errors import InputError, first_line
from crm_assets.exports.training_attempts import TrainingRun
from crm_assets.exports.training_rows import COLUMNS, Format, TrainingOptions
from crm_assets.reporting import markdown
from crm_assets.reporting.document import Block, Column, Document, Points, Section, Table, Text, code
from crm_assets.reporting.formats import NOTHING, counted
from crm_assets.workspace.project import Project
from crm_assets.workspace.stored import stored_datasets

__all__ = ["Card", "read_license"]

_FENCE: Final = "---\n"
_SIZES: Final = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
)
_WHAT: Final[Mapping[Format, str]] = {
    "chat": "Sessions as chats for supervised fine-tuning (TRL: SFTTrainer).",
    "preference": "The best and the worst attempt of each conversation (TRL: DPOTrainer).",
    "rewards": "Sessions with their rewards, per turn and per session (TRL: KTOTrainer reads `label`).",
}
_MEANINGS: Final[Mapping[str, str]] = {
    "messages": "the session: system prompt, then user, assistant, tool calls and results",
    "prompt": "messages up to what the model is trained to answer",
    "chosen": "the better attempt from there on",
    "rejected": "the worse attempt from there on",
    "completion": "the session from there on",
    "tools": "the CRM's tools as JSON Schema, the same in every row",
    "label": "strict success",
    "turn_rewards": "by turn of the user: 1 if it succeeded, 0 if not, null without a verdict",
    "content": "SHA-256 of seeds and turns, which copies under another ID share",
    "split": "part of the content split; null if nothing was held out by this export",
    "strict_success": "every turn succeeded, and the CRM ended in the expected state",
    "turn_share": "share of the turns that succeeded",
    "reward": "the judges' score, 0 to 1; null without judges",
    "review_status": "status of the session's review when it was exported; null if it needs none",
    "prompt_tokens": "tokens of the student's requests, as the run recorded them",
    "completion_tokens": "tokens of the student's replies, as the run recorded them",
}


def read_license(project: Project, dataset: str) -> str | None:
    """Return the license that a dataset states: `license` in the YAML header of `<dataset>.md` beside it.

    Raises:
        InputError: the header is no YAML.
    """
    path = project.dataset_file(dataset).with_suffix(".md")
    if copies := stored_datasets(project):
        copies.bring(path)
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    if not text.startswith(_FENCE):
        return None
    try:
        header = yaml.safe_load(text.removeprefix(_FENCE).partition("\n---")[0])
    except yaml.YAMLError as error:
        raise InputError(f"The header of {path} is no YAML: {first_line(error)}.") from None
    stated = header.get("license") if isinstance(header, dict) else None
    return str(stated) if stated else None


@dataclass(frozen=True)
class Card:
    """The contents of a dataset card."""

    dataset: str
    revision: str
    options: TrainingOptions
    studies: int
    license: str | None
    runs: Mapping[str, TrainingRun]
    sessions: Counter[str]
    """Sessions in the rows, by run."""
    counts: Counter[str]
    """Messages and tokens."""
    conversations: int
    rows: int
    held_out: int
    left_out: Counter[str]

    def render(self) -> str:
        """Return the README."""
        header = yaml.safe_dump(self._header(), sort_keys=False, allow_unicode=True)
        title = f"{self.dataset}: {self.options.format} data for training"
        body = markdown.render(Document(title, (_WHAT[self.options.format],), tuple(self._sections())))
        return f"{_FENCE}{header}{_FENCE}\n{body}"

    def _header(self) -> dict[str, Any]:
        size = next((name for most, name in _SIZES if self.rows < most), "1M<n<10M")
        return {
            **({"license": self.license} if self.license else {}),
            "pretty_name": f"{self.dataset} ({self.options.format})",
            "task_categories": ["text-generation"],
            "tags": ["crm", "tool-calling", "crm_assets"],
            "size_categories": [size],
            "configs": [
                {
                    "config_name": "default",
                    "data_files": [{"split": "train", "path": "data/train.parquet"}],
                }
            ],
        }

    def _sections(self) -> Iterator[Section]:
        yield Section("What is in it", (Table.pairs(self._facts()), *self._without()))
        columns = (
            Column("Run", "code"),
            Column("Agent"),
            Column("Model", "code"),
            Column("Sessions", "figure"),
        )
        rows = (
            (key, run.header.agent_name, run.model, self.sessions[key]) for key, run in self.runs.items()
        )
        yield Section("Runs", (Table.of(columns, rows),))
        yield Section("Columns", (Points(tuple(self._columns())),))
        files = (
            "The same rows are in ",
            code("data/train.parquet"),
            " and ",
            code("data/train.jsonl"),
            ".",
        )
        shapes = (
            "Tools and the arguments of calls are objects of many shapes: ", code("datasets"),
            " 4.7 or newer gives them back as objects.",
        )  # fmt: skip
        yield Section("Load it", (files, shapes, code('load_dataset("FOLDER", split="train")')))

    def _facts(self) -> Iterator[tuple[Text, Text]]:
        counts = self.counts
        yield "Rows", f"{self.rows:,}"
        yield "Conversations (each content once)", f"{self.conversations:,}"
        yield "Sessions", f"{self.sessions.total():,}"
        yield "Messages", f"{counts['messages']:,}"
        for name, of in (("prompt_tokens", "requests"), ("completion_tokens", "replies")):
            unknown = counts[f"{name} unknown"]
            known = f"{counts[name]:,}" if unknown < self.sessions.total() else NOTHING
            yield (
                f"Tokens of the student's {of}, as the runs recorded them",
                f"{known} (unknown of {counted(unknown, 'session')})" if unknown else known,
            )
        yield "Dataset", f"{self.dataset}, revision {self.revision}"
        yield "License", self.license or "not stated"
        yield "Held out", self._held_out()

    def _held_out(self) -> str:
        split = self.options.split
        rules = (
            [] if split is None else [f"the part to teach on (share {split.share:g}, seed {split.seed})"]
        )
        if self.studies:
            rules.append(f"no conversation held out by {counted(self.studies, 'split')} of studies")
        what = counted(self.held_out, "conversation")
        return f"{what}, none of them here; exported: {'; '.join(rules) or 'all conversations'}"

    def _without(self) -> Iterator[Block]:
        if self.left_out:
            yield "What is not in it:"
            yield Points(tuple(f"{count:,} {what}" for what, count in self.left_out.most_common()))

    def _columns(self) -> Iterator[Text]:
        for name in COLUMNS[self.options.format]:
            meaning = _MEANINGS.get(name) or _MEANINGS.get(name.partition("_")[2])
            yield (code(name), f": {meaning}") if meaning else code(name)
