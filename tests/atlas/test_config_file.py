from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from crm_assets.atlas.config_file import LoadedConfig, load_config
from crm_assets.atlas.plan import SessionPlan
from crm_assets.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs" / "atlas"
PRODUCTION, DEV = CONFIGS / "crm_harness.yaml", CONFIGS / "crm_harness.dev.yaml"
KEYS = {"OPENAI_API_KEY": "k", "GEMINI_API_KEY": "k"}


def document(path: Path = PRODUCTION) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


def load(path: Path = PRODUCTION, environment: Mapping[str, str] = KEYS, **plan: Any) -> LoadedConfig:
    return load_config(path, environment=environment, plan=SessionPlan(**plan))


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """Loads a changed production configuration: `place=value`, with dots for depth."""

    def write(
        changes: Mapping[str, Any], environment: Mapping[str, str] = KEYS, **more: Any
    ) -> LoadedConfig:
        changed = document()
        for place, value in changes.items():
            *parents, name = place.split(".")
            section = changed
            for parent in parents:
                if section.get(parent) is None:
                    section[parent] = {}
                section = section[parent]
            section[name] = value
        path = tmp_path / "changed.yaml"
        path.write_text(yaml.safe_dump(changed))
        return load(path, environment, **more)

    return write


def places(section: Any, before: str = "") -> list[str]:
    """Every key of a file, with dots for depth."""
    if not isinstance(section, dict):
        return [before]
    return [
        place for name, part in section.items() for place in places(part, f"{before}.{name}".strip("."))
    ]


def test_the_production_configuration_is_what_it_says():
    loaded = load()
    models = {name: (spec.name, spec.temperature) for name, spec in loaded.models().items()}
    assert models == {
        "student": ("openai/gpt-4.1-mini", 0.0),
        "teacher": ("openai/gpt-4.1", 0.05),
        "judge": ("gemini/gemini-2.5-flash", None),
        "arbiter": ("gemini/gemini-2.5-pro", None),
        "learner": ("gemini/gemini-2.5-flash", 0.1),
    }
    config = loaded.config
    assert (config.orchestration.forced_mode, config.orchestration.max_retries) == ("paired", 1)
    assert (config.rim.variance_threshold, config.rim.uncertainty_threshold) == (0.15, 0.30)
    assert config.agent.use_llm_judge
    assert (loaded.offline, loaded.learning_mode, config.feedback) == (False, "on", "verdicts")


@pytest.mark.parametrize("path", [PRODUCTION, DEV])
def test_every_key_of_the_files_is_known(path: Path):
    known = load(path).config.model_dump(mode="json", by_alias=True)
    for place in places(document(path)):
        section: Any = known
        for name in place.split("."):
            assert isinstance(section, dict), place
            assert name in section, place
            section = section[name]


