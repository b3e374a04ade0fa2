"""The documents say what the code does."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from crm_assets.atlas.config_file import load_config
from crm_assets.cli import cli

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def test_the_tools_reference_is_what_the_command_prints() -> None:
    printed = CliRunner().invoke(cli, ["tools"])
    assert printed.exit_code == 0
    assert (ROOT / "docs" / "crm_tools.md").read_text() == printed.output


def test_the_configurations_reference_is_what_the_command_prints() -> None:
    printed = CliRunner().invoke(cli, ["atlas", "keys"])
    assert printed.exit_code == 0
    assert (ROOT / "docs" / "atlas_config.md").read_text() == printed.output


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_their_options_exist(document: Path) -> None:
    commands = re.findall(r"^    crm-assets (.+)$", document.read_text(), re.MULTILINE)
    for command in commands:
        words = command.partition("#")[0].split()
        path = [word for word in words[:2] if re.fullmatch(r"[a-z-]+", word) and word[0] != "-"]
        while path:
            shown = CliRunner().invoke(cli, [*path, "--help"])
            if shown.exit_code == 0 and "No such command" not in shown.output:
                break
            path.pop()
        assert path, f"{command}: no such command"
        for option in re.findall(r"--[a-z-]+", command):
            assert option in shown.output, f"{command}: {' '.join(path)} has no {option}"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for document in DOCUMENTS
        for target in re.findall(r"^    make ([a-z]+)|`make ([a-z]+)`", document.read_text(), re.MULTILINE)
        for target in target
        if target
    }
    assert named
    assert named <= targets


def test_the_tests_that_guard_the_scores_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "trust.md").read_text())
    assert named
    for path, name in named:
        assert f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"


@pytest.mark.parametrize(("arguments", "offline"), [((), True), (("ATLAS_OFFLINE_MODE=0",), False)])
def test_the_first_command_costs_nothing_where_a_key_is_set(
    arguments: tuple[str, ...], offline: bool
) -> None:
    # Of a make that runs the tests, its flags would count here, too.
    others = ("ATLAS_OFFLINE_MODE", "MAKEFLAGS", "MAKELEVEL")
    environment = {name: value for name, value in os.environ.items() if name not in others}
    environment["OPENAI_API_KEY"] = "sk-nothing"
    asked = subprocess.run(
        ["make", "-n", "baseline", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    command = asked.stdout.splitlines()[-1]
    assert "crm-assets baseline --dataset dev" in command
    environment |= dict(re.findall(r"\b([A-Z_]+)=(\S+)", command.partition("crm-assets")[0]))
    config = ROOT / "configs" / "atlas" / "crm_harness.dev.yaml"
    assert load_config(config, environment=environment).offline is offline
