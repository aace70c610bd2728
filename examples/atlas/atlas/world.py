"""What everybody may read: countries, subdivisions and currencies."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, request
from pydantic import BaseModel
from sqlalchemy import ColumnElement, select

from valetkey import describe, public
from valetkey.api_helpers import etagged, paginate, sparse_fields

from . import database, shapes
from .database import Country, Currency, Subdivision
from .gazetteer import searchable

api = Blueprint("world", __name__, url_prefix="/api")
LIMIT = "120/minute burst 60"
NO_FIELD = {400: "There is no such field."}
WRONG = {400: "There is no such field, or no such page.", 422: "The query is not as described."}
Answer = tuple[dict[str, Any], list[tuple[str, str]]]
UNKNOWN = {404: "ISO knows no such thing."}


@api.get("/countries")
@public(limit=LIMIT)
@etagged
@sparse_fields(*shapes.Country.model_fields, within="items")
@describe(query=shapes.Search, response=shapes.Countries, errors=WRONG)
def countries() -> Any:
    """All countries."""
    return _page(Country, shapes.Country)


@api.get("/countries/<string(length=2):alpha_2>")
@public(limit=LIMIT)
@etagged
@sparse_fields(*shapes.Country.model_fields)
@describe(query=shapes.Chosen, response=shapes.Country, errors=UNKNOWN | NO_FIELD)
def country(alpha_2: str) -> Any:
    """One country."""
    return _one(Country, alpha_2, shapes.Country)


@api.get("/countries/<string(length=2):alpha_2>/subdivisions")
@public(limit=LIMIT)
@etagged
@sparse_fields(*shapes.Subdivision.model_fields, within="items")
@describe(query=shapes.Search, response=shapes.Subdivisions, errors=UNKNOWN | WRONG)
def subdivisions(alpha_2: str) -> Any:
    """The states, provinces, districts or the like of a country."""
    _one(Country, alpha_2, shapes.Country)
    return _page(Subdivision, shapes.Subdivision, Subdivision.country == alpha_2.upper())


@api.get("/subdivisions/<string(minlength=4, maxlength=6):code>")
@public(limit=LIMIT)
@etagged
@sparse_fields(*shapes.Subdivision.model_fields)
@describe(query=shapes.Chosen, response=shapes.Subdivision, errors=UNKNOWN | NO_FIELD)
def subdivision(code: str) -> Any:
    """One subdivision of a country."""
    return _one(Subdivision, code, shapes.Subdivision)


@api.get("/currencies")
@public(limit=LIMIT)
@etagged
@sparse_fields(*shapes.Currency.model_fields, within="items")
@describe(query=shapes.Search, response=shapes.Currencies, errors=WRONG)
def currencies() -> Any:
    """All currencies."""
    return _page(Currency, shapes.Currency)


@api.get("/currencies/<string(length=3):alpha_3>")
@public(limit=LIMIT)
@etagged
@sparse_fields(*shapes.Currency.model_fields)
@describe(query=shapes.Chosen, response=shapes.Currency, errors=UNKNOWN | NO_FIELD)
def currency(alpha_3: str) -> Any:
    """One currency."""
    return _one(Currency, alpha_3, shapes.Currency)


def _page(table: Any, shape: type[BaseModel], *which: ColumnElement[bool]) -> Answer:
    """The rows that were asked for, by name."""
    asked = shapes.read(shapes.Search, request.args.to_dict())
    found = select(table).where(*which, table.searched.contains(searchable(asked.q), autoescape=True))
    found = found.order_by(table.name, *table.__table__.primary_key)
    with database.session() as session:
        page = paginate(found, session.execute, usual=asked.limit, largest=shapes.LARGEST_PAGE)
    return {"items": [shape.model_validate(row).model_dump() for row in page.items]}, page.headers


def _one(table: Any, key: str, shape: type[BaseModel]) -> dict[str, Any]:
    with database.session() as session:
        row = session.get(table, key.upper())
    if row is None:
        abort(404, f"ISO knows no {shape.__name__.lower()} {key.upper()}")
    return shape.model_validate(row).model_dump()
