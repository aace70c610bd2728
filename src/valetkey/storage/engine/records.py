"""Helpers for the modules of ``storage``: rows as frozen dataclasses (records), and INSERT statements for them."""

from __future__ import annotations

import dataclasses
import json
from operator import attrgetter
from typing import Any

from sqlalchemy import Column, Table, insert

from .statement import BoundStatement, Statement


def columns_of(table: Table, record_type: type) -> list[Column[Any]]:
    """Return the table columns named by a dataclass's fields, in their order, so that ``record_type(*row)`` works."""
    return [table.c[field.name] for field in dataclasses.fields(record_type)]


class InsertStatement:
    """``INSERT`` statement for a table whose rows are dataclass instances (records).

    Calling it with a record returns a ``BoundStatement``, not yet run, that inserts the record.
    """

    def __init__(self, table: Table, record_type: type) -> None:
        self._names = [field.name for field in dataclasses.fields(record_type)]
        self._values = attrgetter(*self._names)
        self._statement = Statement(insert(table).values({name: _bind(name) for name in self._names}))

    def __call__(self, record: Any) -> BoundStatement:
        return BoundStatement(self._statement, dict(zip(self._names, self._values(record), strict=True)))


def _bind(name: str) -> Any:
    from sqlalchemy import bindparam

    return bindparam(name)


def to_json(value: Any) -> str:
    """Return a value as compact JSON with sorted keys, for a text column."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
