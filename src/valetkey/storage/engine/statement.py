"""SQL that SQLAlchemy Core compiles once and the driver runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Executable
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.compiler import SQLCompiler

# Values go by position, which both drivers take without a look at names.
_DIALECTS: dict[str, Any] = {
    "sqlite": sqlite.dialect(paramstyle="qmark"),
    "postgresql": postgresql.psycopg.dialect(paramstyle="format"),  # type: ignore[no-untyped-call] # SQLAlchemy's
}

_INSERT_BY_DIALECT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class BoundStatement(NamedTuple):
    """A statement with its values, ready to run."""

    statement: Statement
    values: Mapping[str, Any]


class CompiledStatement(NamedTuple):
    sql: str
    constants: dict[str, Any]
    parameter_order: tuple[str, ...]  # of the values, as the SQL has them; a name may come twice
    parameter_names: frozenset[str]


class Statement:
    """A Core construct; calling it binds values. Running raw costs a quarter of Core's own execution.

    ``ON CONFLICT`` has a class in each dialect: such a statement is given as a function of that ``insert``. What is
    written differently in each is given as one construct for each.
    """

    __slots__ = ("_compiled", "_construct")

    def __init__(self, construct: Executable | Callable[[Any], Executable] | Mapping[str, Executable]) -> None:
        self._construct = construct
        self._compiled: dict[str, CompiledStatement] = {}

    def __call__(self, **values: Any) -> BoundStatement:
        return BoundStatement(self, values)

    def compile(self, dialect: str) -> CompiledStatement:
        """The SQL text for a dialect; compiled at first use, then remembered."""
        found = self._compiled.get(dialect)
        if found is None:
            construct = self._construct
            if isinstance(construct, Mapping):
                construct = construct[dialect]
            elif not isinstance(construct, Executable):
                construct = construct(_INSERT_BY_DIALECT[dialect])
            made = construct.compile(dialect=_DIALECTS[dialect])  # type: ignore[attr-defined]
            assert isinstance(made, SQLCompiler)
            constants = {name: value for name, value in made.params.items() if value is not None}
            order = tuple(made.positiontup or ())
            found = self._compiled[dialect] = CompiledStatement(made.string, constants, order, frozenset(made.params))
        return found


def sql_and_values(bound_statement: BoundStatement, dialect: str) -> tuple[str, list[Any]]:
    """What a driver's execute takes.

    :raises TypeError: where a value is missing or unknown, which is a programmer's mistake.
    """
    compiled = bound_statement.statement.compile(dialect)
    values = {**compiled.constants, **bound_statement.values} if compiled.constants else bound_statement.values
    if values.keys() != compiled.parameter_names:
        raise TypeError(f"values {sorted(values)} do not fit {sorted(compiled.parameter_names)}: {compiled.sql}")
    return compiled.sql, [values[name] for name in compiled.parameter_order]
