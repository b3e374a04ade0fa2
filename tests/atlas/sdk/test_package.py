from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError

import pytest

from crm_assets.atlas.sdk import package
from crm_assets.atlas.sdk.package import KEY_VARIABLE, require_sdk, sdk_environment
from crm_assets.errors import ConfigError
from crm_assets.records import SessionLog
from tests.atlas.loop import Loop, models_at, small_dataset


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(package, "version", version)


@pytest.mark.usefixtures("not_installed")
def test_without_the_package_it_is_said_what_to_install() -> None:
    with pytest.raises(ConfigError) as refusal:
        require_sdk()
    command = ".venv/bin/python -m uv pip install -e '.[atlas-sdk]'"
    assert str(refusal.value) == f"engine: sdk needs the extra atlas-sdk; run: {command}."


@pytest.mark.usefixtures("not_installed")
def test_a_run_that_wants_it_is_refused_before_anything_is_made(loop: Loop) -> None:
    files = loop.tasks(small_dataset(1))
    config = loop.config(models_at("http://127.0.0.1:9"), {"engine": "sdk"})
    with pytest.raises(ConfigError, match="needs the extra"):
        loop.run(files, config)
    assert [path.name for path in files.folder.iterdir()] == ["tasks.jsonl"]
    with pytest.raises(ConfigError, match="needs the extra"):
        loop.run(files, loop.config(models_at("http://127.0.0.1:9")), engine="sdk")


@pytest.mark.usefixtures("not_installed")
def test_the_student_alone_needs_no_engine(loop: Loop) -> None:
    config = loop.config(models_at("http://127.0.0.1:9"), {"engine": "sdk"})
    files = loop.tasks(small_dataset(1))
    loop.run(files, config, agent="student", student="offline/student")
    assert loop.lines(files)[0]["status"] == "succeeded"
    assert "engine" not in (SessionLog(files.sessions).header.agent or {})


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "version", lambda name: "0.2.0")
    with pytest.raises(ConfigError, match=r"arc-atlas 0\.1\.16, but 0\.2\.0 is installed"):
        require_sdk()


def test_what_overrules_the_configuration_is_kept_out_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_OFFLINE_MODE", "1")
    monkeypatch.delenv("ATLAS_DRIFT_WINDOW", raising=False)
    with sdk_environment():
        assert "ATLAS_OFFLINE_MODE" not in os.environ
        assert os.environ[KEY_VARIABLE]
    assert os.environ["ATLAS_OFFLINE_MODE"] == "1"
    assert KEY_VARIABLE not in os.environ
    assert "ATLAS_DRIFT_WINDOW" not in os.environ
