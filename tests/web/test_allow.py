"""``OPTIONS`` and 405 responses name exactly the methods that a page or endpoint of Valetkey has (RFC 9110 §10.2.1)."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from tests.support.app import MakeApp

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
def app(make_app: MakeApp, sqlite_store_url: str) -> Flask:
    return make_app(sqlite_store_url, mail_url="smtp://127.0.0.1:1", registration_policy="open")


def own_paths(app: Flask) -> list[str]:
    """Return a path for each route of Valetkey's own."""
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("valetkey")]
    return sorted({re.sub(r"<[^>]*>", "x", rule.rule) for rule in rules})


def test_options_names_the_methods_of_every_route(app: Flask) -> None:
    http = app.test_client()
    wrong = {}
    for path in own_paths(app):
        statuses = {method: http.open(path, method=method).status_code for method in METHODS}
        served = {method for method, status in statuses.items() if status != 405}
        allowed = {name for name in http.options(path).headers.get("Allow", "").split(", ") if name}
        if allowed - {"OPTIONS"} != served:
            wrong[path] = (sorted(allowed), sorted(served))

    assert wrong == {}
    assert len(own_paths(app)) > 40


def test_a_405_response_names_the_methods_of_every_route(app: Flask) -> None:
    http = app.test_client()
    for path in own_paths(app):
        allowed = http.options(path).headers["Allow"]
        for method in METHODS:
            response = http.open(path, method=method)
            if response.status_code == 405:
                assert set(response.headers["Allow"].split(", ")) - {"OPTIONS"} == set(allowed.split(", ")) - {
                    "OPTIONS"
                }
