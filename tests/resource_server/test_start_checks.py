"""What stops an app with ``Valetkey`` or ``ResourceServer`` when it starts: the same for both."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from flask import Flask
from openapi_spec_validator import validate

from valetkey import Plan, RateLimit, ResourceServer, SettingsError, Valetkey, add_security, public, require_oauth
from valetkey.resource_server.limit_validation import cost_advice
from valetkey.resource_server.routes import iter_routes

ISSUER, RESOURCE = "https://login.example", "https://api.example"
Extend = Callable[..., Any]


def _add_valetkey(app: Flask, **settings: Any) -> None:
    Valetkey(app, env_prefix=None, **settings)


def _add_resource_server(app: Flask, **settings: Any) -> None:
    ResourceServer(app, trusted_issuers=[ISSUER], resource=RESOURCE, env_prefix=None, **settings)


EXTENSIONS = {"Valetkey": _add_valetkey, "ResourceServer": _add_resource_server}


@pytest.fixture(params=list(EXTENSIONS))
def extend(request: pytest.FixtureRequest) -> Extend:
    """Function that adds one of the two extensions to an app."""
    return EXTENSIONS[request.param]


def make_app() -> Flask:
    app = Flask("api")
    app.testing = True  # exceptions reach the test
    return app


@pytest.mark.parametrize(("first", "second"), list(itertools.product(EXTENSIONS, repeat=2)))
def test_a_second_extension_in_one_app_is_refused_with_the_same_sentence(first: str, second: str) -> None:
    app = make_app()
    EXTENSIONS[first](app)

    with pytest.raises(SettingsError, match="already has a Valetkey or a ResourceServer: initialize one of them only"):
        EXTENSIONS[second](app)

    assert app.test_client().get("/.well-known/oauth-protected-resource", base_url=RESOURCE).status_code in {200, 421}


def test_two_different_limits_of_one_group_stop_the_app(extend: Extend) -> None:
    app = make_app()
    extend(app)
    for path, limit in (("/api/one", "1/minute"), ("/api/two", "2/minute")):
        view = require_oauth(limit=RateLimit(limit, group="shared"))(lambda: "")
        app.add_url_rule(path, path, view)

    with pytest.raises(SettingsError, match="/api/one and /api/two have different limits in the rate limit group"):
        app.test_client().get("/")


def test_a_limit_for_a_plan_that_is_not_known_stops_the_app(extend: Extend) -> None:
    app = make_app()
    extend(app)
    app.add_url_rule("/api/by-plan", "by_plan", require_oauth(limit={"free": "1/minute"})(lambda: ""))

    with pytest.raises(SettingsError, match="/api/by-plan"):
        app.test_client().get("/")


def test_a_route_of_the_app_at_the_path_of_the_metadata_stops_the_app(extend: Extend) -> None:
    app = make_app()
    app.add_url_rule("/.well-known/oauth-protected-resource", "mine", lambda: "")
    extend(app)

    with pytest.raises(SettingsError, match="Remove the app's route, because RFC 9728"):
        app.test_client().get("/")


def test_undecorated_routes_are_named_in_the_log(extend: Extend, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    extend(app)
    app.add_url_rule("/api/forgotten", "forgotten", lambda: "")

    app.test_client().get("/")

    assert any("/api/forgotten: no protection is declared" in message for message in caplog.messages)


def test_scopes_that_no_client_can_request_are_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    Valetkey(app, env_prefix=None, scopes={"notes:read": "Read your notes"})
    app.add_url_rule("/api/notes", "notes", require_oauth("notes:raed")(lambda: ""))

    app.test_client().get("/")

    (message,) = [message for message in caplog.messages if "not in scopes=" in message]
    assert (
        message.startswith("the route notes needs the scope 'notes:raed'") and "did you mean 'notes:read'?" in message
    )


def test_a_resource_server_does_not_judge_scopes_of_other_issuers(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    _add_resource_server(app, scopes={"notes:read": "Read your notes"})
    app.add_url_rule("/api/notes", "notes", require_oauth("notes:raed")(lambda: ""))

    app.test_client().get("/")

    assert not [message for message in caplog.messages if "not in scopes=" in message]


def test_apiflask_does_not_document_routes_of_the_extension(extend: Extend) -> None:
    app = APIFlask("api")
    extend(app)
    app.add_url_rule("/api/notes", "notes", require_oauth("notes:read")(dict))

    assert list(app.spec["paths"]) == ["/api/notes"]


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_add_security_names_only_what_exists_at_a_resource_server(version: str) -> None:
    app = make_app()
    _add_resource_server(app, scopes={"notes:read": "Read your notes"})
    app.add_url_rule("/api/notes", "notes", require_oauth("notes:read", limit="1/minute")(lambda: ""))
    app.add_url_rule("/api/any", "any", require_oauth(optional=True)(lambda: ""))
    paths = ("/api/notes", "/api/any")
    spec = {
        "openapi": version,
        "info": {"title": "Notes", "version": "1"},
        "paths": {path: {"get": {"responses": {"200": {"description": "Notes"}}}} for path in paths},
    }

    document = add_security(spec, app)

    validate(document)
    assert document["components"]["securitySchemes"] == {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": f"An access token of {ISSUER}.",
            "x-issuers": [ISSUER],
        }
    }
    scopes = ["notes:read"] if version == "3.1.0" else []
    assert document["paths"]["/api/notes"]["get"]["security"] == [{"bearer": scopes}]
    assert document["paths"]["/api/any"]["get"]["security"] == [{"bearer": []}, {}]
    assert "Read your notes" in document["paths"]["/api/notes"]["get"]["description"]
    assert f"{RESOURCE}/oauth" not in str(document)


@pytest.mark.parametrize(
    ("scope", "user_limit", "advice"),
    [
        ("notes:read", "", ["/api/dear costs 16 and can never be called with the plan free"]),
        ("notes:delete", "", []),
        (
            "notes:delete",
            "9/day burst 9",
            ["/api/dear costs 16 and can never be called by users, because of user_limit"],
        ),
    ],
)
def test_a_cost_that_only_some_callers_can_never_pay_is_advice(
    tmp_path: Path, scope: str, user_limit: str, advice: list[str]
) -> None:
    """Apps with the plan free cannot get the scope notes:delete, whatever a call of its routes costs."""
    app = make_app()
    plans = {"free": Plan(quota="10/day", scopes="notes:read"), "pro": Plan(quota="1000/month")}
    scopes = {"notes:read": "Read your notes", "notes:delete": "Delete your notes"}
    _add_valetkey(app, data_dir=str(tmp_path), scopes=scopes, plans=plans, default_plan="free", user_limit=user_limit)
    app.add_url_rule("/api/dear", "dear", require_oauth(scope, cost=16)(lambda: ""))
    runtime = app.extensions["valetkey"]

    status = app.test_client().get("/api/dear").status_code
    given = cost_advice(iter_routes(app), runtime.settings, runtime.plan_budgets, runtime.admission.user_limit)

    assert status == 401
    assert [sentence.partition(":")[0] for sentence in given] == advice


def test_a_cost_that_no_caller_can_ever_pay_stops_the_app() -> None:
    app = make_app()
    scopes = {"notes:read": "Read your notes", "notes:delete": "Delete your notes"}
    plans = {
        "free": Plan(quota="10/day", scopes="notes:read"),
        "pro": Plan(limit="60/minute burst 20", quota="1000/month"),
    }
    _add_valetkey(app, scopes=scopes, plans=plans, default_plan="free", user_limit="600/minute burst 15")
    for path, cost in (("/api/ten", 10), ("/api/sixteen", 16), ("/api/more", 21)):
        app.add_url_rule(path, path, require_oauth(cost=cost)(lambda: ""))
    app.add_url_rule("/api/delete", "delete", require_oauth("notes:delete", cost=21)(lambda: ""))
    app.add_url_rule("/api/user", "user", require_oauth(cost=16, max_age=60)(lambda: ""))
    app.add_url_rule("/api/anybody", "anybody", require_oauth(cost=21, max_age=60, optional=True)(lambda: ""))
    app.add_url_rule("/api/public", "public", public(limit="100/minute burst 100", cost=100)(lambda: ""))

    with pytest.raises(SettingsError) as error:
        app.test_client().get("/")

    problems = [sentence.partition(":")[0] for sentence in str(error.value).splitlines()]
    assert problems == [
        "/api/more costs 21 and can never be called with the plan free",
        "/api/more costs 21 and can never be called with the plan pro",
        "/api/delete costs 21 and can never be called with the plan pro",
        "/api/user costs 16 and can never be called by users, because of user_limit",
    ]
