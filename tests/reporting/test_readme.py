from __future__ import annotations

import re
from typing import Any

import pytest
from rich.cells import cell_len

from crm_assets.errors import InputError
from crm_assets.reporting import Metrics, render_readme
from crm_assets.reporting.formats import dollars, plain, relative, share

from .conftest import REVISION, RUN_ID, Measure, failed_turn, replied, session, turn, unrun, whole_page


@pytest.fixture
def metrics(measure: Measure) -> Metrics:
    agent = {"name": "llm", "model": "gpt-4.1-mini", "prompts": "/home/zoe/prompts/crm.txt"}
    meta: dict[str, Any] = {
        "agent": agent,
        "conversations_path": "/home/zoe/project/data/conversations/dev.jsonl",
    }
    good = [session(f"c-{n}", [turn(1), replied(2, "match")], meta=meta) for n in range(7)]
    wrong = failed_turn(
        2,
        "argument_mismatch",
        user_utterance="Set a|b to *bold* <script>",
        argument_mismatch_reason="Missing required field: stage",
    )
    bad = [session(f"d-{n}", [turn(1), wrong, replied(3, "unscored")], meta=meta) for n in range(3)]
    lost = "no answer from /home/zoe/project/.crm_assets/pg/.s.PGSQL.5432"
    return measure(*good, *bad, unrun("e-1", message=lost, **meta))


REVISION_FILE = {
    "sha256": REVISION,
    "conversations": 60,
    "git_commit": "0123456789abcdef0123",
    "git_dirty": True,
    "path": "data/conversations/dev.jsonl",
}


def test_what_ran_comes_first_then_how_well_how_sure_and_what_failed(metrics: Metrics) -> None:
    readme = whole_page(metrics, revision=REVISION_FILE)
    titles = re.findall(r"^#+ (.*)$", readme, flags=re.MULTILINE)
    assert titles[:5] == [
        "Baseline: `llm` (`gpt-4.1-mini`) on `dev`",
        "What ran",
        "Results",
        "Uncertainty",
        "Most common failures",
    ]
    assert {"Rates", "By workflow", "By complexity", "By expected tool", "By turn"} <= {*titles}
    assert {"Failure kinds", "Tokens and cost", "Provenance"} <= {*titles}


def test_the_readme_is_short_and_names_what_the_report_has_besides(measure: Measure) -> None:
    wrong = [failed_turn(2, user_utterance="Please " * 60, called="client_search" * 9) for _ in range(2)]
    flows = [{"workflow_category": f"Chained: {'do this and that ' * 3}{n}"} for n in range(40)]
    records = [session(f"c-{n}", [turn(1), wrong[0]], meta=flow) for n, flow in enumerate(flows)]
    metrics = measure(*records)
    readme = render_readme(metrics, revision=REVISION_FILE)
    assert len(readme.encode()) <= 7000 < len(whole_page(metrics, revision=REVISION_FILE))
    titles = re.findall(r"^## (.*)$", readme, flags=re.MULTILINE)
    assert titles == [
        *("What ran", "Results", "Uncertainty", "Most common failures", "Rates", "By complexity")
    ]
    (more,) = re.findall(r"^`report.html` has the rest: (.*)\.$", readme, flags=re.MULTILINE)
    everything = re.findall(r"^## (.*)$", whole_page(metrics), flags=re.MULTILINE)
    assert {*more.split(", "), *map(str.lower, titles)} == {*map(str.lower, everything)}


def test_what_ran_names_agent_data_and_revision(metrics: Metrics) -> None:
    readme = whole_page(metrics, revision=REVISION_FILE)
    assert "11 of its 60 conversations" in readme
    assert f"revision `{REVISION[:12]}`, git commit `0123456789ab` (file modified since)" in readme
    assert f"**Run** `{RUN_ID}`: 10 of 11 conversations finished" in readme
    assert "**1 ended by an infrastructure failure**" in readme


def test_how_well_and_how_sure_carry_intervals_and_bounds(metrics: Metrics) -> None:
    readme = whole_page(metrics)
    assert "**Strict success 70.0% (7 of 10; 95% interval 39.7–89.2%)**" in readme
    assert "**Not in any rate, without a verdict: 1 conversation**" in readme
    assert "strict success would be 63.6%; counted as successes, 72.7%" in readme
    assert "Replies: 7 scored, 3 unscored" in readme


