"""Keyset pagination of SQLAlchemy selects: continue after a row's values, not after a number of rows.

SQLAlchemy is imported when it is used: the queries are the host's own, and no other helper needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select

_LABEL_PREFIX = "valetkey_key_"
_LABEL_NODES = {"label", "label_reference"}
_TEXT_NODES = {"textclause", "textual_label_reference"}  # what SQLAlchemy makes of a text in order_by


@dataclass(frozen=True, slots=True)
class OrderedSelect:
    """A select, and the columns that its order is made of, each with whether it descends."""

    select: Select[Any]
    columns: tuple[tuple[Any, bool], ...]

    @property
    def order_text(self) -> str:
        """What the order is, as a text; a cursor is good for one order only."""
        return ", ".join(f"{column} {'desc' if descends else 'asc'}" for column, descends in self.columns)

    def select_after(self, place: Sequence[Any], limit: int, *, backwards: bool) -> Select[Any]:
        """The select of ``size`` rows after a place, or before it in reverse; with the order's values at the end."""
        pairs = [(column, descends != backwards) for column, descends in self.columns]
        chosen = self.select.order_by(None).order_by(*(c.desc() if descends else c.asc() for c, descends in pairs))
        if place:
            chosen = chosen.where(_after_condition(pairs, place))
        keys = [column.label(f"{_LABEL_PREFIX}{number}") for number, (column, _) in enumerate(self.columns)]
        return chosen.add_columns(*keys).limit(limit)


def read_order(select: Select[Any]) -> OrderedSelect:
    """The order of a select.

    :raises ValueError: with a sentence, where its pages could not be told apart.
    """
    if select._limit_clause is not None or select._offset_clause is not None:
        raise ValueError("give the select without limit and offset: the page size is the caller's")
    columns = [_read_order_clause(clause) for clause in select._order_by_clauses]
    if not columns:
        raise ValueError("give the select an order_by: without an order there is no next page")
    _check_not_nullable([column for column, _ in columns])
    _check_unique([column for column, _ in columns])
    return OrderedSelect(select, tuple(columns))


def _read_order_clause(clause: Any) -> tuple[Any, bool]:
    """What one part of an order is made of, without its label, and whether it descends.

    :raises ValueError: where nobody can tell what comes after a value of it.
    """
    from sqlalchemy.sql import operators
    from sqlalchemy.sql.elements import UnaryExpression

    descends = False
    while True:
        if clause.__visit_name__ in _LABEL_NODES:
            clause = clause.element
        elif isinstance(clause, UnaryExpression) and clause.modifier is not None:
            if clause.modifier in {operators.nulls_first_op, operators.nulls_last_op}:
                raise ValueError("nulls_first and nulls_last cannot be continued: order by what is never NULL")
            descends = clause.modifier is operators.desc_op
            clause = clause.element
        elif clause.__visit_name__ in _TEXT_NODES:
            raise ValueError("order by columns, as Book.name, not by text: a text does not say what comes after it")
        else:
            return clause, descends


def items_and_places(ordered: OrderedSelect, rows: Sequence[Any]) -> tuple[list[Any], list[tuple[Any, ...]]]:
    """What was selected, and the place of each row.

    A select of one thing (an ORM class, a column) gives that thing; one of several columns gives mappings.

    :raises ValueError: where a value of the order is NULL.
    """
    width = len(ordered.columns)
    names = [described["name"] for described in ordered.select.column_descriptions]
    places = [tuple(row)[-width:] for row in rows]
    if any(value is None for place in places for value in place):
        raise ValueError("a value that the list is ordered by is NULL: order by coalesce(...) or what is never NULL")
    if len(names) == 1:
        return [row[0] for row in rows], places
    return [dict(zip(names, tuple(row), strict=False)) for row in rows], places


def _after_condition(pairs: Sequence[tuple[Any, bool]], place: Sequence[Any]) -> ColumnElement[bool]:
    """a > x OR (a = x AND b > y) ..., with a >= x before it so that an index on the first column serves."""
    from sqlalchemy import and_, or_

    choices: list[Any] = []
    equal: list[Any] = []
    for (column, descends), value in zip(pairs, place, strict=True):
        choices.append(and_(*equal, column < value if descends else column > value))
        equal.append(column == value)
    (first, descends), value = pairs[0], place[0]
    return and_(first <= value if descends else first >= value, or_(*choices))


def _check_not_nullable(columns: Sequence[Any]) -> None:
    for column in columns:
        if getattr(column, "nullable", False) and not getattr(column, "primary_key", False):
            raise ValueError(
                f"{column} may be NULL, and rows with NULL would be left out: say nullable=False, or order by "
                "coalesce(...)"
            )


def _check_unique(columns: Sequence[Any]) -> None:
    from sqlalchemy import Table, UniqueConstraint

    named = {base for column in columns for base in getattr(column, "base_columns", ())}
    for table in {base.table for base in named if isinstance(getattr(base, "table", None), Table)}:
        unique = [one.columns for one in table.constraints if isinstance(one, UniqueConstraint)]
        unique += [index.columns for index in table.indexes if index.unique]
        if any(set(one) <= named for one in (table.primary_key.columns, *unique) if len(one)):
            return
    raise ValueError("end order_by in a unique column, as the primary key: rows that are equal would be left out")
