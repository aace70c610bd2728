"""Writes find their rows by an index: a write that reads a whole table blocks all others for seconds or minutes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine

from valetkey.storage.tables import metadata

# Few rows, or only when the operator ends a client.
_READ_AS_A_WHOLE = {
    ("DELETE", "valetkey_interactions"),
    ("DELETE", "valetkey_outbox"),
    ("DELETE", "valetkey_signing_keys"),
}


# In a process of its own: other tests make statements, too.
_LIST_STATEMENTS = """
import gc, json, pkgutil
from importlib import import_module
import valetkey.storage
from valetkey.storage.engine.statement import Statement
for module in pkgutil.walk_packages(valetkey.storage.__path__, "valetkey.storage."):
    if ".migrations" not in module.name:
        import_module(module.name)
found = []
for statement in [item for item in gc.get_objects() if isinstance(item, Statement)]:
    try:
        compiled = statement.compile("sqlite")
    except Exception:
        continue  # only for PostgreSQL
    found.append((compiled.sql, len(compiled.parameter_order)))
print(json.dumps(found))
"""


def _list_statements() -> list[tuple[str, int]]:
    """Return the SQL text and the number of parameters of each statement of the package ``storage``."""
    result = subprocess.run([sys.executable, "-c", _LIST_STATEMENTS], capture_output=True, text=True, check=True)
    return [(sql, parameters) for sql, parameters in json.loads(result.stdout)]


def _reads_without_index(connection: Connection, sql: str, parameters: int) -> Iterator[tuple[str, str]]:
    """Yield the verb of a statement and each table that it reads as a whole: once, or for each row of another one."""
    verb = sql.split()[0]
    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", (1,) * parameters).fetchall()
    correlated = {step_id for step_id, _, _, step in plan if step.startswith("CORRELATED")}
    for _, parent_id, _, step in plan:
        table = re.match(r"(?:SCAN|SEARCH) (valetkey_\w+)", step)
        is_slow = "=?" not in step if parent_id in correlated else verb != "SELECT" and step.startswith("SCAN")
        if table and is_slow:
            yield verb, table[1]


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_no_write_reads_a_whole_table(connection: Connection) -> None:
    reads: set[tuple[str, str]] = set()
    for sql, parameters in _list_statements():
        if "valetkey_" in sql and "valetkey_schema" not in sql:
            reads.update(_reads_without_index(connection, sql, parameters))

    assert reads == _READ_AS_A_WHOLE
