"""Lists of places: what callers may do with which token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from atlas import database, lists
from flask.testing import FlaskClient
from sqlalchemy import update
from werkzeug.test import TestResponse

SUMMER = {"name": "Summer", "places": [{"code": "PT-11", "note": "Alfama"}, {"code": "IS", "note": ""}]}
Headers = Callable[..., dict[str, str]]


@pytest.fixture
def ada(headers_for: Headers) -> dict[str, str]:
    return headers_for("places:read places:write", user_id="ada")


def test_a_repeated_request_creates_one_list(client: FlaskClient, ada: dict[str, str]) -> None:
    key = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
    first = client.post("/api/lists", json=SUMMER, headers=ada | key)
    again = client.post("/api/lists", json=SUMMER, headers=ada | key)
    other = client.post("/api/lists", json={"name": "Winter"}, headers=ada | key)

    assert (again.status_code, again.data, again.location) == (201, first.data, first.location)
    assert other.status_code == 422
    assert len(client.get("/api/lists", headers=ada).json["items"]) == 1


def if_match(response: TestResponse) -> dict[str, str]:
    return {"If-Match": response.headers["ETag"]}


@pytest.fixture
def bob(headers_for: Headers) -> dict[str, str]:
    return headers_for("places:read places:write", user_id="bob")


def test_a_list_is_created_read_changed_and_deleted(client: FlaskClient, ada: dict[str, str]) -> None:
    created = client.post("/api/lists", json=SUMMER, headers=ada)
    assert created.status_code == 201
    assert {name: created.json[name] for name in SUMMER} == SUMMER

    read = client.get(created.location, headers=ada)
    assert read.json == created.json
    changed = client.put(created.location, json={"name": "Winter"}, headers=ada | if_match(read))
    assert (changed.json["name"], changed.json["places"]) == ("Winter", [])
    assert [item["name"] for item in client.get("/api/lists", headers=ada).json["items"]] == ["Winter"]

    assert client.delete(created.location, headers=ada | if_match(changed)).status_code == 204
    assert client.get(created.location, headers=ada).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_users_have_no_access_to_a_list(
    client: FlaskClient, ada: dict[str, str], bob: dict[str, str], method: str
) -> None:
    created = client.post("/api/lists", json=SUMMER, headers=ada)
    body = SUMMER if method == "PUT" else None

    refused = client.open(created.location, method=method, json=body, headers=bob | if_match(created))

    assert refused.status_code == 404
    assert client.get("/api/lists", headers=bob).json["items"] == []
    assert client.get(created.location, headers=ada).json == created.json


def test_reading_and_writing_need_different_scopes(client: FlaskClient, headers_for: Headers) -> None:
    reader, writer = headers_for("places:read", user_id="ada"), headers_for("places:write", user_id="ada")

    assert client.post("/api/lists", json=SUMMER, headers=reader).status_code == 403
    assert client.post("/api/lists", json=SUMMER, headers=writer).status_code == 201
    assert client.get("/api/lists", headers=writer).status_code == 403
    assert client.get("/api/lists", headers=reader).status_code == 200
    assert client.get("/api/lists").status_code == 401


def test_a_token_without_a_user_is_refused(client: FlaskClient, headers_for: Headers) -> None:
    response = client.get("/api/lists", headers=headers_for("places:read", client_id="robot"))

    assert response.status_code == 403
    assert "belong to users" in response.json["detail"]


def test_an_unchanged_list_is_not_sent_again(client: FlaskClient, ada: dict[str, str]) -> None:
    created = client.post("/api/lists", json=SUMMER, headers=ada)

    again = client.get(created.location, headers=ada | {"If-None-Match": created.headers["ETag"]})

    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_change_must_name_the_current_version(client: FlaskClient, ada: dict[str, str], method: str) -> None:
    created = client.post("/api/lists", json=SUMMER, headers=ada)
    client.put(created.location, json={"name": "From the phone"}, headers=ada | if_match(created))
    body = {"name": "From the laptop"} if method == "PUT" else None

    without_version = client.open(created.location, method=method, json=body, headers=ada)
    with_old_version = client.open(created.location, method=method, json=body, headers=ada | if_match(created))

    assert (without_version.status_code, with_old_version.status_code) == (428, 412)
    assert client.get(created.location, headers=ada).json["name"] == "From the phone"


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_one_of_two_simultaneous_changes_wins(
    client: FlaskClient, ada: dict[str, str], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = client.post("/api/lists", json=SUMMER, headers=ada)

    def change_from_the_phone(*_: object, **__: object) -> None:
        with database.session() as session:
            session.execute(update(database.PlaceList).values(version=2, name="From the phone"))

    monkeypatch.setattr(lists, "check_preconditions", change_from_the_phone)
    body = {"name": "From the laptop"} if method == "PUT" else None
    refused = client.open(created.location, method=method, json=body, headers=ada | if_match(created))

    assert refused.status_code == 412
    assert client.get(created.location, headers=ada).json["name"] == "From the phone"


@pytest.mark.parametrize(
    ("body", "invalid_member"),
    [
        ({}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x", "plaices": []}, "plaices"),
        ({"name": "x", "places": [{"code": "lisbon"}]}, "places.0.code"),
        ({"name": "x", "places": [{"code": "PT"}] * 101}, "places"),
    ],
)
def test_an_invalid_body_is_refused_with_its_invalid_members(
    client: FlaskClient, ada: dict[str, str], body: dict[str, Any], invalid_member: str
) -> None:
    refused = client.post("/api/lists", json=body, headers=ada)

    assert refused.status_code == 422
    assert [error["at"] for error in refused.json["errors"]] == [invalid_member]


def test_an_unknown_place_is_named_in_the_error(client: FlaskClient, ada: dict[str, str]) -> None:
    refused = client.post("/api/lists", json={"name": "x", "places": [{"code": "PT-99"}]}, headers=ada)

    assert (refused.status_code, refused.json["detail"]) == (422, "ISO 3166 has no place PT-99")
