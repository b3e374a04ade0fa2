"""What two runs told a role differently."""

from __future__ import annotations

from crm_assets.llm import Caller, ChatRequest, FunctionTool, Message, ModelSpec, RequestLog, Role
from crm_assets.reporting.comparison import compare_baselines, comparison_blocks, render_page
from crm_assets.reporting.comparison.models import PromptChange
from crm_assets.reporting.markdown import render_blocks
from crm_assets.workspace.baseline_files import BaselinePaths

from .conftest import RUN_A, RUN_B, Baseline, verdicts

SPEC = ModelSpec(provider="openai", model="gpt-4.1-mini")
BLOCK = ">>> Teacher Guidance >>>\n{}\n>>> End Teacher Guidance >>>"


def tool(name: str, description: str) -> FunctionTool:
    return FunctionTool(name, description, {"type": "object"})


def told(paths: BaselinePaths, *asked: tuple[Role, str, tuple[FunctionTool, ...]]) -> BaselinePaths:
    """The run, with requests that begin with these system prompts."""
    with RequestLog(paths.requests, str) as log:
        for number, (role, prompt, tools) in enumerate(asked):
            messages = (Message("system", prompt), Message("user", "Hello"))
            log.record(Caller(f"c-{number}", role), ChatRequest(SPEC, messages, tools), 1)
    return paths


def changes(a: BaselinePaths, b: BaselinePaths) -> tuple[PromptChange, ...]:
    return compare_baselines(a, b, resamples=100).prompts


def test_the_role_whose_prompt_changed_is_named_with_the_difference(baseline: Baseline) -> None:
    find, make = tool("find", "Finds."), tool("make", "Makes.")
    call, reply = "Judge the call.\nBe fair.", "Judge the reply.\nBe fair."
    a = told(
        baseline(RUN_A, verdicts([True, False])),
        ("student", f"Work.\n\n{BLOCK.format('Look twice.')}", (find, make)),
        *(("turn_judge", call, ()), ("turn_judge", reply, ()), ("teacher", "Teach.", ())),
    )
    b = told(
        baseline(RUN_B, verdicts([True, True])),
        *(("student", "Work.", (find,)), ("student", f"Work.\n\n{BLOCK.format('Hurry.')}", (find,))),
        *(("turn_judge", call, ()), ("turn_judge", reply.replace("fair", "strict"), ())),
        ("learner", "Learn.", ()),
    )
    student, judge = changes(a, b)
    assert (student.role, student.what) == ("student", "tool make")
    assert '-  "description": "Makes.",' in student.difference
    assert judge == PromptChange(
        role="turn_judge",
        what="system prompt",
        difference="@@ -1,2 +1,2 @@\n Judge the reply.\n-Be fair.\n+Be strict.",
    )
    comparison = compare_baselines(a, b, resamples=100)
    for shown in (render_page(comparison), render_blocks(comparison_blocks(comparison))):
        assert "Changed prompts" in shown
        assert "turn judge: system prompt" in shown
        assert "Be strict." in shown


def test_equal_prompts_and_runs_that_recorded_none_have_no_difference(baseline: Baseline) -> None:
    a, b = (baseline(run, verdicts([True, False])) for run in (RUN_A, RUN_B))
    asked: tuple[Role, str, tuple[FunctionTool, ...]] = ("judge", "Judge.", ())
    told(a, asked)
    assert changes(a, b) == ()
    told(b, asked)
    assert changes(a, b) == ()
    assert "Changed prompts" not in render_page(compare_baselines(a, b, resamples=100))
