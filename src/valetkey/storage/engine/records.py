"""Helpers for the modules of ``storage``: rows as frozen dataclasses (records), and INSERT statements for them."""

from __future__ import annotations

import dataclasses
import json
from operator import attrgetter
from typing import Any

from sqlalchemy import Column, Executable, Table, insert

from .statement import BoundStatement, Statement


def columns_of(table: Table, record_type: type) -> list[Column[Any]]:
    """Return the table columns named by a dataclass's fields, in their order, so that ``record_type(*row)`` works."""
    return [table.c[field.name] for field in dataclasses.fields(record_type)]


class InsertStatement:
    """``INSERT`` statement for a table whose rows are dataclass instances (records).

    Calling it with a record returns a ``BoundStatement``, not yet run, that inserts the record.

    :param ignores_duplicates: whether a record that violates a unique constraint is left out, instead of an error.
    """

    def __init__(self, table: Table, record_type: type, *, ignores_duplicates: bool = False) -> None:
        self._names = [field.name for field in dataclasses.fields(record_type)]
        self._values = attrgetter(*self._names)
        values = {name: _bind(name) for name in self._names}

        def insert_or_ignore(dialect_insert: Any) -> Executable:
            statement: Executable = dialect_insert(table).values(values).on_conflict_do_nothing()
            return statement

        self._statement = Statement(insert_or_ignore if ignores_duplicates else insert(table).values(values))

    def __call__(self, record: Any) -> BoundStatement:
        return BoundStatement(self._statement, dict(zip(self._names, self._values(record), strict=True)))


def _bind(name: str) -> Any:
    from sqlalchemy import bindparam

    return bindparam(name)


def to_json(value: Any) -> str:
    """Return a value as compact JSON with sorted keys, for a text column."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
