"""Public routes: countries, subdivisions and currencies."""

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
PageResponse = tuple[dict[str, Any], list[tuple[str, str]]]  # body and headers

# Descriptions of errors in the OpenAPI document.
UNKNOWN_FIELD = {400: "There is no such field."}
INVALID_QUERY = {400: "There is no such field, or no such page.", 422: "A query parameter is invalid."}
UNKNOWN = {404: "The ISO standard has no such code."}


@api.get("/countries")
@public(limit=LIMIT)
@etagged
@sparse_fields(*shapes.Country.model_fields, within="items")
@describe(query=shapes.Search, response=shapes.Countries, errors=INVALID_QUERY)
def countries() -> Any:
    """List all countries."""
    return _page(Country, shapes.Country)


@api.get("/countries/<string(length=2):alpha_2>")
@public(limit=LIMIT)
@etagged
@sparse_fields(*shapes.Country.model_fields)
@describe(query=shapes.Chosen, response=shapes.Country, errors=UNKNOWN | UNKNOWN_FIELD)
def country(alpha_2: str) -> Any:
    """Read one country."""
    return _get(Country, alpha_2, shapes.Country)


@api.get("/countries/<string(length=2):alpha_2>/subdivisions")
@public(limit=LIMIT)
@etagged
@sparse_fields(*shapes.Subdivision.model_fields, within="items")
@describe(query=shapes.Search, response=shapes.Subdivisions, errors=UNKNOWN | INVALID_QUERY)
def subdivisions(alpha_2: str) -> Any:
    """List the subdivisions of a country, such as states, provinces or districts."""
    _get(Country, alpha_2, shapes.Country)
    return _page(Subdivision, shapes.Subdivision, Subdivision.country == alpha_2.upper())


@api.get("/subdivisions/<string(minlength=4, maxlength=6):code>")
@public(limit=LIMIT)
@etagged
@sparse_fields(*shapes.Subdivision.model_fields)
@describe(query=shapes.Chosen, response=shapes.Subdivision, errors=UNKNOWN | UNKNOWN_FIELD)
def subdivision(code: str) -> Any:
    """Read one subdivision of a country."""
    return _get(Subdivision, code, shapes.Subdivision)


@api.get("/currencies")
@public(limit=LIMIT)
@etagged
@sparse_fields(*shapes.Currency.model_fields, within="items")
@describe(query=shapes.Search, response=shapes.Currencies, errors=INVALID_QUERY)
def currencies() -> Any:
    """List all currencies."""
    return _page(Currency, shapes.Currency)


@api.get("/currencies/<string(length=3):alpha_3>")
@public(limit=LIMIT)
@etagged
@sparse_fields(*shapes.Currency.model_fields)
@describe(query=shapes.Chosen, response=shapes.Currency, errors=UNKNOWN | UNKNOWN_FIELD)
def currency(alpha_3: str) -> Any:
    """Read one currency."""
    return _get(Currency, alpha_3, shapes.Currency)


def _page(table: Any, shape: type[BaseModel], *conditions: ColumnElement[bool]) -> PageResponse:
    """Return a page of rows that match the query parameters, by name."""
    search = shapes.read(shapes.Search, request.args.to_dict())
    rows = select(table).where(*conditions, table.searched.contains(searchable(search.q), autoescape=True))
    rows = rows.order_by(table.name, *table.__table__.primary_key)
    with database.session() as session:
        page = paginate(rows, session.execute, usual=search.limit, largest=shapes.LARGEST_PAGE)
    return {"items": [shape.model_validate(row).model_dump() for row in page.items]}, page.headers


def _get(table: Any, key: str, shape: type[BaseModel]) -> dict[str, Any]:
    """Return the row with this primary key; the response is 404 if there is none."""
    with database.session() as session:
        row = session.get(table, key.upper())
    if row is None:
        abort(404, f"ISO has no {shape.__name__.lower()} {key.upper()}")
    return shape.model_validate(row).model_dump()
