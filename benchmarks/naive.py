"""The naive sandbox, to hold ours against: a connection a conversation, TRUNCATE, seeds one by one.

Database work only. It is how a benchmark harness is usually written first.
"""

from __future__ import annotations

import time
from datetime import date
from importlib.resources import files
from itertools import islice
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql

from crm_assets.conversations import load_conversations, resolve, turn_output
from crm_assets.crm import ENTITIES, SEED_ORDER, ToolError, find_tool, make_seed_rows
from crm_assets.crm.operations import perform

SCHEMA = "benchmark_naive"


class _Runner:
    """The tools' statements, unprepared, on a plain connection."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self.new_id = uuid4
        self.today = date.today

    def fetch(self, query, parameters):  # type: ignore[no-untyped-def]
        row = self._connection.execute(query.encode(), parameters).fetchone()
        return row[0] if row else None


def conversations_per_second(conninfo: str, dataset: Path, count: int) -> float:
    """How many conversations a second the naive design replays, without any verification."""
    with psycopg.connect(conninfo, autocommit=True) as admin:
        admin.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        admin.execute(f"CREATE SCHEMA {SCHEMA}")
        admin.execute(f"SET search_path TO {SCHEMA}")
        admin.execute((files("crm_assets.crm") / "schema.sql").read_text().encode())
    tables = ", ".join(entity.table for entity in SEED_ORDER)
    started = time.perf_counter()
    for conversation in islice(load_conversations(dataset), count):
        with psycopg.connect(conninfo, options=f"-c search_path={SCHEMA}") as connection:
            connection.execute(f"TRUNCATE {tables} CASCADE")
            for name, rows in make_seed_rows(conversation).items():
                for row in rows:
                    connection.execute(
                        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                            sql.Identifier(ENTITIES[name].table),
                            sql.SQL(", ").join(map(sql.Identifier, row)),
                            sql.SQL(", ").join([sql.Placeholder()] * len(row)),
                        ),
                        list(row.values()),
                    )
            outputs = {}
            runner = _Runner(connection)
            for turn in conversation.turns:
                tool = find_tool(turn.expected_tool)
                try:
                    arguments = tool.validate(resolve(turn.expected_args, outputs))
                    outputs[turn.turn_id] = turn_output(perform(runner, tool, arguments))
                except ToolError:
                    continue
            connection.rollback()
    seconds = time.perf_counter() - started
    with psycopg.connect(conninfo, autocommit=True) as admin:
        admin.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
    return count / seconds
