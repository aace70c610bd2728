"""What every aggregate shares: rows as frozen records, and a few statements made from tables."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from sqlalchemy import Column, Table, insert

from .statement import BoundStatement, Statement


def columns_of(table: Table, record_type: type) -> list[Column[Any]]:
    """The columns that a record's fields name, in their order: ``record(*row)`` then fits."""
    return [table.c[field.name] for field in dataclasses.fields(record_type)]


class InsertStatement:
    """``INSERT`` of a record into a table."""

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
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def names_to_text(names: Iterable[str]) -> str:
    return " ".join(sorted(names))
