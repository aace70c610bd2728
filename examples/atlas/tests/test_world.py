"""The public routes: countries, subdivisions and currencies."""

from __future__ import annotations

import pytest
from atlas import gazetteer
from flask.testing import FlaskClient
from werkzeug.http import parse_list_header


def test_a_country_is_found_by_its_two_letter_code(client: FlaskClient) -> None:
    portugal = client.get("/api/countries/PT").json

    assert portugal["name"] == "Portugal"
    assert portugal["alpha_3"] == "PRT"
    assert client.get("/api/countries/pt").json == portugal


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/api/countries?q=cote d'iv", ["Côte d'Ivoire"]),
        ("/api/countries?q=portuguese rep", ["Portugal"]),
        ("/api/countries/PT/subdivisions?q=evora", ["Évora"]),
        ("/api/currencies?q=zloty", ["Zloty"]),
    ],
)
def test_search_ignores_case_and_accents(client: FlaskClient, path: str, names: list[str]) -> None:
    assert [item["name"] for item in client.get(path).json["items"]] == names


@pytest.mark.parametrize("path", ["countries/ZZ", "countries/ZZ/subdivisions", "subdivisions/ZZ-99", "currencies/ZZZ"])
def test_an_unknown_code_is_a_404_with_problem_details(client: FlaskClient, path: str) -> None:
    response = client.get(f"/api/{path}")

    assert response.status_code == 404
    assert response.content_type == "application/problem+json"
    assert response.json["detail"].startswith("ISO has no")


def test_unchanged_data_is_not_sent_again(client: FlaskClient) -> None:
    first = client.get("/api/countries")

    again = client.get("/api/countries", headers={"If-None-Match": first.headers["ETag"]})

    assert (again.status_code, again.data) == (304, b"")


def test_callers_can_select_members(client: FlaskClient) -> None:
    portugal = client.get("/api/countries?q=portugal&fields=name,flag").json["items"]
    refused = client.get("/api/countries/PT?fields=capital")

    assert portugal == [{"name": "Portugal", "flag": "🇵🇹"}]
    assert refused.status_code == 400
    assert "alpha_2, alpha_3" in refused.json["detail"]


def test_following_the_links_to_the_next_page_returns_every_country_once(client: FlaskClient) -> None:
    path, codes = "/api/countries?limit=100&fields=alpha_2", []
    while path:
        page = client.get(path)
        codes += [item["alpha_2"] for item in page.json["items"]]
        links = parse_list_header(page.headers["Link"])
        path = next((link.split(">")[0].strip("<") for link in links if 'rel="next"' in link), "")

    assert len(codes) == len(set(codes)) == len(gazetteer.COUNTRIES)


@pytest.mark.parametrize(("query", "status"), [("cursor=made-up", 400), ("limit=0", 422), ("limit=251", 422)])
def test_an_invalid_cursor_or_limit_is_refused(client: FlaskClient, query: str, status: int) -> None:
    assert client.get(f"/api/currencies?{query}").status_code == status
