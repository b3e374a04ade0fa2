"""The playbook of a namespace: the learning state of each learning key, as it is at one moment."""

from __future__ import annotations

import hashlib
from typing import Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, computed_field

from crm_assets.atlas.playbook.learning_state import LearningState
from crm_assets.workspace.keys import is_name

__all__ = ["PLAYBOOK_VERSION", "SHARED", "Playbook", "RunPlaybook", "registry_key", "split_registry_key"]

PLAYBOOK_VERSION: Final = 1

SHARED: Final = "shared"
"""The namespace of learning keys without one, such as those of before there were namespaces."""
_SEPARATOR = "::"


def registry_key(namespace: str, key: str) -> str:
    """Return the learning key under which the telemetry database keeps `key` of a namespace."""
    return key if namespace == SHARED else f"{namespace}{_SEPARATOR}{key}"


def split_registry_key(registered: str) -> tuple[str, str]:
    """Return namespace and learning key of a key of the telemetry database."""
    namespace, separator, key = registered.partition(_SEPARATOR)
    return (namespace, key) if separator and is_name(namespace) else (SHARED, registered)


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Playbook(_Document):
    """Learning states of one namespace, by learning key."""

    namespace: str
    keys: dict[str, LearningState]
    """By learning key, without the namespace; keys that never learned are left out."""

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def entries(self) -> int:
        """Number of active entries of all keys."""
        return sum(len(state.entries) for state in self.keys.values())

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def version(self) -> int:
        """Number of changes of pamphlets or entries, of all keys."""
        return sum(state.version for state in self.keys.values())

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def sha256(self) -> str:
        """Hex SHA-256 of everything that sessions and merges depend on; equal playbooks have equal ones."""
        return hash_of_states(self.keys)


def hash_of_states(keys: dict[str, LearningState]) -> str:
    """Return the hex SHA-256 of learning states by key, their last evaluations left out."""
    states = {
        key: state.model_dump(mode="json", exclude={"last_evaluation"})
        for key, state in keys.items()
        if state != LearningState()
    }
    return hashlib.sha256(orjson.dumps(states, option=orjson.OPT_SORT_KEYS)).hexdigest()


class RunPlaybook(_Document):
    """playbook.json: the playbook of a run's learning keys, before and after the run."""

    schema_version: Literal[1] = PLAYBOOK_VERSION
    learning: Literal["on", "frozen"]
    """`on`: the run added to it; `frozen`: the run only used it."""
    before: Playbook
    """As it was before the run's first session."""
    after: Playbook | None = None
    """As it was after the run's last session, other runs' additions included; null until then."""
    taught_by: int
    """Conversations of this run that had taught the playbook before: their results may be remembered."""
    awaiting_approval: int | None = None
    """Sessions of this run whose lesson is kept out of the playbook until they are approved."""
