from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crm_assets.atlas.config_file import LoadedConfig
from crm_assets.atlas.sdk.package import KEY_VARIABLE, AtlasSdk
from crm_assets.atlas.sdk.translation import database_url, sdk_config
from crm_assets.errors import ConfigError
from tests.atlas.configs import config, model

ADDRESS = "host=/run/pg user=me dbname=atlas port=5433"


def refuse(document: dict[str, Any]) -> None:
    raise ValueError("rim: no") from ValueError("rim.variance_threshold: too small")


def sdk(parse_config: Any = lambda document: None) -> AtlasSdk:
    """A stand-in: what the SDK takes is seen in runs of it."""
    prompts = SimpleNamespace(plan_review="review", guidance="guide")
    return AtlasSdk(
        arun=None,  # type: ignore[arg-type]
        context=None,  # type: ignore[arg-type]
        parse_config=parse_config,
        config_error=ValueError,
        build_teacher_prompts=lambda base, section: prompts,
        database=object,
        storage_config=object,
        export_sessions=None,  # type: ignore[arg-type]
    )


def translated(**sections: Any) -> dict[str, Any]:
    return sdk_config(LoadedConfig(Path(), config(**sections), offline=False), ADDRESS, sdk())


def test_every_model_is_asked_through_the_door_in_its_role() -> None:
    document = translated()
    names = {
        "teacher": document["teacher"]["llm"],
        "judge": document["rim"]["small_model"],
        "arbiter": document["rim"]["large_model"],
        "learner": document["learning"]["llm"],
        "probe": document["adaptive_teaching"]["probe"]["llm"],
    }
    assert {place: section["model"] for place, section in names.items()} == {
        "teacher": "crm_assets/teacher/openai/teacher",
        "judge": "crm_assets/judge/openai/small",
        "arbiter": "crm_assets/arbiter/openai/large",
        "learner": "crm_assets/learner/openai/learner",
        "probe": "crm_assets/probe/openai/teacher",
    }
    assert {section["api_key_env"] for section in names.values()} == {KEY_VARIABLE}
    assert not any("api_base" in section for section in names.values())


def test_the_sdk_makes_no_tables_and_holds_one_connection_a_session() -> None:
    storage = translated()["storage"]
    assert storage["apply_schema_on_connect"] is False
    assert (storage["min_connections"], storage["max_connections"]) == (1, 1)


@pytest.mark.parametrize(
    ("forced", "enabled", "wanted"),
    [
        ("paired", True, ("paired", None, True)),
        ("auto", False, ("auto", None, False)),
        ("coach", False, (None, "coach", True)),
        (None, True, (None, None, True)),
    ],
)
def test_a_forced_mode_is_forced_in_the_way_that_the_sdk_minds(
    forced: str | None, enabled: bool, wanted: tuple[Any, ...]
) -> None:
    document = translated(orchestration={"forced_mode": forced}, adaptive_teaching={"enabled": enabled})
    teaching = document["adaptive_teaching"]
    found = document["orchestration"]["forced_mode"], teaching["mode_override"], teaching["enabled"]
    assert found == wanted


@pytest.mark.parametrize(
    ("section", "wanted"),
    [
        ({}, (True, True, True)),
        ({"update_enabled": False}, (True, False, True)),
        ({"enabled": False}, (False, False, False)),
        ({"apply_to_prompts": False}, (True, True, False)),
    ],
)
def test_learning_that_is_off_does_not_get_into_prompts(
    section: dict[str, Any], wanted: tuple[bool, ...]
) -> None:
    learning = translated(learning=section)["learning"]
    assert tuple(learning[name] for name in ("enabled", "update_enabled", "apply_to_prompts")) == wanted


def test_the_learner_may_name_all_tools_or_those_that_are_allowed() -> None:
    assert "create_new_client" in translated()["learning"]["schema"]["allowed_runtime_handles"]
    some = {"schema": {"allowed_runtime_handles": ["client_search"]}}
    assert translated(learning=some)["learning"]["schema"]["allowed_runtime_handles"] == ["client_search"]


def test_prompts_of_ones_own_get_to_the_sdk() -> None:
    document = translated(
        teacher={"validation_prompt": "Look!"},
        rim={"judge_prompt": "Be strict."},
        adaptive_teaching={"focus_prompt": "Look at dates."},
        learning={"prompts": {"synthesizer": "Learn!"}},
    )
    assert document["teacher"]["prompts"] == {
        "plan_review": "review",
        "validation": "Look!",
        "guidance": "guide",
    }
    assert document["adaptive_teaching"]["reward"]["focus_prompt"] == "Be strict.\n\nLook at dates."
    assert document["learning"]["prompts"] == {"synthesizer": "Learn!"}
    assert "prompts" not in translated()["teacher"]


def test_a_probe_of_its_own_model_is_asked() -> None:
    probe = {"llm": model("scout"), "timeout_seconds": 0.2}
    translated_probe = translated(adaptive_teaching={"probe": probe})["adaptive_teaching"]["probe"]
    assert translated_probe["llm"]["model"] == "crm_assets/probe/openai/scout"
    assert translated_probe["timeout_seconds"] == 1.0


def test_a_refusal_of_the_sdk_is_one_sentence() -> None:
    loaded = LoadedConfig(Path(), config(), offline=False)
    with pytest.raises(ConfigError, match=r"does not accept this configuration \(rim\.variance"):
        sdk_config(loaded, ADDRESS, sdk(refuse))


@pytest.mark.parametrize(
    ("conninfo", "url"),
    [
        (ADDRESS, "postgresql://me@/atlas?host=%2Frun%2Fpg&port=5433"),
        (
            "postgresql://me:a%40b%2F@db:5432/my%20db?sslmode=require&connect_timeout=3",
            "postgresql://me:a%40b%2F@/my%20db?host=db&port=5432&sslmode=require",
        ),
    ],
)
def test_addresses_are_such_as_asyncpg_takes(conninfo: str, url: str) -> None:
    assert database_url(conninfo) == url