def test_what_failed_gives_an_example_to_look_at(metrics: Metrics) -> None:
    readme = whole_page(metrics)
    assert "(`argument_mismatch`): 3 of 23 turns (13.0%) in 3 conversations" in readme
    assert "`d-0`, turn 2:" in readme
    assert "Missing required field: stage" in readme
    assert (
        "The first failure is most often at turn 2: in 3 of the 3 conversations with a failed turn."
        in readme
    )


def test_an_example_says_what_was_called_instead(measure: Measure) -> None:
    other = failed_turn(1, "tool_mismatch", tool_name="quote_search", error="Called another.")
    none = failed_turn(2, "no_tool_call", tool_name=None)
    readme = whole_page(measure(session("c-1", [other, none])))
    assert "– expected `client_search`, called `quote_search`\n" in readme
    assert "– expected `client_search`, called no tool\n" in readme


def test_no_folder_of_the_machine_is_in_it(metrics: Metrics) -> None:
    readme = whole_page(metrics, revision=REVISION_FILE)
    assert "/home" not in readme and "zoe" not in readme
    assert "`dev.jsonl`" in readme
    assert "…/.s.PGSQL.5432" in readme
    assert f"`artifacts/baselines/dev/{RUN_ID}/atlas/tasks.jsonl`" in readme


def test_text_of_a_dataset_is_only_text(metrics: Metrics) -> None:
    readme = whole_page(metrics)
    assert r"Set a|b to \*bold\* \<script>" in readme


def test_every_table_is_aligned_and_whole(metrics: Metrics) -> None:
    readme = whole_page(metrics, revision=REVISION_FILE)
    blocks = re.findall(r"(?:^\|.*\n)+", readme, flags=re.MULTILINE)
    assert len(blocks) >= 8
    for block in blocks:
        lines = block.splitlines()
        assert len({cell_len(line) for line in lines}) == 1, block
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, block


def test_all_right_reads_so(measure: Measure) -> None:
    readme = whole_page(measure(*(session(f"c-{n}") for n in range(60))))
    assert "**100.0% of conversations have every turn correct** (60 of 60; " in readme
    assert "all 60 conversations finished" in readme
    assert "- No turn failed." in readme
    assert "No tokens and no cost were reported." in readme
    assert "without a verdict" not in readme
    assert "Failure kinds" not in readme


def test_one_conversation_is_not_all_of_them(measure: Measure) -> None:
    assert "`: the conversation finished." in whole_page(measure(session("c-1")))


def test_repeated_conversations_are_counted_once_and_their_sessions_named_so(measure: Measure) -> None:
    twice = [session(f"c-{n}", task_id=f"c-{n}-{e}", epoch=e) for n in range(4) for e in (1, 2)]
    readme = whole_page(measure(*twice), revision=REVISION_FILE)
    assert "4 of its 60 conversations, each run 2 times; " in readme
    assert "**100.0% of sessions have every turn correct** (8 of 8 sessions of 4 conversations; " in readme
    assert "all 8 sessions finished" in readme
    assert ", from 4 conversations." in readme


def test_nothing_decided_reads_so(measure: Measure) -> None:
    readme = whole_page(measure(unrun("c-1", "not_recorded")))
    assert "**No conversation has a verdict.**" in readme
    assert "Not in any rate, missing from the recorded run: 1 conversation." in readme
    assert "No turn was executed." in readme
    reasons = ("not_started", "other_turns", "other_turns")
    named = [unrun(f"c-{n}", "not_recorded") for n in range(len(reasons))]
    for record, reason in zip(named, reasons, strict=True):
        record["conversation_result"]["metadata"] = {"not_recorded": reason}
    told = "3 conversations (1 never started, 2 with other turns than the dataset's)."
    assert f"missing from the recorded run: {told}" in whole_page(measure(*named))
    assert "0.0%" not in readme


