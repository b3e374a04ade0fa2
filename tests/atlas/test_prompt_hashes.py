"""Prompts are part of a run's identity: by their text, not by the code around it."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest

from crm_assets.atlas import learning, modes, reward_prompts, teacher
from crm_assets.atlas.playbook import pamphlet
from crm_assets.atlas.prompt_hashes import prompt_hashes

RECORDED = {
    "probe": "cfcadcb0538d",
    "teacher": "084b021d5096",
    "judge": "d06e58cef0b1",
    "learner": "7d9f2200ec86",
    "pamphlet": "de7ec234a12e",
}


@pytest.fixture
def _fresh() -> Iterator[None]:
    prompt_hashes.cache_clear()
    yield
    prompt_hashes.cache_clear()


def test_prompts_have_the_hashes_that_earlier_baselines_recorded() -> None:
    """Where a prompt is changed on purpose, so is its entry here."""
    assert prompt_hashes() == RECORDED


@pytest.mark.parametrize(
    ("module", "name", "role"),
    [
        (modes, "_PROMPT", "probe"),
        (modes, "_KEYS", "probe"),
        (teacher, "_VALIDATION_PROMPT", "teacher"),
        (teacher, "_PLAN_PROMPT", "teacher"),
        (teacher, "_KEYS", "teacher"),
        (reward_prompts, "_JUDGE_PROMPT", "judge"),
        (reward_prompts, "_ARBITER_PROMPT", "judge"),
        (reward_prompts, "_KEYS", "judge"),
        (learning, "_SYSTEM", "learner"),
    ],
)
@pytest.mark.usefixtures("_fresh")
def test_a_changed_text_changes_the_hash_of_its_role_alone(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, role: str
) -> None:
    monkeypatch.setattr(module, name, "Something else.")
    assert {name for name, sha256 in prompt_hashes().items() if sha256 != RECORDED[name]} == {role}


@pytest.mark.usefixtures("_fresh")
def test_a_changed_block_changes_its_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pamphlet, "_line", lambda entry: entry.id)
    assert prompt_hashes()["pamphlet"] != RECORDED["pamphlet"]
