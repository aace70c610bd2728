"""Lists of places: each belongs to one user; one scope allows reading them, another one writing."""

from __future__ import annotations

import time
import uuid
from typing import Any

from flask import Blueprint, abort, request, url_for
from sqlalchemy import ColumnElement, Result, delete, func, select, update
from sqlalchemy.orm import Session

from valetkey import RateLimit, current_token, describe, require_oauth
from valetkey.api_helpers import Problem, check_preconditions, etag_of, etagged, idempotent, paginate

from . import database, shapes
from .database import Country, PlaceList, Subdivision

api = Blueprint("lists", __name__, url_prefix="/api/lists")
# Applies in addition to the limit of the plan. The routes that name it share one budget.
WRITE_LIMIT = RateLimit({"free": "20/minute burst 10", "pro": "200/minute burst 50"}, group="writes")
MAX_LISTS = 1000  # of one user

# Descriptions of errors in the OpenAPI document.
INVALID_BODY = {
    400: "The body is not JSON.",
    415: "The Content-Type is not JSON.",
    422: "The body does not match its schema.",
}
UNKNOWN_LIST = {404: "You have no such list."}
CHANGED = {412: "The list was changed since you read it.", 428: "The header `If-Match` is missing."}
FORBIDDEN = {403: "The access token lacks the scope, or has no user: lists belong to users."}


@api.get("")
@require_oauth("places:read")
@describe(
    query=shapes.Paged,
    response=shapes.PlaceLists,
    errors=FORBIDDEN | {400: "There is no such page.", 422: "A query parameter is invalid."},
)
def my_lists() -> Any:
    """List your lists, by name."""
    page_query = shapes.read(shapes.Paged, request.args.to_dict())
    select_lists = select(PlaceList).where(PlaceList.owner == _owner()).order_by(PlaceList.name, PlaceList.id)
    with database.session() as session:
        page = paginate(select_lists, session.execute, usual=page_query.limit, largest=shapes.LARGEST_PAGE)
    return {"items": [_serialize(place_list) for place_list in page.items]}, page.headers


@api.post("")
@require_oauth("places:write", limit=WRITE_LIMIT)
@idempotent
@describe(
    body=shapes.PlaceListInput,
    response=shapes.PlaceList,
    status=201,
    errors=FORBIDDEN
    | INVALID_BODY
    | {409: "You have the maximum number of lists, or the first request with this `Idempotency-Key` has not ended."},
)
def make_list() -> Any:
    """Create a list of places."""
    owner, list_input = _owner(), _read_list_input()
    with database.session() as session:
        _check_places(session, list_input)
        if (session.scalar(select(func.count()).where(PlaceList.owner == owner)) or 0) >= MAX_LISTS:
            abort(409, f"a user may have {MAX_LISTS} lists: delete one first")
        place_list = PlaceList(
            id=str(uuid.uuid4()), owner=owner, version=1, changed_at=time.time(), **list_input.model_dump()
        )
        session.add(place_list)
    headers = {"Location": url_for(".one_list", list_id=place_list.id), "ETag": _etag(place_list)}
    return _serialize(place_list), 201, headers


@api.get("/<uuid:list_id>")
@require_oauth("places:read")
@etagged
@describe(response=shapes.PlaceList, errors=FORBIDDEN | UNKNOWN_LIST)
def one_list(list_id: uuid.UUID) -> Any:
    """Read one of your lists."""
    with database.session() as session:
        place_list = _get_own_list(session, list_id)
    return _serialize(place_list), {"ETag": _etag(place_list)}


@api.put("/<uuid:list_id>")
@require_oauth("places:write", limit=WRITE_LIMIT)
@describe(
    body=shapes.PlaceListInput,
    headers=shapes.Condition,
    response=shapes.PlaceList,
    errors=FORBIDDEN | UNKNOWN_LIST | CHANGED | INVALID_BODY,
)
def change_list(list_id: uuid.UUID) -> Any:
    """Change one of your lists, if it has not changed since you read it."""
    list_input = _read_list_input()
    with database.session() as session:
        _check_places(session, list_input)
        place_list = _get_own_list(session, list_id)
        check_preconditions(_etag(place_list), required=True)
        values = {"version": place_list.version + 1, "changed_at": time.time(), **list_input.model_dump()}
        _check_one_row(session.execute(update(PlaceList).where(*_is_unchanged(place_list)).values(values)))
        session.refresh(place_list)
    return _serialize(place_list), {"ETag": _etag(place_list)}


@api.delete("/<uuid:list_id>")
@require_oauth("places:write", limit=WRITE_LIMIT)
@describe(headers=shapes.Condition, status=204, errors=FORBIDDEN | UNKNOWN_LIST | CHANGED)
def delete_list(list_id: uuid.UUID) -> Any:
    """Delete one of your lists, if it has not changed since you read it."""
    with database.session() as session:
        place_list = _get_own_list(session, list_id)
        check_preconditions(_etag(place_list), required=True)
        _check_one_row(session.execute(delete(PlaceList).where(*_is_unchanged(place_list))))
    return "", 204


def _owner() -> str:
    """Return the id of the user who authorized the token; a token from client credentials has no user."""
    if current_token.user_id is None:
        abort(403, "lists belong to users: call with a token that a user authorized")
    return current_token.user_id


def _get_own_list(session: Session, list_id: uuid.UUID) -> PlaceList:
    """Return a list of the current user. The list of another user is a 404, so that callers cannot probe for ids."""
    place_list = session.get(PlaceList, str(list_id))
    if place_list is None or place_list.owner != _owner():
        abort(404, "you have no such list")
    return place_list


def _etag(place_list: PlaceList) -> str:
    return etag_of(f"{place_list.id} {place_list.version}")


def _is_unchanged(place_list: PlaceList) -> tuple[ColumnElement[bool], ...]:
    """Return conditions of an UPDATE or DELETE that fail if another request changed the list after it was read."""
    return PlaceList.id == place_list.id, PlaceList.version == place_list.version


def _check_one_row(result: Result[Any]) -> None:
    if result.rowcount != 1:  # type: ignore[attr-defined]  # the result of an UPDATE or DELETE has rowcount
        raise Problem(412, "the list was changed by another request; read it again")


def _read_list_input() -> shapes.PlaceListInput:
    return shapes.read(shapes.PlaceListInput, request.get_json())


def _check_places(session: Session, list_input: shapes.PlaceListInput) -> None:
    """Refuse the request with 422 if a place is not in ISO 3166."""
    codes = {place.code for place in list_input.places}
    existing = {*session.scalars(select(Country.alpha_2).where(Country.alpha_2.in_(codes)))}
    existing |= {*session.scalars(select(Subdivision.code).where(Subdivision.code.in_(codes)))}
    if codes - existing:
        abort(422, f"ISO 3166 has no place {', '.join(sorted(codes - existing))}")


def _serialize(place_list: PlaceList) -> dict[str, Any]:
    return shapes.PlaceList.model_validate(place_list).model_dump()
