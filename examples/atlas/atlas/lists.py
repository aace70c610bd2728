"""Lists of places: private, one owner each, with a scope for reading and one for writing."""

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
WRITES = RateLimit(
    {"free": "20/minute burst 10", "pro": "200/minute burst 50"}, group="writes"
)  # beside the plan's own
WRONG = {400: "The body is no JSON.", 415: "The body says that it is no JSON.", 422: "It is not as described."}
UNKNOWN = {404: "You have no such list."}
CHANGED = {412: "It was changed since you read it.", 428: "Say in `If-Match` which state you read."}
NOBODY = {403: "The access token lacks the scope, or is a program's own: a list belongs to a person."}
MOST = 1000  # lists of one person


@api.get("")
@require_oauth("places:read")
@describe(
    query=shapes.Paged,
    response=shapes.PlaceLists,
    errors=NOBODY | {400: "There is no such page.", 422: "The query is not as described."},
)
def my_lists() -> Any:
    """My lists, by name."""
    asked = shapes.read(shapes.Paged, request.args.to_dict())
    mine = select(PlaceList).where(PlaceList.owner == _owner()).order_by(PlaceList.name, PlaceList.id)
    with database.session() as session:
        page = paginate(mine, session.execute, usual=asked.limit, largest=shapes.LARGEST_PAGE)
    return {"items": [_shown(one) for one in page.items]}, page.headers


@api.post("")
@require_oauth("places:write", limit=WRITES)
@idempotent
@describe(
    body=shapes.WantedList,
    response=shapes.PlaceList,
    status=201,
    errors=NOBODY | WRONG | {409: "You have as many lists as one may have, or the first request is still at work."},
)
def make_list() -> Any:
    """Make a list of places."""
    owner, wanted = _owner(), _wanted()
    with database.session() as session:
        _check_places(session, wanted)
        if (session.scalar(select(func.count()).where(PlaceList.owner == owner)) or 0) >= MOST:
            abort(409, f"a person may have {MOST} lists: delete one first")
        made = PlaceList(id=str(uuid.uuid4()), owner=owner, version=1, changed_at=time.time(), **wanted.model_dump())
        session.add(made)
    return _shown(made), 201, {"Location": url_for(".one_list", list_id=made.id), "ETag": _etag(made)}


@api.get("/<uuid:list_id>")
@require_oauth("places:read")
@etagged
@describe(response=shapes.PlaceList, errors=NOBODY | UNKNOWN)
def one_list(list_id: uuid.UUID) -> Any:
    """One of my lists."""
    with database.session() as session:
        found = _mine(session, list_id)
    return _shown(found), {"ETag": _etag(found)}


@api.put("/<uuid:list_id>")
@require_oauth("places:write", limit=WRITES)
@describe(
    body=shapes.WantedList,
    headers=shapes.Condition,
    response=shapes.PlaceList,
    errors=NOBODY | UNKNOWN | CHANGED | WRONG,
)
def change_list(list_id: uuid.UUID) -> Any:
    """Change one of my lists, unless somebody else did since I read it."""
    wanted = _wanted()
    with database.session() as session:
        _check_places(session, wanted)
        known = _mine(session, list_id)
        check_preconditions(_etag(known), required=True)
        values = {"version": known.version + 1, "changed_at": time.time(), **wanted.model_dump()}
        _check_won(session.execute(update(PlaceList).where(*_as_read(known)).values(values)))
        session.refresh(known)
    return _shown(known), {"ETag": _etag(known)}


@api.delete("/<uuid:list_id>")
@require_oauth("places:write", limit=WRITES)
@describe(headers=shapes.Condition, status=204, errors=NOBODY | UNKNOWN | CHANGED)
def delete_list(list_id: uuid.UUID) -> Any:
    """Delete one of my lists, unless somebody changed it since I read it."""
    with database.session() as session:
        known = _mine(session, list_id)
        check_preconditions(_etag(known), required=True)
        _check_won(session.execute(delete(PlaceList).where(*_as_read(known))))
    return "", 204


def _owner() -> str:
    if current_token.user_id is None:
        abort(403, "a list belongs to a person: call with a token that a person gave")
    return current_token.user_id


def _mine(session: Session, list_id: uuid.UUID) -> PlaceList:
    """My list; whether somebody else has one of this id is nobody's business."""
    found = session.get(PlaceList, str(list_id))
    if found is None or found.owner != _owner():
        abort(404, "you have no such list")
    return found


def _etag(one: PlaceList) -> str:
    return etag_of(f"{one.id} {one.version}")


def _as_read(one: PlaceList) -> tuple[ColumnElement[bool], ...]:
    """The list, if it is still what we read: between that and the change somebody else may have changed it."""
    return PlaceList.id == one.id, PlaceList.version == one.version


def _check_won(done: Result[Any]) -> None:
    if done.rowcount != 1:  # type: ignore[attr-defined]  # what an UPDATE and a DELETE answer has it
        raise Problem(412, "it was changed while you asked; read it again")


def _wanted() -> shapes.WantedList:
    return shapes.read(shapes.WantedList, request.get_json())


def _check_places(session: Session, wanted: shapes.WantedList) -> None:
    codes = {place.code for place in wanted.places}
    known = {*session.scalars(select(Country.alpha_2).where(Country.alpha_2.in_(codes)))}
    known |= {*session.scalars(select(Subdivision.code).where(Subdivision.code.in_(codes)))}
    if codes - known:
        abort(422, f"ISO knows no place {', '.join(sorted(codes - known))}")


def _shown(one: PlaceList) -> dict[str, Any]:
    return shapes.PlaceList.model_validate(one).model_dump()
