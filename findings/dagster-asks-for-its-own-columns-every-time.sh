#!/usr/bin/env bash
# dagster 1.13.27. Every question for the records of assets first asks the database, three times, which columns Dagster's own
# table of assets has; the answers are not kept. Of the statements of a run of two assets, a third go to the catalog.
# Why it matters: each is a round trip. With a storage 20 ms away, a question for asset records takes 60 ms more, in the
# webserver's pages, in sensors and in every step of a run. Keep the storage near what asks it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq --disable-pip-version-check install dagster==1.13.27 sqlalchemy==2.0.58
mkdir "$folder/home"
cat > "$folder/count.py" << 'PYTHON'
from collections import Counter

import dagster as dg
from sqlalchemy import event
from sqlalchemy.engine import Engine

sent: Counter[str] = Counter()


@event.listens_for(Engine, "before_cursor_execute")
def count(_connection, _cursor, statement, *_):
    is_catalog = statement.startswith("PRAGMA") or "sqlite_master" in statement
    sent["catalog" if is_catalog else "rows"] += 1


@dg.asset
def first() -> int:
    return 1


@dg.asset(deps=[first])
def second() -> int:
    return 2


with dg.DagsterInstance.get() as instance:
    dg.materialize([first, second], instance=instance)  # makes the tables
    sent.clear()
    dg.materialize([first, second], instance=instance)
    print("a run of two assets:", dict(sent))
    assert sent["catalog"] * 2 > sent["rows"]
    sent.clear()
    for _ in range(10):
        instance.get_asset_records([first.key])
    print("ten questions for the records of an asset:", dict(sent))
    assert sent["catalog"] == 30
print("as described, dagster", dg.__version__)
PYTHON
DAGSTER_HOME="$folder/home" "$folder/venv/bin/python" "$folder/count.py" 2> "$folder/log" ||
    { tail -n 20 "$folder/log" >&2; exit 1; }
