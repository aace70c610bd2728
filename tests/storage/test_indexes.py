"""Writes find their rows by an index: a write that reads a whole table blocks all others for seconds or minutes."""

from __future__ import annotations

import gc
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module

import pytest
from sqlalchemy import Connection, create_engine

import valetkey.storage
from valetkey.storage.engine.statement import CompiledStatement, Statement
from valetkey.storage.tables import metadata

# Few rows, or only when the operator ends a client.
_READ_AS_A_WHOLE = {
    ("DELETE", "valetkey_interactions"),
    ("DELETE", "valetkey_outbox"),
    ("DELETE", "valetkey_signing_keys"),
}


def _compiled_statements() -> Iterator[CompiledStatement]:
    for module in pkgutil.walk_packages(valetkey.storage.__path__, "valetkey.storage."):
        if ".migrations" not in module.name:
            import_module(module.name)
    for statement in [item for item in gc.get_objects() if isinstance(item, Statement)]:
        construct = statement._construct
        if not isinstance(construct, dict) or "sqlite" in construct:
            try:
                yield statement.compile("sqlite")
            except Exception:
                continue  # only for PostgreSQL


def _reads_without_index(connection: Connection, compiled: CompiledStatement) -> Iterator[tuple[str, str]]:
    """Yield the verb of a statement and each table that it reads as a whole: once, or for each row of another one."""
    verb = compiled.sql.split()[0]
    values = tuple(1 for _ in compiled.parameter_order)
    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled.sql}", values).fetchall()
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
    for compiled in _compiled_statements():
        if "valetkey_" in compiled.sql and "valetkey_schema" not in compiled.sql:
            reads.update(_reads_without_index(connection, compiled))

    assert reads == _READ_AS_A_WHOLE
