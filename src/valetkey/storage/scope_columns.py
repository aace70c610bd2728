"""SQL expressions for columns that hold a scope: names separated by single spaces (RFC 6749 §3.3).

The name to look for is the parameter ``padded``: with one space before and one after it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Text, bindparam, func, literal

_SPACE = literal(" ", Text)


def has_scope(column: Column[str]) -> ColumnElement[bool]:
    """Return the SQL expression for whether a scope column contains the name."""
    return _padded(column) != _padded_without_name(column)


def without_scope(column: Column[str]) -> ColumnElement[str]:
    """Return the SQL expression for the value of a scope column without the name."""
    return func.trim(_padded_without_name(column), type_=Text)


def _padded(column: Column[str]) -> ColumnElement[str]:
    return _SPACE.concat(column).concat(_SPACE)


def _padded_without_name(column: Column[str]) -> ColumnElement[Any]:
    return func.replace(_padded(column), bindparam("padded", type_=Text), _SPACE, type_=Text)
