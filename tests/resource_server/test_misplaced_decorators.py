"""``@require_oauth`` and ``@public`` above a route decorator have no effect, and stop the app."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask_restx import Api, Resource

from valetkey import ResourceServer, SettingsError, describe, public, require_oauth
from valetkey.api_helpers import deprecated, etagged, idempotent, max_body, sparse_fields
from valetkey.resource_server.start_checks import decorator_problems

ISSUER, RESOURCE = "https://login.example", "https://api.example"


def extend(app: Flask) -> None:
    ResourceServer(app, trusted_issuers=[ISSUER], resource=RESOURCE, env_prefix=None)


def make_app() -> Flask:
    app = Flask("api")
    app.testing = True  # exceptions reach the test
    return app


def test_a_decorator_above_the_route_decorator_stops_the_app() -> None:
    app = make_app()

    @require_oauth("notes:read")
    @app.get("/api/notes")
    def notes() -> str:
        return "secret"

    @public(limit="1/minute")
    @app.get("/api/status")
    def status() -> str:
        return ""

    @require_oauth("notes:write")
    @app.post("/api/notes")
    @require_oauth("notes:read")
    def write() -> str:
        return ""

    @require_oauth
    @app.before_request
    def require_a_token() -> None: ...

    extend(app)

    with pytest.raises(SettingsError) as refused:
        app.test_client().get("/api/notes", base_url=RESOURCE)

    rest = "has no effect above the decorator that registers the function, such as @app.get: write it below"
    assert [line.partition(", next")[0] for line in str(refused.value).splitlines()] == [
        f"/api/notes: @require_oauth {rest}",
        f"/api/status: @public {rest}",
        f"/api/notes: @require_oauth {rest}",
        f"require_a_token(): @require_oauth {rest}",
    ]


DECORATORS: list[Callable[[Any], Any]] = [
    require_oauth,
    require_oauth("notes:read"),
    public,
    public(limit="1/minute"),
    idempotent,
    etagged,
    max_body(10),
    sparse_fields("id"),
    deprecated(since="2026-01-01"),
    describe(status=200),
]


@pytest.mark.parametrize("decorate", DECORATORS)
def test_a_class_cannot_be_decorated(decorate: Callable[[Any], Any]) -> None:
    api = Api(make_app())

    class Notes(Resource):  # type: ignore[misc]  # Flask-RESTX has no types
        def get(self) -> str:
            return "secret"

    with pytest.raises(ValueError, match=r"the class Notes cannot be decorated: list the decorator in .* `decorators`"):
        decorate(api.route("/api/notes")(Notes))


@pytest.mark.parametrize("decorate", DECORATORS)
def test_a_class_that_is_called_as_a_view_can_be_decorated(decorate: Callable[[Any], Any]) -> None:
    assert callable(decorate(dict))


def test_the_decorators_of_a_class_take_effect() -> None:
    app = make_app()

    class Notes(Resource):  # type: ignore[misc]  # Flask-RESTX has no types
        decorators = [require_oauth("notes:read")]  # noqa: RUF012  # as Flask's documentation writes it

        def get(self) -> str:
            return "secret"

    Api(app).route("/api/notes")(Notes)
    extend(app)

    assert app.test_client().get("/api/notes", base_url=RESOURCE).status_code == 401


def test_a_decorator_above_a_route_decorator_of_a_framework_that_wraps_the_view_stops_the_app() -> None:
    app = make_app()

    def route(view: Callable[[], str]) -> Callable[[], str]:
        app.add_url_rule("/api/notes", view_func=functools.wraps(view)(lambda: view()))
        return view

    @require_oauth("notes:read")
    @route
    def notes() -> str:
        return "secret"

    extend(app)

    with pytest.raises(SettingsError, match="/api/notes: @require_oauth has no effect above"):
        app.test_client().get("/api/notes", base_url=RESOURCE)


def view_of_several_apps() -> str:
    return "secret"


def test_a_function_may_have_a_decorator_in_another_app_only() -> None:
    guarded, open_app = make_app(), make_app()
    guarded.add_url_rule("/api/notes", view_func=require_oauth("notes:read")(view_of_several_apps))
    guarded.add_url_rule("/api/lambda", "lambda", require_oauth("notes:read")(view := lambda: "secret"))
    open_app.add_url_rule("/api/notes", view_func=view_of_several_apps)
    open_app.add_url_rule("/api/lambda", "lambda", view)
    extend(open_app)

    responses = [open_app.test_client().get(f"/api/{name}", base_url=RESOURCE) for name in ("notes", "lambda")]

    assert [response.text for response in responses] == ["secret"] * 2


class Caching:
    """A decorator that is a class, and hides the view."""

    def __init__(self, view: Callable[[], str]) -> None:
        self.view = view

    def __call__(self) -> str:
        return self.view()


def copy_attributes(view: Callable[[], str]) -> Callable[[], str]:
    """Decorate a view without ``functools.wraps``: the copied ``__wrapped__`` is not the function that is called."""

    def call() -> str:
        return view()

    vars(call).update(vars(view))
    return call


def test_a_view_may_be_registered_without_its_decorator_beside_a_route_with_it() -> None:
    """A page and an API route, for example."""
    app = make_app()

    def notes() -> str:
        return "notes"

    app.add_url_rule("/notes", view_func=notes)
    guarded = require_oauth("notes:read")(notes)
    app.add_url_rule("/api/notes", "api", functools.wraps(guarded)(lambda: guarded()))
    app.add_url_rule("/api/write", "write", require_oauth("notes:write")(require_oauth("notes:read")(notes)))
    app.before_request(require_oauth(optional=True)(lambda: None))

    assert decorator_problems(app) == []


@pytest.mark.parametrize("hide", [Caching, functools.partial, copy_attributes])
def test_a_decorator_that_is_called_is_not_misplaced(hide: Callable[[Any], Any]) -> None:
    """The view is without a decorator in one route, and another decorator hides it in the other."""
    app = make_app()

    def notes() -> str:
        return "notes"

    app.add_url_rule("/notes", view_func=notes)
    app.add_url_rule("/api/notes", "api", hide(require_oauth(notes)))

    assert decorator_problems(app) == []


def test_a_function_may_be_decorated_for_another_configuration_of_the_app() -> None:
    app = make_app()

    def notes() -> str:
        return "notes"

    guarded = require_oauth(notes)
    app.add_url_rule("/api/notes", view_func=guarded if app.config.get("IS_OPEN") else notes)

    assert decorator_problems(app) == []


@pytest.mark.parametrize("hide", [Caching, functools.partial, copy_attributes])
def test_a_decorator_below_another_one_that_hides_the_view_is_not_misplaced(hide: Callable[[Any], Any]) -> None:
    app = make_app()

    @hide
    @require_oauth("notes:read")
    def notes() -> str:
        return "notes"

    app.add_url_rule("/api/notes", "notes", notes)

    assert decorator_problems(app) == []


@pytest.mark.parametrize(
    "definition",
    [
        "@require_oauth\n@blueprint.get('/api/notes')\ndef notes(): ...",
        "@require_oauth(\n  'notes:read',\n)\n@blueprint.get('/api/notes')\ndef notes(): return ''",
        "@functools.lru_cache\n@require_oauth\n@blueprint.get('/api/notes')\nasync def notes(): ...",
        "@require_oauth\n@describe(status=201)\n@blueprint.get('/api/notes')\ndef notes(): ...",
        "class Api:\n  @require_oauth\n  @blueprint.get('/api/notes')\n  def notes(): ...",
        "def register():\n  @require_oauth\n  @blueprint.get('/api/notes')\n  def notes(): ...\nregister()",
        "for name in ['notes']:\n  @require_oauth\n  @blueprint.get('/api/' + name)\n  def notes(): ...",
    ],
)
def test_a_decorator_above_the_route_decorator_of_a_blueprint_is_misplaced(definition: str) -> None:
    app, blueprint = make_app(), Blueprint("api", __name__)
    names = {"blueprint": blueprint, "require_oauth": require_oauth, "describe": describe, "functools": functools}
    exec(definition, names)
    app.register_blueprint(blueprint)

    assert [problem.partition(" has ")[0] for problem in decorator_problems(app)] == ["/api/notes: @require_oauth"]
