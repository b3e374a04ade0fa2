#!/usr/bin/env bash
# datasets 5.2.0. A dataset card (README.md) names two configurations, one of a Parquet file and one of a JSON Lines file, each
# with its own data_files. The first loads; the second is read as Parquet, too, and fails with "Parquet magic bytes not
# found in footer": the format is inferred once, from the first configuration, and used for all.
# Why it matters: the same rows cannot be offered in two formats by one card, and the error speaks of a broken file. Name the
# Parquet file in the card, and load the other with load_dataset("json", data_files=...).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq --disable-pip-version-check install datasets==5.2.0 pyarrow==25.0.1
mkdir "$folder/data"
cat > "$folder/data/README.md" << 'CARD'
---
configs:
- config_name: columns
  data_files: [{split: train, path: rows.parquet}]
- config_name: lines
  data_files: [{split: train, path: rows.jsonl}]
---
CARD
printf '{"a": 1}\n{"a": 2}\n' > "$folder/data/rows.jsonl"
cat > "$folder/load.py" << 'PYTHON'
import sys

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

folder = sys.argv[1]
pq.write_table(pa.table({"a": [1, 2]}), f"{folder}/rows.parquet")
cache = f"{folder}/../cache"
print("columns:", datasets.load_dataset(folder, "columns", split="train", cache_dir=cache)["a"][:])
alone = datasets.load_dataset("json", data_files=f"{folder}/rows.jsonl", split="train", cache_dir=cache)
print("the JSON Lines file by itself:", alone["a"][:])
try:
    datasets.load_dataset(folder, "lines", split="train", cache_dir=cache)
except (pa.ArrowInvalid, datasets.exceptions.DatasetGenerationError) as error:
    print("lines:", error)
    assert "Parquet magic bytes" in str(error)
else:
    sys.exit("the configuration of the JSON Lines file loads: behavior has changed")
print("as described, datasets", datasets.__version__)
PYTHON
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" "$folder/load.py" "$folder/data" 2> "$folder/log" ||
    { tail -n 20 "$folder/log" >&2; exit 1; }
