"""Decide whether columns identify each row of a SQLAlchemy select, also if it joins tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import (
    BindParameter,
    Cast,
    ColumnClause,
    ColumnElement,
    Label,
    Select,
    Table,
    TextClause,
    Tuple,
    TypeCoerce,
    UniqueConstraint,
    true,
)
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import (
    AsBoolean,
    BinaryExpression,
    BooleanClauseList,
    False_,
    Grouping,
    True_,
    _label_reference,
)
from sqlalchemy.sql.selectable import AliasedReturnsRows, FromClause, FromGrouping, Join

_Pair = tuple[Any, Any]
_TRUTH_OPERATORS = {operators.is_true, operators.is_false}


def identifies_rows(select: Select[Any], columns: Iterable[Any]) -> bool:
    """Return whether no two rows of a select have the same values in ``columns``, whatever is in the tables.

    The columns must identify the row of each table: by a primary key or unique columns of it, or because a join or
    ``where`` equates such columns with values, or with those of a row that is identified already. With ``distinct`` or
    ``group_by``, it is enough that they identify what is distinct.
    """
    # The columns instead of the entities: joined eager loading adds joins, but no rows.
    froms = select.with_only_columns(*select.selected_columns, maintain_column_froms=True).get_final_froms()
    determined = _DeterminedColumns(froms, select.whereclause, columns)
    if determined.are_all_tables_identified():
        return True
    distinct: Any = select._group_by_clauses or (select._distinct and (select._distinct_on or select.selected_columns))
    return bool(distinct) and all(determined.includes(expression) for expression in distinct)


class _DeterminedColumns:
    """The columns of a select whose values follow from the values of some columns: a functional dependency closure.

    :param froms: the tables and joins of the select.
    :param condition: the ``where`` of the select.
    :param columns: the columns or expressions whose values are given.
    """

    def __init__(self, froms: Iterable[FromClause], condition: Any, columns: Iterable[Any]) -> None:
        self._determined = set(columns)
        self._unidentified: list[FromClause] = []
        self._has_tables = False
        self._pairs: list[tuple[_Pair, list[FromClause]]] = []
        self._add_pairs(condition, [])
        for from_clause in froms:
            self._add_from(from_clause, [])
        size = -1
        while len(self._determined) != size:
            size = len(self._determined)
            self._extend()

    def are_all_tables_identified(self) -> bool:
        """Return whether the determined columns identify the row of each table."""
        return self._has_tables and not self._unidentified

    def includes(self, expression: Any) -> bool:
        """Return whether the value of an expression follows from the determined columns."""
        expression = _without_label(expression)
        parts = [part for part in visitors.iterate(expression) if isinstance(part, ColumnClause | TextClause)]
        return expression in self._determined or all(part in self._determined for part in parts)

    def _add_from(self, from_clause: FromClause, outer_tables: list[FromClause]) -> None:
        """Add a table or join.

        :param outer_tables: the tables of the other side of outer joins. Their rows may have no row of this one, so the
            conditions of this one hold only for a given row of theirs: all rows that are joined to it, or NULL.
        """
        from_clause = _without_parentheses(from_clause)
        if not isinstance(from_clause, Join):
            self._has_tables = True
            self._unidentified.append(from_clause)
            return
        left, right = from_clause.left, from_clause.right
        right_outer_tables = outer_tables
        if from_clause.isouter or from_clause.full:
            right_outer_tables = [*outer_tables, *_tables_of(left)]
        self._add_from(left, [*outer_tables, *_tables_of(right)] if from_clause.full else outer_tables)
        self._add_from(right, right_outer_tables)
        if not from_clause.full:
            self._add_pairs(from_clause.onclause, right_outer_tables)

    def _add_pairs(self, condition: Any, outer_tables: list[FromClause]) -> None:
        for pair in _equated_columns(condition):
            self._pairs.append((pair, outer_tables))
            self._determined.update(part for part in pair if _is_value(part))

    def _extend(self) -> None:
        """Add the columns that follow directly from the determined columns."""
        for table in [table for table in self._unidentified if _has_key(table, self._determined)]:
            self._unidentified.remove(table)
            self._determined.update(table.c)
        for pair, outer_tables in self._pairs:
            is_valid = not any(table in self._unidentified for table in outer_tables)
            if is_valid and not self._determined.isdisjoint(pair):
                self._determined.update(pair)


def _without_label(expression: Any) -> Any:
    while isinstance(expression, Label | _label_reference):
        expression = expression.element
    return expression


def _without_parentheses(from_clause: FromClause) -> FromClause:
    return from_clause.element if isinstance(from_clause, FromGrouping) else from_clause


def _tables_of(from_clause: FromClause) -> list[FromClause]:
    from_clause = _without_parentheses(from_clause)
    if isinstance(from_clause, Join):
        return _tables_of(from_clause.left) + _tables_of(from_clause.right)
    return [from_clause]


def _equated_columns(condition: Any) -> Iterator[_Pair]:
    """Yield the pairs of columns or values that a condition, such as the ``ON`` of a join, requires to be equal."""
    if isinstance(condition, Grouping):
        yield from _equated_columns(condition.element)
    elif isinstance(condition, BooleanClauseList) and condition.operator is operators.and_:
        for part in condition.clauses:
            yield from _equated_columns(part)
    elif isinstance(condition, AsBoolean) and condition.operator in _TRUTH_OPERATORS:
        yield condition.element, true()
    elif isinstance(condition, BinaryExpression):
        left, right = condition.left, condition.right
        if condition.operator is operators.eq and isinstance(left, Tuple) and isinstance(right, Tuple):
            yield from zip(left.clauses, right.clauses, strict=True)
        elif condition.operator is operators.eq or (condition.operator is operators.is_ and _is_boolean(right)):
            yield left, right
        elif condition.operator is operators.in_op and _is_one_value(right):
            yield from ((column, right) for column in (left.clauses if isinstance(left, Tuple) else [left]))


def _is_value(expression: Any) -> bool:
    """Return whether an expression is one value, the same for all rows; not a function, which may be ``ANY``."""
    while isinstance(expression, Cast | TypeCoerce):
        expression = expression.clause
    return isinstance(expression, BindParameter) or _is_boolean(expression)


def _is_boolean(expression: Any) -> bool:
    return isinstance(expression, True_ | False_)


def _is_one_value(expression: Any) -> bool:
    return (
        isinstance(expression, BindParameter)
        and isinstance(expression.value, list | tuple)
        and len(expression.value) == 1
    )


def _has_key(table: FromClause, determined: set[Any]) -> bool:
    """Return whether the determined columns include a primary key, or all columns of a unique constraint or index."""
    columns = [column for column in table.c if column in determined]
    inner = getattr(table, "element", None) if isinstance(table, AliasedReturnsRows) else None
    if isinstance(inner, Select):
        names = {column.key for column in columns}
        inner_columns = [column for name, column in inner.selected_columns.items() if name in names]
        return identifies_rows(inner, map(_without_label, inner_columns))
    base_columns = {base for column in columns for base in column.base_columns}
    return any(
        set(key) <= base_columns
        for base_table in {base.table for base in base_columns if isinstance(getattr(base, "table", None), Table)}
        for key in _unique_keys(base_table)
    )


def _unique_keys(table: Table) -> Iterator[Iterable[Any]]:
    """Yield the sets of columns that are unique in a table; a unique index of only some rows is none."""
    if len(table.primary_key.columns):
        yield table.primary_key.columns
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield constraint.columns
    for index in table.indexes:
        is_partial = any(name.endswith("_where") and value is not None for name, value in index.dialect_kwargs.items())
        if index.unique and not is_partial and all(isinstance(part, ColumnElement) for part in index.expressions):
            yield index.columns
