"""What everybody may read."""

from __future__ import annotations

import pytest
from atlas import gazetteer
from flask.testing import FlaskClient
from werkzeug.http import parse_list_header


def test_a_country_is_known_by_its_two_letters(client: FlaskClient) -> None:
    portugal = client.get("/api/countries/PT").json

    assert portugal["name"] == "Portugal"
    assert portugal["alpha_3"] == "PRT"
    assert client.get("/api/countries/pt").json == portugal


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/api/countries?q=cote d'iv", ["Côte d'Ivoire"]),
        ("/api/countries?q=portuguese rep", ["Portugal"]),
        ("/api/countries/PT/subdivisions?q=evora", ["Évora"]),
        ("/api/currencies?q=zloty", ["Zloty"]),
    ],
)
def test_search_minds_neither_capitals_nor_accents(client: FlaskClient, path: str, found: list[str]) -> None:
    assert [one["name"] for one in client.get(path).json["items"]] == found


@pytest.mark.parametrize("path", ["countries/ZZ", "countries/ZZ/subdivisions", "subdivisions/ZZ-99", "currencies/ZZZ"])
def test_what_iso_does_not_know_is_a_problem_that_says_so(client: FlaskClient, path: str) -> None:
    answer = client.get(f"/api/{path}")

    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"
    assert answer.json["detail"].startswith("ISO knows no")


def test_the_world_is_sent_once(client: FlaskClient) -> None:
    first = client.get("/api/countries")

    again = client.get("/api/countries", headers={"If-None-Match": first.headers["ETag"]})

    assert (again.status_code, again.data) == (304, b"")


def test_callers_choose_the_members_they_want(client: FlaskClient) -> None:
    portugal = client.get("/api/countries?q=portugal&fields=name,flag").json["items"]
    refused = client.get("/api/countries/PT?fields=capital")

    assert portugal == [{"name": "Portugal", "flag": "🇵🇹"}]
    assert refused.status_code == 400
    assert "alpha_2, alpha_3" in refused.json["detail"]


def test_the_pages_together_are_the_whole_and_each_names_the_next(client: FlaskClient) -> None:
    path, seen = "/api/countries?limit=100&fields=alpha_2", []
    while path:
        page = client.get(path)
        seen += [one["alpha_2"] for one in page.json["items"]]
        links = parse_list_header(page.headers["Link"])
        path = next((link.split(">")[0].strip("<") for link in links if 'rel="next"' in link), "")

    assert len(seen) == len(set(seen)) == len(gazetteer.COUNTRIES)


@pytest.mark.parametrize(("query", "status"), [("cursor=made-up", 400), ("limit=0", 422), ("limit=251", 422)])
def test_there_is_no_such_page(client: FlaskClient, query: str, status: int) -> None:
    assert client.get(f"/api/currencies?{query}").status_code == status
