"""Only code that decides the same results resumes a run; a comment is no such change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import crm_assets
from crm_assets.harness.code_identity import (
    GROUND_TRUTH_CODE,
    MODEL_CODE,
    SCORING_CODE,
    code_fingerprint,
    hash_code,
)

MODULE = """
def is_right(score):
    try:
        return score in {"a", "b"} or score > 0.5
    except TypeError:
        return None
"""


def fingerprint(folder: Path, source: str) -> str:
    (folder / "judge.py").write_text(source)
    return hash_code(folder, ["judge.py"])


@pytest.mark.parametrize(
    "source",
    [
        "# Says what is right.\n\n" + MODULE,
        '"""Says what is right."""\n' + MODULE,
        MODULE.replace("score):", 'score):\n    """Return what is right."""'),
        MODULE.replace("    try:", "    assert score\n\n    try:"),
        MODULE.replace('{"a", "b"}', "{'a', 'b'}"),
    ],
    ids=["comment", "docstring", "function's docstring", "assertion", "layout"],
)
def test_what_changes_no_result_changes_nothing(tmp_path: Path, source: str) -> None:
    assert fingerprint(tmp_path, source) == fingerprint(tmp_path, MODULE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.5", "0.6"),
        (">", ">="),
        ('"b"', '"c"'),
        ("TypeError", "ValueError"),
        ("return None", "return False"),
        ("score):", "score, *, other=1):"),
        ("is_right", "right"),
    ],
)
def test_what_can_change_a_result_is_another_code(tmp_path: Path, old: str, new: str) -> None:
    assert fingerprint(tmp_path, MODULE.replace(old, new)) != fingerprint(tmp_path, MODULE)


@pytest.mark.parametrize(
    ("code", "decides"),
    [
        (GROUND_TRUTH_CODE, ["crm/operations.py", "crm/schema.sql", "conversations/references.py"]),
        (
            SCORING_CODE,
            [
                "conversations/replies.py",
                *(f"harness/{name}.py" for name in ("runner", "verification", "judge")),
            ],
        ),
        (
            MODEL_CODE,
            ["atlas/rewards.py", "atlas/student.py", "atlas/playbook/gates.py", "llm/json_replies.py"],
        ),
    ],
    ids=["ground truth", "scoring", "models"],
)
def test_the_code_that_decides_is_in_it(tmp_path: Path, code: tuple[str, ...], decides: list[str]) -> None:
    package = tmp_path / "crm_assets"
    shutil.copytree(Path(crm_assets.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    seen = {hash_code(package, code)}
    assert seen == {code_fingerprint(code)}
    for name in decides:
        with (package / name).open("a") as file:
            file.write("\nOTHER = 1\n" if name.endswith(".py") else "\nSELECT 1;\n")
        seen.add(hash_code(package, code))
    assert len(seen) == len(decides) + 1


def test_every_process_finds_the_same() -> None:
    script = "from crm_assets.harness.code_identity import *; print(code_fingerprint(SCORING_CODE))"
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    found = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == code_fingerprint(SCORING_CODE)
