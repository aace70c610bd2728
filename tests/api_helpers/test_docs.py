"""The programs in docs/api_helpers.md run and do what the page says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

PAGE = (Path(__file__).parents[2] / "docs" / "api_helpers.md").read_text()
PROGRAMS = dict(re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


def problem(http: FlaskClient) -> None:
    response = http.post("/api/tickets")
    assert (response.status_code, response.json["left"], response.mimetype) == (409, 0, "application/problem+json")
    assert http.get("/api/nowhere").mimetype == "application/problem+json"


def pages(http: FlaskClient) -> None:
    response = http.get("/api/books?limit=5")
    assert response.json == {"items": [], "next": None}
    assert response.headers["Link"] == '</api/books?limit=5>; rel="first"'


def conditional(http: FlaskClient) -> None:
    etag = http.get("/api/note").headers["ETag"]
    assert http.get("/api/note", headers={"If-None-Match": etag}).status_code == 304
    assert http.put("/api/note").status_code == 428
    statuses = [http.put("/api/note", headers={"If-Match": etag}).status_code for _ in range(2)]
    assert statuses == [200, 412]


def keys(http: FlaskClient) -> None:
    assert http.post("/api/orders").status_code == 401


def sparse(http: FlaskClient) -> None:
    assert http.get("/api/books/1?fields=id,author.name").json == {"id": 1, "author": {"name": "Ada"}}
    assert http.get("/api/books/1?fields=colour").status_code == 400


def deprecation(http: FlaskClient) -> None:
    headers = http.get("/api/v1/books").headers
    assert headers["Deprecation"] == "@1738281600"
    assert headers["Sunset"] == "Sat, 31 Jan 2026 00:00:00 GMT"


def request_ids(http: FlaskClient) -> None:
    response = http.get("/api/hello", headers={"Request-Id": "mine"})
    assert response.json == {"this is": "mine"} and response.headers["Request-Id"] == "mine"


def cors(http: FlaskClient) -> None:
    headers = http.get("/api/hello", headers={"Origin": "https://app.example.com"}).headers
    assert headers["Access-Control-Allow-Origin"] == "https://app.example.com"


def sizes(http: FlaskClient) -> None:
    assert http.post("/api/photos", data=b"x" * 100_000).json == {"bytes": 100_000}
    assert http.post("/api/notes", data=b"x" * 100_000).status_code == 413


CHECKS: dict[str, Callable[[FlaskClient], None]] = {
    "Problem details": problem,
    "Pagination": pages,
    "Conditional requests": conditional,
    "Idempotency keys": keys,
    "Sparse fields": sparse,
    "Deprecation": deprecation,
    "Request ids": request_ids,
    "CORS": cors,
    "Body sizes": sizes,
}


def test_each_section_has_a_program_and_a_check() -> None:
    assert PROGRAMS.keys() == CHECKS.keys() == set(re.findall(r"^## (.+)$", PAGE, re.MULTILINE))


@pytest.mark.parametrize("title", CHECKS)
def test_the_program_does_what_the_page_says(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "program"}
    exec(compile(PROGRAMS[title], f"docs/api_helpers.md, {title}", "exec"), names)

    CHECKS[title](names["app"].test_client())

    valetkey = names["app"].extensions.get("valetkey")
    if valetkey is not None:
        valetkey.close()
    if "engine" in names:
        names["engine"].dispose()
