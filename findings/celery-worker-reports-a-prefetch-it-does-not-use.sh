#!/usr/bin/env bash
# celery 5.7.0. `celery worker --prefetch-multiplier 1` (dagster-celery's `worker start` passes it) changes what the worker takes
# ahead, but not `app.conf.worker_prefetch_multiplier`, which stays 4 and is what `celery inspect conf` answers. What the worker
# does is in `consumer.controller.prefetch_multiplier` alone.
# Why it matters: a check of remote workers by `inspect conf` says that they hoard steps when they do not, and the other way round.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq --disable-pip-version-check install celery==5.7.0
cat > "$folder/app.py" << 'PYTHON'
import os
import signal
import sys

from celery import Celery
from celery.signals import worker_ready

app = Celery("app", broker="memory://")


@worker_ready.connect
def tell(sender, **_):
    conf = app.conf.worker_prefetch_multiplier
    print("configuration:", conf, "worker:", sender.controller.prefetch_multiplier, file=sys.__stdout__, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
PYTHON
cd "$folder"
said=$(timeout 60 venv/bin/celery -A app worker --pool solo --prefetch-multiplier 1 2> log | grep "^configuration:") || { tail -n 20 log >&2; exit 1; }
echo "$said"
[[ $said == "configuration: 4 worker: 1" ]]
echo "as described, celery 5.7.0"
