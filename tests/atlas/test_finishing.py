"""A run is finished only if most of the sessions that should have run have a verdict."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from crm_assets.atlas.finishing import finish_run
from crm_assets.engine import tally_of
from crm_assets.errors import CrmAssetsError, InfrastructureError, UnfinishedError
from crm_assets.workspace.baseline_files import RunFiles, sidecar_of


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    return RunFiles(tmp_path)


def write(files: RunFiles, statuses: str) -> None:
    """Write partial sessions: right, undecided, lost, not run or not recorded, a letter each."""
    names = {
        "r": "completed",
        "u": "completed",
        "l": "infrastructure_error",
        "n": "not_run",
        "x": "not_recorded",
    }
    lines = [
        {
            "task_id": f"t-{number}",
            "conversation_result": {
                "status": names[letter],
                "overall_success": True if letter == "r" else None,
                "error_message": f"reason {number}" if letter == "l" else None,
            },
        }
        for number, letter in enumerate(statuses)
    ]
    files.partial.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    sidecar_of(files.partial).write_text("{}")


@pytest.mark.parametrize("statuses", ["r", "rl", "rn", "rrln", "uuu", "xxxr", "xxx", "rrxxl"])
def test_half_is_enough(files: RunFiles, statuses: str) -> None:
    write(files, statuses)
    finish_run(files, tally_of(files.partial))
    assert files.sessions.exists()


@pytest.mark.parametrize(
    ("statuses", "error", "code", "sentence"),
    [
        ("l", InfrastructureError, 3, "1 of 1 sessions have no verdict"),
        ("rll", InfrastructureError, 3, "2 of 3 sessions .* The first was lost to: reason 1"),
        ("xxxrll", InfrastructureError, 3, "2 of 3 sessions"),
        ("rln", InfrastructureError, 3, "2 of 3 sessions"),
        ("nn", UnfinishedError, 1, "The budget was spent before 2 of 2 sessions"),
        ("rnnl", UnfinishedError, 1, "before 2 of 4 .* go on with a larger budget"),
    ],
)
def test_with_less_the_sessions_stay_to_be_run(
    files: RunFiles, statuses: str, error: type[CrmAssetsError], code: int, sentence: str
) -> None:
    write(files, statuses)
    before = files.partial.read_bytes()
    with pytest.raises(error, match=sentence):
        finish_run(files, tally_of(files.partial))
    assert error.exit_code == code
    assert not files.sessions.exists()
    assert files.partial.read_bytes() == before
