"""The playbook: what sessions were taught, by namespace and learning key."""

# No postponed annotations here: Dagster reads the context class off the function as it stands.

import warnings
from typing import Any

import dagster as dg

from crm_assets.atlas.playbook import Playbook, RunPlaybook
from crm_assets.atlas.playbook.playbook import hash_of_states
from crm_assets.atlas.telemetry.learning import read_playbooks
from crm_assets.defs.resources import TelemetryResource
from crm_assets.defs.stages import GROUP, tags

__all__ = ["playbook", "playbook_written"]

_ROWS = 200  # of the table in the metadata
_SHORT = 12  # digits of a hash


def observe_playbook(telemetry: TelemetryResource) -> dg.ObserveResult:
    """Observe what is in the telemetry database."""
    with telemetry.connect() as connection:
        there = connection.execute("SELECT to_regclass('learning_registry')").fetchone() != (None,)
        playbooks = read_playbooks(connection) if there else {}
    return dg.ObserveResult(metadata=_metadata(list(playbooks.values())))


with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)  # observing, in this (pinned) Dagster
    # Its events carry no data version: every run that learns changes the playbook, and would make all runs
    # before it look stale. Which playbook a run read is in its own playbook.json.
    playbook = dg.observable_source_asset(
        name="playbook",
        group_name=GROUP,
        description="What sessions were taught: playbook entries and pamphlets, by namespace and learning "
        "key, in the telemetry database. `atlas_sessions` reads it and, with learning on, writes it. Each "
        "baseline keeps it as it was before and after: `playbook.json`. Commands: `crm-assets playbook`.",
        tags={**tags("source"), "dagster/kind/postgres": ""},
    )(observe_playbook)


def playbook_written(document: RunPlaybook) -> dg.AssetMaterialization:
    """Return the event that a run has changed the playbook."""
    before, after = document.before, document.after or document.before
    return dg.AssetMaterialization(
        asset_key=playbook.key,
        metadata={
            "entries_before": before.entries,
            "version_before": before.version,
            "sha256_before": before.sha256,
            "awaiting_approval": document.awaiting_approval or 0,
            **_metadata([after]),
        },
    )


def _metadata(playbooks: list[Playbook]) -> dict[str, Any]:
    rows = [
        dg.TableRecord(
            {
                "namespace": each.namespace,
                "key": key[:_SHORT],
                "entries": len(state.entries),
                "version": state.version,
                "sessions": state.sessions,
                "sha256": hash_of_states({key: state})[:_SHORT],
            }
        )
        for each in playbooks
        for key, state in each.keys.items()
    ]
    return {
        "namespaces": ", ".join(each.namespace for each in playbooks) or "none",
        "entries": sum(each.entries for each in playbooks),
        "version": sum(each.version for each in playbooks),
        "sha256": "\n".join(f"{each.namespace}: {each.sha256}" for each in playbooks) or "none",
        **({"keys": dg.MetadataValue.table(records=rows[:_ROWS])} if rows else {}),
    }
