"""SQL statements that SQLAlchemy Core compiles once and the database driver runs many times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Double, Executable, bindparam, cast
from sqlalchemy.sql.compiler import SQLCompiler

Construct: TypeAlias = Executable | Callable[[Any], Executable]

# The driver of each dialect, and its positional parameters, which it passes on without parsing names.
_DRIVERS = {"sqlite": ("pysqlite", "qmark"), "postgresql": ("psycopg", "format")}

# The time at which the driver runs the statement, in seconds since 1970, for use in SQL constructs. A time that the
# caller reads before the write would be too early by as long as the write waits for a busy database.
_WRITE_TIME_NAME = "write_time"
WRITE_TIME = cast(bindparam(_WRITE_TIME_NAME), Double)


class BoundStatement(NamedTuple):
    """An SQL statement with the values of its parameters, not yet run; see ``Store.fetch_all`` and ``Store.write``.

    ``locks`` are statements that lock something until the commit. PostgreSQL runs them before all other statements of
    the transaction; SQLite, which has one writer at a time, does not run them.
    """

    statement: Statement
    values: Mapping[str, Any]
    locks: tuple[Any, ...] = ()


class CompiledStatement(NamedTuple):
    """The SQL text of a statement in one dialect, with the names of its parameters."""

    sql: str
    constants: dict[str, Any]  # values of parameters that SQLAlchemy made from literals
    parameter_order: tuple[str, ...]  # parameter names in the order of their placeholders; a name may occur twice
    parameter_names: frozenset[str]


class Statement:
    """An SQL statement with parameters; calling it with their values returns a ``BoundStatement``, not yet run.

    The driver runs the compiled SQL directly, which costs a quarter of the execution by SQLAlchemy Core.

    :param construct: the SQLAlchemy Core construct. For ``ON CONFLICT``, whose class differs by dialect, a function
        that takes the dialect's ``insert`` and returns the construct. If the SQL differs by dialect, a mapping of
        dialect names to one of these.
    """

    __slots__ = ("_compiled", "_construct")

    def __init__(self, construct: Construct | Mapping[str, Construct]) -> None:
        self._construct = construct
        self._compiled: dict[str, CompiledStatement] = {}

    def __call__(self, **values: Any) -> BoundStatement:
        return BoundStatement(self, values)

    def compile(self, dialect: str) -> CompiledStatement:
        """Return the SQL for a dialect, ``sqlite`` or ``postgresql``; it is compiled at first use and then cached."""
        compiled = self._compiled.get(dialect)
        if compiled is None:
            sqlalchemy_dialect, insert = _load_dialect(dialect)
            construct = self._construct
            if isinstance(construct, Mapping):
                construct = construct[dialect]
            if not isinstance(construct, Executable):
                construct = construct(insert)
            compiler = construct.compile(dialect=sqlalchemy_dialect)  # type: ignore[attr-defined] # not in Executable
            assert isinstance(compiler, SQLCompiler)
            constants = {name: value for name, value in compiler.params.items() if value is not None}
            order, names = tuple(compiler.positiontup or ()), frozenset(compiler.params)
            compiled = self._compiled[dialect] = CompiledStatement(compiler.string, constants, order, names)
        return compiled


@cache
def _load_dialect(name: str) -> tuple[Any, Any]:
    """Return SQLAlchemy's dialect and its ``insert``. Only what is used is loaded: that of PostgreSQL takes 2 MB."""
    module = import_module(f"sqlalchemy.dialects.{name}")
    driver, paramstyle = _DRIVERS[name]
    return getattr(module, driver).dialect(paramstyle=paramstyle), module.insert


def sql_and_values(bound_statement: BoundStatement, dialect: str, clock: Callable[[], float]) -> tuple[str, list[Any]]:
    """Return the SQL text in a dialect and the parameter values in the order of their placeholders.

    :param clock: returns the value of ``WRITE_TIME``, if the statement contains it.
    :raises TypeError: if a value is missing, or its parameter does not exist: a programming error.
    """
    compiled = bound_statement.statement.compile(dialect)
    values = {**compiled.constants, **bound_statement.values} if compiled.constants else bound_statement.values
    if _WRITE_TIME_NAME in compiled.parameter_names:
        values = {**values, _WRITE_TIME_NAME: clock()}
    if values.keys() != compiled.parameter_names:
        raise TypeError(
            f"values {sorted(values)} do not match parameters {sorted(compiled.parameter_names)}: {compiled.sql}"
        )
    return compiled.sql, [values[name] for name in compiled.parameter_order]
