"""Dagster's partitions: a key is the same for Dagster, and is known once it is registered."""

from __future__ import annotations

from datetime import timezone

import dagster as dg
from hypothesis import given
from hypothesis import strategies as st

from crm_assets.defs.partitions import BASELINE_PARTITIONS, register
from crm_assets.workspace.keys import BaselineKey, RunKey

names = st.from_regex(r"[a-z0-9_-]{1,40}", fullmatch=True)
moments = st.datetimes(timezones=st.just(timezone.utc)).map(lambda moment: moment.replace(microsecond=0))
runs = st.builds(RunKey, moments, st.just("") | names)


@given(names, runs)
def test_dagster_splits_a_key_as_we_do(dataset: str, run: RunKey) -> None:
    theirs = BASELINE_PARTITIONS.get_partition_key_from_str(str(BaselineKey(dataset, run)))
    assert BaselineKey.from_dimensions(theirs.keys_by_dimension) == BaselineKey(dataset, run)


def test_registering_makes_the_partition_known() -> None:
    key = BaselineKey.of("dev", "20260131T093000Z-a")
    with dg.DagsterInstance.ephemeral() as instance:
        partition = register(instance, key)
        register(instance, key)  # again is fine
        with dg.partition_loading_context(dynamic_partitions_store=instance):
            assert BASELINE_PARTITIONS.has_partition_key(partition)
        assert instance.get_dynamic_partitions("crm_dataset") == ["dev"]
        assert instance.get_dynamic_partitions("crm_run") == ["20260131T093000Z-a"]