@pytest.mark.parametrize("place", sorted({place.rpartition(".")[0] for place in places(document())}))
def test_a_key_that_means_nothing_is_named(written: Any, place: str):
    unknown = f"{place}.meaning".strip(".")
    with pytest.raises(ConfigError) as raised:
        written({unknown: 1, "agent.wrong": 2})
    assert f"{unknown} is no key of a configuration" in str(raised.value)
    assert "agent.wrong is no key of a configuration" in str(raised.value)
    assert "changed.yaml" in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"agent.type": "openai"}, "agent.type: Input should be 'crm_harness'"),
        ({"agent.backend": "sqlite"}, "agent.backend: Input should be 'postgres'"),
        ({"agent.llm.temperature": 3}, "agent.llm.temperature"),
        ({"orchestration.max_retries": 2}, "orchestration.max_retries"),
        ({"orchestration.forced_mode": "solo"}, "orchestration.forced_mode"),
        ({"orchestration.step_timeout_seconds": 0}, "orchestration.step_timeout_seconds"),
        (
            {"adaptive_teaching.probe.thresholds.auto": 0.5},
            "thresholds: thresholds must be in the order auto ≥ paired ≥ coach",
        ),
        ({"storage.min_connections": 9}, "min_connections must not be above max_connections"),
        ({"limits": {"Open AI": {}}}, "'Open AI' is not a provider name"),
        ({"limits": {"openai": {"rpm": 3}}}, "limits.openai.rpm is no key"),
        ({"feedback": "all"}, "feedback: Input should be 'none', 'verdicts' or 'oracle'"),
        ({"teacher": None}, "teacher is missing"),
        ({"agent.llm": {"provider": "openai"}}, "agent.llm.model is missing"),
        ({"learning.prompts": {"student": "x"}}, "learning.prompts"),
        ({"learning.schema": {"cue_types": ["smell"]}}, "learning.schema.cue_types"),
        ({"feeling": None}, "feeling is no key of a configuration"),
    ],
)
def test_a_value_that_means_nothing_is_named(written: Any, changes: dict[str, Any], complaint: str):
    with pytest.raises(ConfigError) as raised:
        written(changes)
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("agent: [", "is not YAML"),
        ("- a\n- b\n", "holds no configuration; start from configs/atlas/crm_harness.yaml"),
        ("", "holds no configuration"),
        ("agent: student\nlearning: 3\n", "agent: "),
        ("agent: {}\nlearning:\n  a: 1\n  a: 2\n", "line 4: the key 'a' is already on line 3"),
        ("agent: {}\nteacher: {}\nagent: {}\n", "line 3: the key 'agent' is already on line 1"),
        ("agent: {}\nrim: " + "{a: " * 400 + "1" + "}" * 400, "line 2 is nested deeper than 50 levels"),
        ("agent: " + "[" * 5_000, "line 1 is nested deeper than 50 levels"),
        ("agent: 2026-13-45\n", "month must be in 1..12"),
        ("agent: !!bool maybe\n", "is not YAML"),
        ("agent: &a\n  llm: *a\n", "agent"),
    ],
)
def test_what_is_no_configuration_is_said(tmp_path: Path, text: str, complaint: str):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"odd\.yaml") as raised:
        load(path, student="openai/x", learner="openai/y", learning="off", mode="auto")
    assert complaint in str(raised.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"Cannot read the configuration .*name one of configs/atlas"):
        load(tmp_path / "none.yaml")


def test_a_section_without_a_key_is_the_default(written: Any):
    bare = written({"student": None, "adaptive_teaching": None, "storage": None, "orchestration": None})
    assert bare.config.student.tool_choice == "auto"
    assert bare.config.orchestration.forced_mode is None
    assert written({"orchestration": None}, mode="coach").config.orchestration.forced_mode == "coach"


# What a command line may change.


def test_models_can_be_named_by_role():
    loaded = load(
        student="anthropic/claude-x", teacher="openai/t", judge="openai/j", learner="openai/org/l"
    )
    assert {name: spec.name for name, spec in loaded.models().items()} == {
        "student": "anthropic/claude-x",
        "teacher": "openai/t",
        "judge": "openai/j",
        "arbiter": "openai/j",
        "learner": "openai/org/l",
    }
    # What was said of how to ask stays, what belongs to the provider goes.
    assert loaded.config.teacher.llm.temperature == 0.05
    assert loaded.config.teacher.llm.api_key_env == "OPENAI_API_KEY"
    assert loaded.config.agent.llm.key_variable == "ANTHROPIC_API_KEY"
    assert loaded.config.rim.small_model.key_variable == "OPENAI_API_KEY"


def test_another_model_has_another_price_and_another_provider_another_address(written: Any):
    changes = {
        "agent.llm.api_base": "http://one/v1",
        "agent.llm.usd_per_million_prompt_tokens": 1,
        "agent.llm.usd_per_million_completion_tokens": 1,
    }
    same = written(changes, student="openai/other").config.agent.llm
    assert (same.api_base, same.usd_per_million_prompt_tokens) == ("http://one/v1", None)
    other = written(changes, student="gemini/other").config.agent.llm
    assert (other.api_base, other.api_key_env) == (None, None)


@pytest.mark.parametrize("name", ["gpt", "/gpt", "openai/", ""])
def test_a_model_without_its_provider_is_refused(name: str):
    with pytest.raises(ConfigError, match="--teacher wants provider/model"):
        load(teacher=name)


@pytest.mark.parametrize(
    ("learning", "enabled", "update"),
    [("on", True, True), ("frozen", True, False), ("off", False, False)],
)
def test_learning_mode_and_feedback_can_be_set(learning: str, enabled: bool, update: bool):
    loaded = load(learning=learning, mode="coach", feedback="oracle")
    assert (loaded.config.learning.enabled, loaded.config.learning.update_enabled) == (enabled, update)
    assert loaded.learning_mode == learning
    assert loaded.config.orchestration.forced_mode == "coach"
    assert loaded.config.feedback == "oracle"


