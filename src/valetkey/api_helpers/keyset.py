"""Keyset pagination of SQLAlchemy selects: a page starts after the values of a row, not after a number of rows.

It is imported by the first call of ``paginate``, because apps that do not paginate selects need not have SQLAlchemy.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Float, Select, and_, cast, literal, or_, type_coerce
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.types import UserDefinedType

from .row_identity import identifies_rows

_LABEL_PREFIX = "valetkey_key_"
_LABEL_NODES = {"label", "label_reference"}
_TEXT_NODES = {"textclause", "textual_label_reference"}  # SQLAlchemy's nodes for text in order_by


class _StoredType(UserDefinedType[Any]):
    """The type of values as the database driver returns and accepts them, without SQLAlchemy's conversions.

    Conversions lose information: SQLite has times as text, and ``2026-01-01 00:00:00`` would become a ``datetime`` and
    then ``2026-01-01 00:00:00.000000``, which is a larger text.
    """

    cache_ok = True


@dataclass(frozen=True, slots=True)
class OrderedSelect:
    """A SQLAlchemy select with the columns of its ``order_by``, each with whether it is descending."""

    select: Select[Any]
    columns: tuple[tuple[Any, bool], ...]

    @property
    def order_text(self) -> str:
        """The ``order_by`` as text, such as ``book.name asc, book.id asc``. A cursor is valid for one order only."""
        return ", ".join(f"{column} {'desc' if descending else 'asc'}" for column, descending in self.columns)

    def select_after(self, place: Sequence[Any], limit: int, *, backwards: bool) -> Select[Any]:
        """Return a SQLAlchemy select of the rows that follow a row, with the ``order_by`` values as additional columns.

        These values are as they are stored: text for a time in SQLite.

        :param place: the ``order_by`` values of the row to continue after; empty for the start of the list.
        :param limit: the largest number of rows to select.
        :param backwards: select the rows before that row instead, in reverse order.
        """
        columns = [(column, descending != backwards) for column, descending in self.columns]
        order = [column.desc() if descending else column.asc() for column, descending in columns]
        select = self.select.order_by(None).order_by(*order)
        if place:
            select = select.where(_after_condition(columns, place))
        keys = [_stored(column).label(f"{_LABEL_PREFIX}{number}") for number, (column, _) in enumerate(self.columns)]
        return select.add_columns(*keys).limit(limit)


def read_order(select: Select[Any]) -> OrderedSelect:
    """Return a select with the columns of its ``order_by``, after checking that these identify each row.

    :raises ValueError: if it is no select; if it has a limit, an offset or no order; if a column of ``order_by`` may be
        NULL or is given as text; if its columns do not identify each row. The message says what to change.
    """
    if not hasattr(select, "add_columns"):  # a table, a mapped class or a union has no such method
        raise ValueError(f"paginate needs a select, such as sa.select(Note), not a {type(select).__name__}")
    if select._limit_clause is not None or select._offset_clause is not None:
        raise ValueError("the select has a limit or offset: remove it, the request sets the page size")
    columns = [_read_order_clause(clause) for clause in select._order_by_clauses]
    if not columns:
        raise ValueError("the select has no order_by: add one, without an order there is no next page")
    _check_not_nullable([column for column, _ in columns])
    if not identifies_rows(select, [column for column, _ in columns]):
        raise ValueError(
            "pages would skip rows with equal values in order_by: end it with a unique column, such as the primary "
            "key. Each joined table that has several rows for a row of the others needs a unique column in order_by, "
            "too, or one that where equates with a value. Or filter without a join, with exists as "
            "in Note.tags.any(...), or with in_(select(...))"
        )
    return OrderedSelect(select, tuple(columns))


def _read_order_clause(clause: Any) -> tuple[Any, bool]:
    """Return the column of one SQLAlchemy ``order_by`` clause, without its label, and whether it is descending.

    :raises ValueError: if the clause is text, or uses ``nulls_first`` or ``nulls_last``.
    """
    descending = False
    while True:
        if clause.__visit_name__ in _LABEL_NODES:
            clause = clause.element
        elif isinstance(clause, UnaryExpression) and clause.modifier is not None:
            if clause.modifier in {operators.nulls_first_op, operators.nulls_last_op}:
                raise ValueError("nulls_first and nulls_last are not supported: order by columns that are never NULL")
            descending = clause.modifier is operators.desc_op
            clause = clause.element
        elif clause.__visit_name__ in _TEXT_NODES:
            raise ValueError("order by columns, such as Book.name, not by text: values cannot be compared with text")
        else:
            return clause, descending


def items_and_places(ordered: OrderedSelect, rows: Sequence[Any]) -> tuple[list[Any], list[tuple[Any, ...]]]:
    """Split rows into the items of a page and their places: the ``order_by`` values that identify each item's row.

    If the original select has one entity or column, an item is that entity or value; otherwise it is a dict by column
    name.

    :param rows: the result of ``OrderedSelect.select_after``.
    :raises ValueError: if a value of ``order_by`` is NULL.
    """
    width = len(ordered.columns)
    names = _item_names(ordered.select)
    places = [tuple(row)[-width:] for row in rows]
    if any(value is None for place in places for value in place):
        raise ValueError("a value in order_by is NULL: order by coalesce(...), or by columns that are never NULL")
    places = [tuple(bytes(value) if isinstance(value, memoryview) else value for value in place) for place in places]
    if len(names) == 1:
        return [row[0] for row in rows], places
    return [dict(zip(names, tuple(row), strict=False)) for row in rows], places


def _item_names(select: Select[Any]) -> list[str]:
    """Return the names of the selected entities and columns. An alias without a name has that of its class."""
    descriptions = select.column_descriptions
    names = [description["name"] for description in descriptions]
    for position, description in enumerate(descriptions):
        if names[position] is None:  # also of text("...")
            name = getattr(description["type"], "__name__", "column")
            numbered = (f"{name}_{number}" for number in itertools.count(1))
            names[position] = next(
                candidate for candidate in itertools.chain([name], numbered) if candidate not in names
            )
    return names


def _after_condition(columns: Sequence[tuple[Any, bool]], place: Sequence[Any]) -> ColumnElement[bool]:
    """Return the SQL condition that selects the rows after the row with the values ``place``.

    For columns ``a, b`` and values ``x, y``: ``a >= x AND (a > x OR (a = x AND b > y) OR ...)``. Databases use an index
    on ``a`` for the first part.
    """
    pairs = [(_stored(column), _bind(column, value)) for (column, _), value in zip(columns, place, strict=True)]
    alternatives: list[Any] = []
    equal: list[Any] = []
    for (column, value), (_, descending) in zip(pairs, columns, strict=True):
        alternatives.append(and_(*equal, column < value if descending else column > value))
        equal.append(column == value)
    (first, value), (_, descending) = pairs[0], columns[0]
    return and_(first <= value if descending else first >= value, or_(*alternatives))


def _stored(column: Any) -> ColumnElement[Any]:
    """Return a column whose values are neither converted when they are read nor when they are compared."""
    return type_coerce(column, _StoredType())


def _bind(column: Any, value: Any) -> ColumnElement[Any]:
    """Return a stored value as a bound parameter that can be compared with the stored values of a column.

    Drivers send every ``float`` with 64 bits, so it is cast to the type of a column that has fewer; but not to the type
    of an expression, which the database may calculate with 64 bits.
    """
    parameter = literal(value, _StoredType())
    stored_type = getattr(column.type, "impl_instance", column.type)  # without a TypeDecorator
    return cast(parameter, column.type) if isinstance(column, Column) and isinstance(stored_type, Float) else parameter


def _check_not_nullable(columns: Sequence[Any]) -> None:
    for column in columns:
        if getattr(column, "nullable", False) and not getattr(column, "primary_key", False):
            raise ValueError(
                f"{column} may be NULL, and pages would skip rows with NULL: declare it with nullable=False, or order "
                "by coalesce(...)"
            )