def test_tokens_and_cost(measure: Measure) -> None:
    spent = {
        "token_usage": {"student": {"prompt_tokens": 1200, "completion_tokens": 34}},
        "cost_usd": {"student": 0.0123},
    }
    readme = whole_page(measure(session("c-1", meta=spent), session("c-2")))
    row = next(line for line in readme.splitlines() if line.startswith("| student"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["student", "1,200", "–", "34", "1,234", "–", "–", "–", "$0.0123", "1"]
    assert "1 of the 2 finished conversations report tokens" in readme


def test_unknown_calls_make_cost_and_tokens_the_least_they_were(measure: Measure) -> None:
    tokens = {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010, "cached_tokens": 900}
    calls = {"calls": 5, "failed_calls": 2, "unknown_usage_calls": 2, "unknown_cost_calls": 2}
    spent = {"token_usage": {"student": {**tokens, **calls}}, "cost_usd": {"student": 0.0123}}
    readme = whole_page(measure(session("c-1", meta=spent)))
    assert "2 calls are of unknown cost and 2 of unknown tokens" in readme
    row = next(line for line in readme.splitlines() if line.startswith("| student"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["student", "1,000", "90%", "10", "1,010", "5", "2", "2", "≥ $0.0123", "1"]


def test_tokens_that_no_call_reports_are_unknown(measure: Measure) -> None:
    nothing = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens"))
    calls = {"calls": 3, "failed_calls": 0, "unknown_usage_calls": 3, "unknown_cost_calls": 3}
    spent = {"token_usage": {"student": {**nothing, **calls}}, "cost_usd": {}}
    metrics = measure(session("c-1", meta=spent))
    assert (metrics.tokens_per_conversation.count, metrics.total_cost_usd) == (0, None)
    readme = whole_page(metrics)
    assert "3 calls are of unknown cost and 3 of unknown tokens" in readme
    assert "0 of the 1 finished conversations report tokens" in readme


def test_who_answered_is_named(metrics: Metrics) -> None:
    first, second = "m-1 at https://api.openai.com/v1", "m-2 at http://other/v1"
    one = whole_page(metrics.model_copy(update={"answered_by": {"openai/m": (first,)}}))
    assert f"`openai/m` answered by `{first}`." in one
    assert "Mixed" not in one
    both = whole_page(metrics.model_copy(update={"answered_by": {"openai/m": (first, second)}}))
    assert f"`{first}` and `{second}`" in both
    assert "Mixed: results of different models or servers" in both


def test_without_git_the_files_time_is_named(metrics: Metrics) -> None:
    readme = whole_page(metrics, revision={"mtime": "2025-01-02T03:04:05Z"})
    assert "not in git, file modified 2025-01-02T03:04:05Z" in readme


def test_a_revision_of_other_data_is_refused(metrics: Metrics) -> None:
    with pytest.raises(InputError, match="use the files of one baseline"):
        whole_page(metrics, revision={"sha256": "0" * 64})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0.0%"),
        (1.0, "100.0%"),
        (0.6666, "66.7%"),
        (0.99999, ">99.9%"),
        (0.00001, "<0.1%"),
    ],
)
def test_only_all_is_100_percent_and_only_nothing_0(value: float | None, text: str) -> None:
    assert share(value) == text


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (None, None),
        ("data/conversations/dev.jsonl", "data/conversations/dev.jsonl"),
        ("/srv/x/dev.jsonl", "dev.jsonl"),
        ("~/x/dev.jsonl", "dev.jsonl"),
        (r"C:\Users\ann\dev.jsonl", "dev.jsonl"),
    ],
)
def test_paths_say_nothing_of_the_machine(path: str | None, shown: str | None) -> None:
    assert relative(path) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("read /srv/data/x.json failed", "read …/x.json failed"),
        ("see https://example.org/a/b/c", "see https://example.org/a/b/c"),
        ("and/or n/a 1/2", "and/or n/a 1/2"),
        ("data/conversations/dev.jsonl", "data/conversations/dev.jsonl"),
        ("tab\there \x1b[31mred\nline", "tab here [31mred line"),
    ],
)
def test_plain_text(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_small_amounts_keep_their_digits() -> None:
    assert [dollars(x) for x in (None, 0.0021, 12.5, 1234.0)] == [
        "–", "$0.0021", "$12.50", "$1,234.00",
    ]  # fmt: skip
