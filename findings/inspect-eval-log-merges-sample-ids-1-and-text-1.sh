#!/usr/bin/env bash
# inspect-ai 0.3.285. `EvalSample.id` is a number or a text, and a log of two samples with the IDs 1 and "1" is valid. Written as
# `.json` it keeps both. Written as `.eval` (the default format) it keeps one: both are stored as `samples/1_epoch_1.json`, the
# later one is read back, with the text as its ID, and neither writing nor reading says so; the dataset's count stays 2.
# Why it matters: a converter that joins logs of two sources, one numbering its samples and one naming them, loses samples
# without an error, and a rate over the samples differs from the one in the log's results. Write IDs of one type.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq --disable-pip-version-check install inspect-ai==0.3.285
cat > "$folder/merge.py" << 'PYTHON'
import sys

from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalSample,
    EvalSpec,
    read_eval_log,
    write_eval_log,
)
from inspect_ai.scorer import Score

samples = [
    EvalSample(id=1, epoch=1, input="numbered", target="", scores={"match": Score(value=1)}),
    EvalSample(id="1", epoch=1, input="named", target="", scores={"match": Score(value=0)}),
]
spec = EvalSpec(
    created="2026-01-31T09:30:00+00:00",
    task="joined",
    dataset=EvalDataset(name="joined", samples=2, sample_ids=[1, "1"]),
    model="openai/gpt-4.1-mini",
    config=EvalConfig(epochs=1),
)
found = {}
for form in ("json", "eval"):
    path = f"{sys.argv[1]}/joined.{form}"
    write_eval_log(EvalLog(status="success", eval=spec, samples=samples), path)
    log = read_eval_log(path)
    found[form] = [(sample.id, sample.input) for sample in log.samples or ()]
    print(f".{form}: {log.eval.dataset.samples} samples by its header, read back {found[form]}")
assert found == {"json": [(1, "numbered"), ("1", "named")], "eval": [("1", "named")]}, found
print("as described, inspect-ai 0.3.285")
PYTHON
"$folder/venv/bin/python" "$folder/merge.py" "$folder" 2> "$folder/log" || { tail -n 20 "$folder/log" >&2; exit 1; }
