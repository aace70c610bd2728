"""Decide whether columns identify each row of a SQLAlchemy select, also if it joins tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import (
    Alias,
    BindParameter,
    Cast,
    ClauseList,
    ColumnClause,
    ColumnElement,
    CompoundSelect,
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
from sqlalchemy.sql.selectable import AliasedReturnsRows, FromClause, FromGrouping, Join, SelectStatementGrouping

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
        if isinstance(expression, ClauseList):  # SQLAlchemy makes one of a function in group_by
            return all(map(self.includes, expression.clauses))
        parts = _columns_of(expression)
        if expression in self._determined or all(part in self._determined for part in parts):
            return True
        return len(parts) > 0 and any(_is_same(expression, determined) for determined in self._determined)

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


def _columns_of(expression: Any) -> list[Any]:
    return [part for part in visitors.iterate(expression) if isinstance(part, ColumnClause | TextClause)]


def _is_same(expression: Any, other: Any) -> bool:
    """Return whether two expressions are the same SQL with the same columns and values.

    A function that is written twice, as in ``group_by`` and ``order_by``, is two objects.
    """
    # Columns have the same hash if they are of the same table or alias, also if they are ORM attributes.
    if list(map(hash, _columns_of(expression))) != list(map(hash, _columns_of(other))):
        return False
    compiled, other_compiled = (item.compile() for item in (expression, other))
    return (compiled.string, compiled.params) == (other_compiled.string, other_compiled.params)


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
    return _is_key(frozenset(name for name, column in table.c.items() if column in determined), table)


def _is_key(names: frozenset[str], rows: Any) -> bool:
    """Return whether no two rows have the same values in some columns.

    :param names: the names of the columns.
    :param rows: a table, a query, or what SQLAlchemy puts around them: an alias, a subquery, a CTE.
    """
    while isinstance(rows, AliasedReturnsRows | SelectStatementGrouping):
        rows = rows.element
    if isinstance(rows, Table):
        return any(names.issuperset(column.key for column in key) for key in _unique_keys(rows))
    if isinstance(rows, Select):
        columns = [column for name, column in rows.selected_columns.items() if name in names]
        return identifies_rows(rows, map(_without_label, columns))
    return isinstance(rows, CompoundSelect) and _is_key_of_compound(names, rows)


def _is_key_of_compound(names: frozenset[str], compound: CompoundSelect[Any]) -> bool:
    """Return whether no two rows of a ``UNION`` or another compound have the same values in some columns.

    All rows of a compound are distinct unless it has ``ALL``. The rows of ``EXCEPT`` and ``INTERSECT`` are rows of the
    first select. A ``UNION`` of rows of one table has each of its rows once.
    """
    operation, _, all_rows = compound.keyword.name.partition("_")
    if operation != "UNION" and _is_key(names, compound.selects[0]):
        return True
    if all_rows:
        return False
    if names.issuperset(compound.selected_columns.keys()):
        return True
    tables = {_selected_table(select) for select in compound.selects}
    selected = {tuple(column.base_columns for column in select.selected_columns) for select in compound.selects}
    if len(tables) > 1 or None in tables or len(selected) > 1:
        return False
    columns = [column for name, column in compound.selects[0].selected_columns.items() if name in names]
    return _is_key(frozenset(str(base.key) for column in columns for base in column.base_columns), *tables)


def _selected_table(select: Any) -> Table | None:
    """Return the table, if all columns that a query selects are those of one table, or of one alias of it."""
    columns = select.selected_columns.values()
    sources = {getattr(column, "table", None) for column in map(_without_label, columns)}
    source = sources.pop() if len(sources) == 1 else None
    while isinstance(source, Alias):
        source = source.element
    return source if isinstance(source, Table) else None


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
