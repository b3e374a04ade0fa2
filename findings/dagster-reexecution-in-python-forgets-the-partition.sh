#!/usr/bin/env bash
# dagster 1.13.27. A run of a partitioned asset job fails and is executed again from failure through Python
# (`ReexecutionOptions.from_failure` with `execute_job`). The child run has none of the parent's tags, so it has no
# partition: the same job that reads `context.partition_key` fails once more, now for want of a partition, although the
# cause of the first failure is gone. With the parent's partition tag passed by hand it succeeds. The UI passes the tags.
# Why it matters: a retry by script of one failed partition of a backfill cannot succeed, and its run is not shown
# under the partition either.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq --disable-pip-version-check install dagster==1.13.27
mkdir "$folder/home"
cat > "$folder/pipeline.py" << 'PYTHON'
import os

import dagster as dg

cities = dg.StaticPartitionsDefinition(["oslo", "turin"])


@dg.asset(partitions_def=cities)
def report(context: dg.AssetExecutionContext) -> str:
    if os.environ["SERVICE"] == "down":
        raise RuntimeError("the service is down")
    return context.partition_key


defs = dg.Definitions(
    assets=[report],
    jobs=[dg.define_asset_job("reports", selection="*", partitions_def=cities)],
    executor=dg.in_process_executor,
)


def reports():
    return defs.resolve_job_def("reports")
PYTHON
cat > "$folder/retry.py" << 'PYTHON'
import os

import dagster as dg
import pipeline

with dg.DagsterInstance.get() as instance:
    os.environ["SERVICE"] = "down"
    parent = pipeline.reports().execute_in_process(
        instance=instance, partition_key="oslo", raise_on_error=False
    )
    os.environ["SERVICE"] = "up"
    outcomes = {}
    for name, tags in (("no tags", None), ("tags passed", {"dagster/partition": "oslo"})):
        options = dg.ReexecutionOptions.from_failure(parent.run_id, instance)
        job = dg.reconstructable(pipeline.reports)
        with dg.execute_job(job, instance, reexecution_options=options, tags=tags) as child:
            run = instance.get_run_by_id(child.run_id)
            outcomes[name] = (run.status.value, run.tags.get("dagster/partition"))
    print("parent:", instance.get_run_by_id(parent.run_id).tags.get("dagster/partition"))
    for name, outcome in outcomes.items():
        print(f"child, {name}:", *outcome)
    assert outcomes == {"no tags": ("FAILURE", None), "tags passed": ("SUCCESS", "oslo")}, outcomes
print("as described, dagster", dg.__version__)
PYTHON
cd "$folder"
DAGSTER_HOME="$folder/home" venv/bin/python retry.py 2> "$folder/log" || { tail -n 20 "$folder/log" >&2; exit 1; }