def test_what_is_not_overridden_stays(written: Any):
    changes = {"learning.update_enabled": False, "orchestration.forced_mode": "auto", "feedback": "none"}
    loaded = written(changes)
    assert loaded.learning_mode == "frozen"
    assert (loaded.config.orchestration.forced_mode, loaded.config.feedback) == ("auto", "none")
    assert written({"learning.enabled": False}).learning_mode == "off"


# Offline.


@pytest.mark.parametrize("value", ["1", "true", "YES", " on "])
def test_the_environment_can_keep_everything_offline(value: str):
    loaded = load(environment={**KEYS, "ATLAS_OFFLINE_MODE": value}, student="openai/x")
    assert loaded.offline
    assert {name: spec.name for name, spec in loaded.models().items()} == {
        "student": "offline/student",
        "teacher": "offline/teacher",
        "judge": "offline/judge",
        "arbiter": "offline/judge",
        "learner": "offline/learner",
    }
    assert loaded.config.teacher.llm.temperature == 0.05
    assert all(spec.key_variable is None for spec in loaded.models().values())


@pytest.mark.parametrize("value", ["0", "no", ""])
def test_and_need_not(value: str):
    assert not load(environment={**KEYS, "ATLAS_OFFLINE_MODE": value}).offline


def test_the_probe_is_offline_too(written: Any):
    probe = {"adaptive_teaching.probe.llm": {"provider": "openai", "model": "p"}}
    assert written(probe).models()["probe"].name == "openai/p"
    assert "probe" not in written(probe, {"ATLAS_OFFLINE_MODE": "1"}).models()


@pytest.mark.parametrize(
    ("environment", "offline"),
    [
        ({}, True),
        ({"OPENAI_API_KEY": "k"}, False),
        ({"GEMINI_API_KEY": "k"}, True),  # a key that no model of the file needs
        ({"OPENAI_API_BASE": "http://127.0.0.1:1/v1"}, False),  # servers of one's own need no key
        ({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, False),
    ],
)
def test_without_keys_the_dev_configuration_is_offline(environment: dict[str, str], offline: bool):
    assert load(DEV, environment).offline is offline


def test_who_names_a_model_or_a_server_wants_that_one(written: Any):
    assert not load(DEV, {}, student="openai/x").offline
    assert not written({"offline": "without_keys", "agent.llm.api_base": "http://own/v1"}, {}).offline
    assert not load(PRODUCTION, {}).offline  # `offline: never`: a missing key is an error later on


# What makes a run another one.


@pytest.mark.parametrize(
    "changes",
    [
        {"agent.llm.api_base": "http://elsewhere/v1"},
        {"teacher.llm.api_key_env": "OTHER_KEY"},
        {"storage.database_url": "postgresql://elsewhere/atlas", "storage.max_connections": 9},
        {"limits": {"openai": {"requests_per_minute": 3}}},
    ],
)
def test_the_hash_does_not_change_with_addresses(written: Any, changes: dict[str, Any]):
    assert written(changes).sha256 == load().sha256


@pytest.mark.parametrize(
    "changes",
    [
        {"agent.llm.model": "gpt-x"},
        {"agent.llm.provider": "gemini"},
        {"rim.large_model.temperature": 0.4},
        {"agent.system_prompt": "Other."},
        {"student.max_step_tokens": 3},
        {"feedback": "oracle"},
        {"learning.schema": {"allowed_runtime_handles": ["add_note"]}},
        {"runtime_safety.drift.window": 3},
    ],
)
def test_the_hash_changes_with_what_can_change_a_result(written: Any, changes: dict[str, Any]):
    assert written(changes).sha256 != load().sha256
    assert written(changes).sha256 == written(changes).sha256


def test_a_file_is_loaded_once_until_it_or_what_is_asked_of_it_changes(tmp_path: Path):
    path = tmp_path / "loop.yaml"
    path.write_bytes(DEV.read_bytes())
    first = load(path)
    assert load(path) is first
    assert load(path, learning="off").learning_mode == "off"
    assert load(path, {}).offline
    path.write_text(yaml.safe_dump({**document(DEV), "feedback": "none"}))
    assert load(path).config.feedback == "none"
