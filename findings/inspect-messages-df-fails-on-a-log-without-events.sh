#!/usr/bin/env bash
# inspect-ai 0.3.285, pandas 3.1.1. `messages_df` takes the messages of a sample from its model events alone, never from
# `EvalSample.messages`. Of a log whose samples have messages and no events (converted from elsewhere, or slimmed), it has none,
# and ends in KeyError: "['message_id'] not in index". `samples_df` of the same log works, with the right message count.
# Why it matters: a converter must write every message twice, as a message and in an event, for the data frames to see it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq --disable-pip-version-check install inspect-ai==0.3.285 pandas==3.1.1 pyarrow==25.0.1
cat > "$folder/read.py" << 'PYTHON'
import sys
import warnings

from inspect_ai.analysis import messages_df, samples_df
from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSample, EvalSpec, write_eval_log
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser

warnings.simplefilter("ignore")
messages = [ChatMessageUser(content="What is 1 + 1?"), ChatMessageAssistant(content="2")]
spec = EvalSpec(
    created="2026-01-31T09:30:00+00:00", task="sums", dataset=EvalDataset(), model="some/model", config=EvalConfig()
)
sample = EvalSample(id=1, epoch=1, input="What is 1 + 1?", target="2", messages=messages)
write_eval_log(EvalLog(eval=spec, status="success", samples=[sample]), sys.argv[1])
count = int(samples_df(sys.argv[1], quiet=True)["message_count"].iloc[0])
try:
    outcome = f"{len(messages_df(sys.argv[1], quiet=True))} messages"
except KeyError as error:
    outcome = f"KeyError: {error.args[0]}"
print("samples_df: ", count, "messages")
print("messages_df:", outcome)
assert (count, outcome) == (2, "KeyError: ['message_id'] not in index"), (count, outcome)
print("as described, inspect-ai 0.3.285")
PYTHON
"$folder/venv/bin/python" "$folder/read.py" "$folder/log.eval" 2> "$folder/log" || { tail -n 20 "$folder/log" >&2; exit 1; }
