"""Every key of a configuration has an effect: what is asked, told or stored differs where it differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, get_args

import orjson
import pytest
from pydantic import BaseModel

from crm_assets.atlas.config import AtlasConfig
from crm_assets.atlas.config_file import LoadedConfig, load_config
from crm_assets.atlas.model_facts import ModelRun
from crm_assets.atlas.outcomes import PastSession
from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.playbook import LearningState
from crm_assets.atlas.rewards import JUDGE_TEMPERATURES
from crm_assets.atlas.telemetry import TelemetryStore
from crm_assets.llm import ChatRequest, ModelClient, ModelError, ModelSpec, ProviderLimits
from tests.atlas.configs import config, model
from tests.atlas.loop import loop_project, without_times
from tests.atlas.play import Say, Stage, context, document_of
from tests.atlas.playbook.build import entry, raw
from tests.harness.build import ACME, answered, conversation, turn
from tests.projects import ProjectDatabases

Sections = Mapping[str, Any]
Script = Mapping[str, Any]

TALK = conversation(
    answered(
        turn(
            "add_note",
            {"entity_type": "Client", "entity_id": ACME, "content": "Called."},
            user_utterance=f"Clone a note that says Called on the client {ACME}.",
        ),
        "Noted.",
    ),
    conversation_id="talk",
)
HISTORY = tuple(
    PastSession(
        execution_mode="paired", score=0.5, student_note=f"note {n}", teacher_note=None, completed_at=None
    )
    for n in range(12)
)
WINDOW = tuple((0.5, 0.1) for _ in range(60))
USED = {"sessions": 30, "sessions_hit": 12, "cue_hits": 12, "action_adoptions": 12}
REWARDED = {"rewarded_hit": 12, "reward_sum_hit": 6.0, "reward_before": 0.5}
TWO: dict[str, Any] = {"conversations": ("x", "y")}
KNOWN = LearningState(
    student_learning="Known.",
    entries=(
        entry("one", "clone", handle="add_note", **USED, **REWARDED, **TWO),
        entry("rare", "never said", sessions=40, sessions_hit=1, cue_hits=1, **TWO),
        entry("lonely", "clone", sessions=19, sessions_hit=19, cue_hits=19, conversations=("talk",)),
    ),
)
LONG = "Call add_note and nothing else, whatever the user says of it, " + "and mind the words " * 20


def learnt(**changes: Any) -> Script:
    """A learner that proposes an entry."""
    return {"learner": {"playbook_entries": [raw(id="new", **changes)]}}


def scores(*values: float) -> Script:
    """Judges that give these scores, and an arbiter of its own mind."""
    by_temperature = dict(zip(JUDGE_TEMPERATURES, values, strict=True))

    def judge(request: ChatRequest) -> Say:
        score = by_temperature.get(request.temperature or 0.0, 0.123)
        return {"score": score, "uncertainty": 0.1, "rationale": "so", "principles": []}

    return {"judge": judge}


@dataclass(frozen=True)
class Effect:
    """A key, another value, and the circumstances in which it matters."""

    key: str
    value: Any
    base: Sections = field(default_factory=dict)
    script: Script = field(default_factory=dict)
    history: bool = False
    window: tuple[tuple[float, float], ...] = WINDOW
    seconds: float = 0.0


THREE_CALLS = '{"tool": "quote_prefixes"}\n' * 3
PAIRED = {"orchestration": {"forced_mode": "paired"}}
UNSURE: Script = {"probe": {"mode": "coach", "confidence": 0.5}}
NO_PROBE: Script = {"probe": ModelError("No probe.")}

IN_SESSIONS = [
    Effect("agent.name", "other"),
    Effect("agent.system_prompt", "Do what you like."),
    Effect("agent.use_llm_judge", True, script={"student": "I know nothing of tools."}),
    Effect("agent.tool_mode", "text"),
    Effect("agent.calls_per_turn", "many"),
    Effect("agent.max_calls_per_turn", 2, {"agent": {"calls_per_turn": "many"}}, {"student": THREE_CALLS}),
    Effect("agent.llm", model("other")),
    Effect("student.tool_choice", "required"),
    Effect("student.max_step_tokens", 77),
    Effect("teacher.llm", model("other"), PAIRED),
    Effect("teacher.validation_prompt", "You are the teacher. Be kind.", PAIRED),
    Effect("orchestration.forced_mode", "auto"),
    Effect("orchestration.max_retries", 0, PAIRED, {"teacher": {"valid": False, "guidance": "Again."}}),
    Effect("orchestration.step_timeout_seconds", 0.001, PAIRED, seconds=0.01),
    Effect("adaptive_teaching.enabled", False, script=UNSURE, history=True),
    Effect("adaptive_teaching.mode_override", "auto", script=UNSURE, history=True),
    Effect("adaptive_teaching.probe.llm", model("prober"), history=True),
    Effect("adaptive_teaching.probe.thresholds.auto", 0.95,
           script={"probe": {"mode": "auto", "confidence": 0.9}}, history=True),
    Effect("adaptive_teaching.probe.thresholds.paired", 0.45, script=UNSURE, history=True),
    Effect("adaptive_teaching.probe.fallback_mode", "coach", script=NO_PROBE, history=True),
    Effect("adaptive_teaching.probe.evidence_limit", 2, history=True),
    Effect("adaptive_teaching.probe.timeout_seconds", 0.001, script=UNSURE, history=True, seconds=0.01),
    Effect("adaptive_teaching.default_tags", ["extra"]),
    Effect("adaptive_teaching.learning_key_override", "all"),
    Effect("adaptive_teaching.focus_prompt", "Look at the note."),
    Effect("rim.small_model", model("other")),
    Effect("rim.large_model", model("other"), script=scores(0.1, 0.9, 0.9)),
    Effect("rim.judge_prompt", "You are the judge. Be kind."),
    Effect("rim.variance_threshold", 0.9, script=scores(0.1, 0.9, 0.9)),
    Effect("rim.uncertainty_threshold", 0.05, script=scores(0.5, 0.5, 0.5)),
    Effect("learning.llm", model("other")),
    Effect("learning.enabled", False),
    Effect("learning.update_enabled", False),
    Effect("learning.apply_to_prompts", False),
    Effect("learning.history_limit", 2, history=True),
    Effect("learning.prompts", {"synthesizer": "You are the learner. Be brief."}),
    Effect("learning.schema.allowed_runtime_handles", ["client_search"], script=learnt()),
    Effect("learning.schema.cue_types", ["regex"], script=learnt()),
    Effect("learning.gates.enforce_actionability", False, script=learnt(action={"runtime_handle": "fly"})),
    Effect("learning.gates.enforce_cue", False, script=learnt(cue={"type": "regex", "pattern": "(a+)+$"})),
    Effect("learning.gates.enforce_generality", False, script=learnt(expected_effect="One case less.")),
    Effect("learning.gates.max_text_length", 100, script=learnt(action={"imperative": LONG})),
    Effect("learning.gates.banned_incident_tokens", ["original"], script=learnt()),
    Effect("learning.rubric_weights.actionability", 0.9, script=learnt()),
    Effect("learning.rubric_weights.generality", 0.9, script=learnt()),
    Effect("learning.rubric_weights.hookability", 0.9, script=learnt()),
    Effect("learning.rubric_weights.concision", 0.9, script=learnt()),
    Effect("learning.pruning_config.min_sessions", 99),
    Effect("learning.pruning_config.min_cue_hit_rate", 0.0),
    Effect("learning.pruning_config.min_reward_delta", 0.5),
    Effect("learning.pruning_config.min_transfer_sessions", 99),
    Effect("learning.usage_tracking.enabled", False),
    Effect("runtime_safety.review.require_approval", False, window=()),
    Effect("runtime_safety.drift.enabled", False),
    Effect("runtime_safety.drift.window", 7),
    Effect("runtime_safety.drift.z_threshold", 99.0),
    Effect("runtime_safety.drift.min_baseline", 99),
    Effect("feedback", "none"),
]  # fmt: skip


def changed(effect: Effect, *, apply: bool) -> AtlasConfig:
    sections: dict[str, Any] = orjson.loads(orjson.dumps(dict(effect.base)))
    if apply:
        *parents, name = effect.key.split(".")
        part = sections
        for parent in parents:
            part = part.setdefault(parent, {})
        part[name] = effect.value
    return config(**sections)


def seen(stage: Stage, effect: Effect, *, apply: bool) -> bytes:
    """All that a session asks, and all that is left of it."""
    start = context(learning=KNOWN, history=HISTORY if effect.history else (), window=effect.window)
    played = stage.play(
        TALK, changed(effect, apply=apply), effect.script, start_from=start, seconds=effect.seconds
    )
    return orjson.dumps(
        without_times(
            {
                "asked": [document_of(request) for _, request in played.models.asked],
                "record": played.record,
                "learnt": played.store.learnt.model_dump(mode="json") if played.store.learnt else None,
                "start": orjson.loads(orjson.dumps(asdict(played.store.started[0]))),
            }
        )
    )


@pytest.mark.parametrize("effect", IN_SESSIONS, ids=lambda effect: effect.key)
def test_a_key_makes_a_difference_to_a_session(stage: Stage, effect: Effect):
    without = seen(stage, effect, apply=False)
    assert seen(stage, effect, apply=False) == without, "sessions differ without any cause"
    assert seen(stage, effect, apply=True) != without


class Opened(TelemetryStore):
    """A telemetry store that tells how it was opened."""

    how: ClassVar[list[tuple[Any, ...]]] = []

    def __init__(self, conninfo: str, **settings: Any) -> None:
        self.how.append((conninfo, *(value for name, value in settings.items() if name != "project")))
        super().__init__(conninfo, **settings)


class Client(ModelClient):
    """A client that tells which limits it was given."""

    limits: ClassVar[list[Any]] = []

    def __init__(self, environment: Any, **settings: Any) -> None:
        if "limits" in settings:  # the check of keys before a run asks nobody, and has none
            self.limits.append(settings["limits"])
        super().__init__(environment, **settings)


def test_storage_and_limits_make_a_difference_to_a_run(
    project_databases: ProjectDatabases, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("crm_assets.atlas.run_playbook.TelemetryStore", Opened)
    monkeypatch.setattr("crm_assets.atlas.model_run.ModelClient", Client)
    monkeypatch.setattr(Opened, "how", [])
    monkeypatch.setattr(Client, "limits", [])
    offline = {
        section: {key: {"provider": "offline", "model": name} for key in keys}
        for section, keys, name in (
            ("agent", ["llm"], "student"),
            ("teacher", ["llm"], "teacher"),
            ("rim", ["small_model", "large_model"], "judge"),
            ("learning", ["llm"], "learner"),
        )
    }
    limits = {"requests_per_minute": 30_000, "tokens_per_minute": 40_000_000, "max_connections": 5}
    with (
        loop_project(project_databases) as elsewhere,
        loop_project(project_databases, STORAGE__DATABASE_URL="") as loop,
    ):
        storage = {
            "database_url": elsewhere.telemetry,
            "min_connections": 2,
            "max_connections": 3,
            "statement_timeout_seconds": 7.0,
        }
        path = loop.config(offline, {"storage": storage, "limits": {"offline": limits}})
        files = loop.tasks([TALK.model_dump(mode="json")])
        assert loop.run(files, path).total == 1
        assert set(Opened.how) == {tuple(storage.values())}
        assert elsewhere.query("SELECT status FROM sessions") == [("succeeded",)]
        assert Client.limits == [{"offline": ProviderLimits(**limits)}]
        # The environment's database counts first.
        named = elsewhere.config(offline, {"storage": {**storage, "database_url": loop.telemetry}})
        assert elsewhere.run(elsewhere.tasks([TALK.model_dump(mode="json")]), named).total == 1
        assert elsewhere.query("SELECT count(*) FROM sessions") == [(2,)]


def test_the_engine_makes_a_difference():
    engines: tuple[Any, ...] = ("crm_assets", "sdk")
    loaded = (LoadedConfig(Path("x.yaml"), config(engine=engine), offline=False) for engine in engines)
    assert [ModelRun(SessionPlan(), one).by_sdk for one in loaded] == [False, True]


def test_offline_makes_a_difference(tmp_path: Path):
    path = tmp_path / "x.yaml"
    for value, offline in (("never", False), ("without_keys", True)):
        document = config(offline=value).model_dump(mode="json", by_alias=True)
        path.write_bytes(orjson.dumps(document))  # JSON is YAML
        assert load_config(path, environment={}).offline is offline


ELSEWHERE = {
    "agent.type",  # tests/cli/test_agents.py
    "agent.factory",
    "agent.command",
    "agent.url",
    "agent.turn_timeout_seconds",  # tests/atlas/test_working_agents.py
    "learning.namespace",  # tests/atlas/test_run_playbook.py
    "storage.database_url",
    "storage.min_connections",
    "storage.max_connections",
    "storage.statement_timeout_seconds",
    "limits",
    "confirm_above_usd",  # tests/cli/test_consent.py
    "engine",
    "offline",
}
"""Keys whose effect the other tests here show."""


AS_THE_SDK_HAS_IT = {"adaptive_teaching.probe.thresholds.coach"}
"""Checked against the other two; below it a session is coached all the same."""


def keys_of(form: type[BaseModel], before: str = "") -> set[str]:
    """All keys that leave a choice; a model's own section is one (see `tests/llm`)."""
    found: set[str] = set()
    for name, info in form.model_fields.items():
        key = f"{before}{info.alias or name}"
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel) and inner is not ModelSpec:
            found |= keys_of(inner, f"{key}.")
        elif len(get_args(inner)) != 1 or not isinstance(get_args(inner)[0], str):
            found.add(key)  # a Literal of one text leaves no choice
    return found


def test_no_key_is_left_out():
    shown = {effect.key for effect in IN_SESSIONS}
    assert keys_of(AtlasConfig) == shown | ELSEWHERE | AS_THE_SDK_HAS_IT
