#!/usr/bin/env bash
# dagster 1.13.27. `add_dynamic_partitions` accepts a key with "|", the separator of multi-dimensional keys, and lists it.
# In a MultiPartitionsDefinition over that dimension the key has no cell: every combination with it is left out of
# the partition keys, without an error or a warning. An empty key is accepted, too, and has cells like "|monday".
# Why it matters: a dataset registered under such a name is never run by a backfill over "all partitions", and the backfill
# ends green. Check names before they become keys.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq --disable-pip-version-check install dagster==1.13.27
mkdir "$folder/home"
cat > "$folder/grid.py" << 'PYTHON'
import dagster as dg

datasets = dg.DynamicPartitionsDefinition(name="datasets")
grid = dg.MultiPartitionsDefinition(
    {"dataset": datasets, "day": dg.StaticPartitionsDefinition(["monday", "tuesday"])}
)
with dg.DagsterInstance.get() as instance:
    instance.add_dynamic_partitions("datasets", ["sales", "sales|emea", ""])
    registered = list(instance.get_dynamic_partitions("datasets"))
    cells = list(grid.get_partition_keys(dynamic_partitions_store=instance))
    print("registered:", registered)
    print("cells:", cells)
    assert registered == ["sales", "sales|emea", ""], registered
    assert cells == ["sales|monday", "sales|tuesday", "|monday", "|tuesday"], cells
print("as described, dagster", dg.__version__)
PYTHON
DAGSTER_HOME="$folder/home" "$folder/venv/bin/python" "$folder/grid.py" 2> "$folder/log" ||
    { tail -n 20 "$folder/log" >&2; exit 1; }
