#!/usr/bin/env bash
# dagster 1.13.27, dagster-graphql 1.13.27. A rate without cases is NaN, and Dagster stores it as metadata. GraphQL, which
# the UI reads, then answers three ways: null for a float, and for JSON and table metadata a string like {"x": NaN},
# which is not JSON and which a strict parser refuses.
# Why it matters: a client that reads metadata over GraphQL cannot parse the answer, and "undefined" reads as "no value" in one
# kind of metadata and as an error in the others. Leave undefined figures out of metadata, or write a text.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq --disable-pip-version-check install dagster==1.13.27 dagster-graphql==1.13.27
export DAGSTER_HOME=$folder/home
mkdir "$DAGSTER_HOME"
cat > "$folder/figures.py" << 'PYTHON'
import dagster as dg


@dg.asset
def figures() -> dg.MaterializeResult:
    rate = float("nan")  # successes / cases, of no cases
    return dg.MaterializeResult(
        metadata={
            "float": rate,
            "json": dg.MetadataValue.json({"x": rate}),
            "table": dg.MetadataValue.table([dg.TableRecord({"x": rate})]),
        }
    )


defs = dg.Definitions(assets=[figures])
PYTHON
cat > "$folder/check.py" << 'PYTHON'
import json
import sys


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True


answer = next(json.loads(line) for line in sys.stdin if line.startswith('{"data"'))
entries = answer["data"]["assetNodes"][0]["assetMaterializations"][0]["metadataEntries"]
found = {entry["label"]: entry for entry in entries}
texts = {"json": found["json"]["jsonString"], "table": found["table"]["table"]["records"][0]}
print("float:", found["float"]["floatValue"])
for kind, text in texts.items():
    print(f"{kind}: {text} (JSON: {is_json(text)})")
assert found["float"]["floatValue"] is None
assert not any(is_json(text) for text in texts.values()), texts
print("as described, dagster 1.13.27")
PYTHON
cd "$folder"
venv/bin/dagster asset materialize --select figures -m figures > log 2>&1 || { tail -n 20 log >&2; exit 1; }
venv/bin/dagster-graphql -m figures -t '{ assetNodes { assetMaterializations(limit: 1) { metadataEntries {
    label
    ... on FloatMetadataEntry { floatValue }
    ... on JsonMetadataEntry { jsonString }
    ... on TableMetadataEntry { table { records } }
} } } }' 2> log | python3 check.py
