#!/usr/bin/env bash
# dagster 1.13.27. A dynamic partition is materialized, its key deleted, and later a key of the same name added for something
# new. The new partition counts as materialized from its first moment: deleting a key keeps its materializations, and
# they are found by name.
# Why it matters: "materialize missing" skips the new partition, and its cell in the UI is green with a run that belongs to
# the deleted one. Never use the name of a deleted key again, or wipe the asset's materializations of that partition first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq --disable-pip-version-check install dagster==1.13.27
mkdir "$folder/home"
cat > "$folder/reuse.py" << 'PYTHON'
import dagster as dg
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

trials = dg.DynamicPartitionsDefinition(name="trials")


@dg.asset(partitions_def=trials)
def score() -> int:
    return 1


def finished(instance: dg.DagsterInstance) -> list[str]:
    """Return the keys whose cells the UI shows as materialized."""
    status = get_and_update_asset_status_cache_value(instance, score.key, trials, instance)
    return sorted(status.deserialize_materialized_partition_subsets(trials).get_partition_keys())


with dg.DagsterInstance.get() as instance:
    instance.add_dynamic_partitions("trials", ["alpha", "beta"])
    dg.materialize([score], partition_key="alpha", instance=instance)
    print("finished:", finished(instance))
    instance.delete_dynamic_partition("trials", "alpha")
    print("keys after the deletion:", instance.get_dynamic_partitions("trials"))
    instance.add_dynamic_partitions("trials", ["alpha"])
    print("finished after a new key of that name:", finished(instance))
    assert finished(instance) == ["alpha"]
print("as described, dagster", dg.__version__)
PYTHON
DAGSTER_HOME="$folder/home" "$folder/venv/bin/python" "$folder/reuse.py" 2> "$folder/log" ||
    { tail -n 20 "$folder/log" >&2; exit 1; }
