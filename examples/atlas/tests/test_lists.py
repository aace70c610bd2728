"""People's own lists: what a token opens, and what it does not."""

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


def test_a_list_is_made_once_however_often_it_is_asked_for(client: FlaskClient, ada: dict[str, str]) -> None:
    key = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
    first = client.post("/api/lists", json=SUMMER, headers=ada | key)
    again = client.post("/api/lists", json=SUMMER, headers=ada | key)
    other = client.post("/api/lists", json={"name": "Winter"}, headers=ada | key)

    assert (again.status_code, again.data, again.location) == (201, first.data, first.location)
    assert other.status_code == 422
    assert len(client.get("/api/lists", headers=ada).json["items"]) == 1


def if_match(answer: TestResponse) -> dict[str, str]:
    return {"If-Match": answer.headers["ETag"]}


@pytest.fixture
def bob(headers_for: Headers) -> dict[str, str]:
    return headers_for("places:read places:write", user_id="bob")


def test_a_list_is_made_read_changed_and_deleted(client: FlaskClient, ada: dict[str, str]) -> None:
    made = client.post("/api/lists", json=SUMMER, headers=ada)
    assert made.status_code == 201
    assert {name: made.json[name] for name in SUMMER} == SUMMER

    read = client.get(made.location, headers=ada)
    assert read.json == made.json
    changed = client.put(made.location, json={"name": "Winter"}, headers=ada | if_match(read))
    assert (changed.json["name"], changed.json["places"]) == ("Winter", [])
    assert [one["name"] for one in client.get("/api/lists", headers=ada).json["items"]] == ["Winter"]

    assert client.delete(made.location, headers=ada | if_match(changed)).status_code == 204
    assert client.get(made.location, headers=ada).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_list_is_its_owners_alone(client: FlaskClient, ada: dict[str, str], bob: dict[str, str], method: str) -> None:
    made = client.post("/api/lists", json=SUMMER, headers=ada)
    body = SUMMER if method == "PUT" else None

    refused = client.open(made.location, method=method, json=body, headers=bob | if_match(made))

    assert refused.status_code == 404
    assert client.get("/api/lists", headers=bob).json["items"] == []
    assert client.get(made.location, headers=ada).json == made.json


def test_reading_needs_one_scope_and_writing_another(client: FlaskClient, headers_for: Headers) -> None:
    reader, writer = headers_for("places:read", user_id="ada"), headers_for("places:write", user_id="ada")

    assert client.post("/api/lists", json=SUMMER, headers=reader).status_code == 403
    assert client.post("/api/lists", json=SUMMER, headers=writer).status_code == 201
    assert client.get("/api/lists", headers=writer).status_code == 403
    assert client.get("/api/lists", headers=reader).status_code == 200
    assert client.get("/api/lists").status_code == 401


def test_a_programs_own_token_has_no_lists(client: FlaskClient, headers_for: Headers) -> None:
    answer = client.get("/api/lists", headers=headers_for("places:read", client_id="robot"))

    assert answer.status_code == 403
    assert "belongs to a person" in answer.json["detail"]


def test_a_list_that_did_not_change_is_not_sent_again(client: FlaskClient, ada: dict[str, str]) -> None:
    made = client.post("/api/lists", json=SUMMER, headers=ada)

    again = client.get(made.location, headers=ada | {"If-None-Match": made.headers["ETag"]})

    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_who_changes_a_list_says_which_state_she_read(client: FlaskClient, ada: dict[str, str], method: str) -> None:
    made = client.post("/api/lists", json=SUMMER, headers=ada)
    client.put(made.location, json={"name": "By her phone"}, headers=ada | if_match(made))
    body = {"name": "By her laptop"} if method == "PUT" else None

    silent = client.open(made.location, method=method, json=body, headers=ada)
    late = client.open(made.location, method=method, json=body, headers=ada | if_match(made))

    assert (silent.status_code, late.status_code) == (428, 412)
    assert client.get(made.location, headers=ada).json["name"] == "By her phone"


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_of_two_changes_at_the_same_moment_one_wins(
    client: FlaskClient, ada: dict[str, str], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client.post("/api/lists", json=SUMMER, headers=ada)

    def somebody_was_quicker(*_: object, **__: object) -> None:
        with database.session() as other:
            other.execute(update(database.PlaceList).values(version=2, name="By her phone"))

    monkeypatch.setattr(lists, "check_preconditions", somebody_was_quicker)
    body = {"name": "By her laptop"} if method == "PUT" else None
    late = client.open(made.location, method=method, json=body, headers=ada | if_match(made))

    assert late.status_code == 412
    assert client.get(made.location, headers=ada).json["name"] == "By her phone"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x", "plaices": []}, "plaices"),
        ({"name": "x", "places": [{"code": "lisbon"}]}, "places.0.code"),
        ({"name": "x", "places": [{"code": "PT"}] * 101}, "places"),
    ],
)
def test_what_is_no_list_is_told_member_by_member(
    client: FlaskClient, ada: dict[str, str], body: dict[str, Any], told: str
) -> None:
    refused = client.post("/api/lists", json=body, headers=ada)

    assert refused.status_code == 422
    assert [one["at"] for one in refused.json["errors"]] == [told]


def test_a_place_that_iso_does_not_know_is_named(client: FlaskClient, ada: dict[str, str]) -> None:
    refused = client.post("/api/lists", json={"name": "x", "places": [{"code": "PT-99"}]}, headers=ada)

    assert (refused.status_code, refused.json["detail"]) == (422, "ISO knows no place PT-99")
