"""Rows in every table of the database, and what is left of them: for tests of the end of something.

The tests go through ``storage/tables.py``, so that a new table fails them until somebody decides about it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, LargeBinary, Table, create_engine, select
from sqlalchemy.engine import Engine

ENDED_COLUMNS = {"ended_at", "revoked_at", "used_at"}


def open_engine(store_url: str) -> Engine:
    """Return SQLAlchemy's access to a database."""
    return create_engine(store_url.replace("postgresql://", "postgresql+psycopg://", 1))


def make_row(table: Table, number: int, **values: Any) -> dict[str, Any]:
    """Return a row whose values are made of a number. Columns that say that something has ended are null.

    :param values: values of columns by name, for tables that have them.
    """
    made = {
        column.name: make_value(column, number)
        for column in table.columns
        if column.name not in ENDED_COLUMNS and column.autoincrement is not True  # the database numbers those
    }
    return made | {name: value for name, value in values.items() if name in table.columns}


def make_value(column: Column[Any], number: int) -> Any:
    if isinstance(column.type, LargeBinary):
        return bytes([number]) * 32
    if column.type.python_type is str:
        return f"{column.name}-{number}"
    return number % 2 if column.name == "waits" else number + 1


def read_rows(engine: Engine, table: Table) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        rows = connection.execute(select(table).order_by(*table.primary_key.columns))
        return [{name: normalize(value) for name, value in row._mapping.items()} for row in rows]


def normalize(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def assert_left(table_name: str, before: list[dict[str, Any]], after: list[dict[str, Any]], expected: Any) -> None:
    """Check what is left of rows of a table.

    :param before: the rows before the end.
    :param after: the rows that the table has now; if rows were kept, there may be more.
    :param expected: ``deleted``, ``kept``, or the columns that were changed.
    """
    if expected == "deleted":
        assert after == [], table_name
    elif expected == "kept":
        assert [row for row in before if row not in after] == [], table_name
    else:
        assert after == [{**row, **expected} for row in before], table_name
