"""``protect_by_default`` and ``protect`` hold for every URL and every method that reaches a view."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, request
from flask.testing import FlaskClient
from flask.views import MethodView, View
from flask_restful import Api, Resource
from werkzeug.routing import BaseConverter, Map, Rule

from tests.support.app import MakeApp
from valetkey import protect, public, require_oauth
from valetkey.resource_server.guard.prefix_match import can_match_below
from valetkey.testing import mint_token


def secret(**_: Any) -> Response:
    return Response("secret")


class Everything(BaseConverter):
    regex = ".*"
    part_isolating = False


@pytest.fixture
def app(make_app: MakeApp, sqlite_store_url: str) -> Flask:
    """An app in which undecorated routes below ``/api`` are denied."""
    return make_app(sqlite_store_url, protect_by_default=True)


def respond(app: Flask, path: str, method: str = "GET") -> int:
    """Return the status of the response. The path is sent as it is, with its first slashes."""
    return app.test_client().open("/", method=method, environ_overrides={"PATH_INFO": path}).status_code


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("/<path:page>", "/api/secret"),
        ("/<path:page>", "/api"),
        ("/<path:page>", "//api/secret"),
        ("/<path:page>", "/./api/secret"),
        ("/<path:page>", "/other/../api/secret"),
        ("/<name>", "/api"),
        ("/<section>/secret", "/api/secret"),
        ("/<any(api, web):section>/secret", "/api/secret"),
        ("/<everything:rest>", "/api/secret"),
        ("/a<path:rest>", "/api/secret"),
        ("/api/<path:rest>", "/api/a/b"),
        ("/api/secret/", "/api/secret/"),
        ("/api/secret", "//api/secret"),
        ("/api//secret", "/api//secret"),
    ],
)
def test_an_undecorated_rule_that_matches_below_the_prefix_is_denied_there(app: Flask, rule: str, path: str) -> None:
    app.url_map.converters["everything"] = Everything
    app.add_url_rule(rule, "secret", secret, merge_slashes=False)

    assert respond(app, path) == 401


@pytest.mark.parametrize("path", ["/api%2Fsecret", "/%61pi/secret"])
def test_an_encoded_path_is_denied(app: Flask, path: str) -> None:
    app.add_url_rule("/<path:page>", "secret", secret)

    assert app.test_client().get(path).status_code == 401


def test_an_undecorated_rule_is_served_outside_of_the_prefix(app: Flask) -> None:
    app.add_url_rule("/<path:page>", "pages", secret)

    assert [respond(app, path) for path in ("/about", "/apiary", "/about/api", "/web/../about")] == [200] * 4


def test_a_rule_of_a_host_or_subdomain_is_denied(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, protect_by_default=True)
    app.config["SERVER_NAME"] = "shop.example"
    app.subdomain_matching = True
    app.add_url_rule("/api/secret", "secret", secret, subdomain="<tenant>")

    response = app.test_client().get("/api/secret", base_url="http://one.shop.example")

    assert response.status_code == 401


def test_a_rule_with_defaults_is_denied(app: Flask) -> None:
    app.add_url_rule("/api/all/", "secret", secret, defaults={"page": 1})

    assert respond(app, "/api/all/") == 401


def test_a_rule_that_was_added_to_the_url_map_directly_is_denied_for_every_method(app: Flask) -> None:
    app.url_map.add(Rule("/api/secret", endpoint="secret"))
    app.endpoint("secret")(secret)

    assert {respond(app, "/api/secret", method) for method in ("GET", "HEAD", "OPTIONS", "PURGE")} == {401}


def test_a_view_that_was_added_after_the_first_request_is_denied(app: Flask) -> None:
    respond(app, "/api/public")

    app.url_map.add(Rule("/api/secret", endpoint="secret"))
    app.view_functions["secret"] = secret

    assert respond(app, "/api/secret") == 401


def test_a_view_that_was_replaced_after_the_first_request_is_denied(app: Flask) -> None:
    assert respond(app, "/api/public") == 200

    app.view_functions["public_api"] = secret

    assert respond(app, "/api/public") == 401


def test_an_endpoint_with_a_name_like_valetkeys_own_is_denied(app: Flask) -> None:
    shop = Blueprint("valetkey_shop", "shop")
    shop.add_url_rule("/api/secret", "secret", secret)
    app.register_blueprint(shop)
    app.add_url_rule("/api/more", "valetkey_more", secret)

    assert [respond(app, path) for path in ("/api/secret", "/api/more")] == [401, 401]


def test_static_files_below_the_prefix_are_denied_unless_they_are_public(app: Flask) -> None:
    app.add_url_rule("/api/static/<path:filename>", "files", secret)
    assert respond(app, "/api/static/secret.txt") == 401

    app.view_functions["files"] = public(app.view_functions["files"])

    assert respond(app, "/api/static/secret.txt") == 200


def test_a_public_route_does_not_open_another_route_of_the_same_function(app: Flask) -> None:
    app.add_url_rule("/api/open", "open", public(secret))
    app.add_url_rule("/api/secret", "secret", secret)

    assert [respond(app, path) for path in ("/api/open", "/api/secret")] == [200, 401]


def test_a_view_that_only_looks_decorated_is_denied(app: Flask) -> None:
    class Anything:
        __name__ = "anything"

        def __getattr__(self, name: str) -> str:
            return "of any name"

        def __call__(self) -> Response:
            return secret()

    app.view_functions["secret"] = Anything()
    app.url_map.add(Rule("/api/secret", endpoint="secret", methods=["GET"]))

    assert respond(app, "/api/secret") == 401


class OwnHead(MethodView):
    """HEAD has its own method, which nothing decorates."""

    @public
    def get(self) -> Response:
        return Response("public")

    def head(self) -> Response:
        return secret()


class OwnOptions(MethodView):
    @public
    def get(self) -> Response:
        return Response("public")

    def options(self) -> Response:
        return secret()


class Dispatching(MethodView):
    """Calls another method than the one that is decorated."""

    @public
    def get(self) -> Response:
        return Response("public")

    def dispatch_request(self, **_: Any) -> Any:
        return secret()


class Plain(View):
    methods = ("GET", "POST")

    @public
    def get(self) -> Response:
        return Response("public")

    def dispatch_request(self) -> Any:
        return secret()


class Child(OwnHead):
    def get(self) -> Response:
        return secret()


class Reading(MethodView):
    """Answers every attribute itself."""

    @public
    def get(self) -> Response:
        return Response("public")

    def __getattribute__(self, name: str) -> Any:
        return secret if name == "get" else super().__getattribute__(name)


class MadeElsewhere(MethodView):
    """Its instances are of another class."""

    def __new__(cls) -> Any:
        return object.__new__(Child)

    @public
    def get(self) -> Response:
        return Response("public")


class SetsMethod(MethodView):
    """Replaces a decorated method in its instances."""

    def __init__(self) -> None:
        self._set_up()

    def _set_up(self) -> None:
        self.get = secret  # type: ignore[method-assign]  # what this test is about

    @public
    def get(self) -> Response:
        return Response("public")


class SetsAnyAttribute(MethodView):
    def __init__(self, **attributes: Any) -> None:
        for name, value in (attributes or {"get": secret}).items():
            setattr(self, name, value)

    @public
    def get(self) -> Response:
        return Response("public")


class SetsDispatch(SetsAnyAttribute):
    def __init__(self) -> None:
        vars(self).update(dispatch_request=secret)


class WithInit(MethodView):
    """Sets an attribute that is not a method."""

    def __init__(self) -> None:
        self.text = "public"

    @public
    def get(self) -> Response:
        return Response(self.text)


class NamedLikeFlask(MethodView):
    """Dispatches by itself, in a function that a decorator named like Flask's."""

    @functools.wraps(MethodView.dispatch_request)
    def dispatch_request(self, **_: Any) -> Any:
        return secret()

    @public
    def get(self) -> Response:
        return Response("public")


class WithIgnoredDecorators(MethodView):
    """Flask knows no ``method_decorators``: only Flask-RESTful applies them."""

    method_decorators = (require_oauth,)

    def get(self) -> Response:
        return secret()


class Shared(MethodView):
    init_every_request = False

    @public
    def get(self) -> Response:
        return Response("public")

    def delete(self) -> Response:
        return secret()


@pytest.mark.parametrize(
    ("view_class", "method"),
    [
        (OwnHead, "HEAD"),
        (OwnOptions, "OPTIONS"),
        (Dispatching, "GET"),
        (Plain, "GET"),
        (Plain, "POST"),
        (Child, "GET"),
        (Reading, "GET"),
        (MadeElsewhere, "GET"),
        (SetsMethod, "GET"),
        (SetsAnyAttribute, "GET"),
        (SetsDispatch, "GET"),
        (NamedLikeFlask, "GET"),
        (WithIgnoredDecorators, "GET"),
        (Shared, "DELETE"),
    ],
)
def test_an_undecorated_method_of_a_class_is_denied(app: Flask, view_class: type[View], method: str) -> None:
    app.add_url_rule("/api/secret", view_func=view_class.as_view("secret"))

    assert respond(app, "/api/secret", method) == 401


def test_a_class_that_sets_other_attributes_in_init_keeps_its_decorators(app: Flask) -> None:
    app.add_url_rule("/api/text", view_func=WithInit.as_view("text"))

    assert respond(app, "/api/text", "GET") == 200


@pytest.mark.parametrize("decorators", [(require_oauth,), {"get": [require_oauth]}], ids=["sequence", "by method"])
def test_head_of_a_flask_restful_resource_is_guarded_like_get(app: Flask, decorators: Any) -> None:
    """Flask-RESTful applies the decorators of a mapping's ``get`` to GET, but not to HEAD, which calls ``get`` too."""
    calls = []

    class Notes(Resource):
        method_decorators = decorators

        def get(self) -> Response:
            calls.append(request.method)
            return secret()

    Api(app).add_resource(Notes, "/api/notes")

    assert [respond(app, "/api/notes", method) for method in ("GET", "HEAD")] == [401, 401]
    assert calls == []


@pytest.mark.parametrize(("view_class", "method"), [(OwnHead, "GET"), (OwnOptions, "GET"), (Shared, "HEAD")])
def test_a_public_method_of_a_class_is_served(app: Flask, view_class: type[View], method: str) -> None:
    app.add_url_rule("/api/public-class", view_func=view_class.as_view("secret"))

    assert respond(app, "/api/public-class", method) == 200


def test_a_method_that_was_added_to_a_class_later_is_denied(app: Flask) -> None:
    class Notes(MethodView):
        @public
        def get(self) -> Response:
            return Response("public")

    app.add_url_rule("/api/notes", view_func=Notes.as_view("notes"), methods=["GET", "PUT"])
    assert respond(app, "/api/notes") == 200

    Notes.put = secret  # type: ignore[attr-defined]

    assert respond(app, "/api/notes", "PUT") == 401


def test_a_decorated_dispatch_request_declares_the_class(app: Flask) -> None:
    class Notes(MethodView):
        @public
        def dispatch_request(self, **kwargs: Any) -> Any:
            return super().dispatch_request(**kwargs)

        def get(self) -> Response:
            return Response("public")

        @require_oauth
        def post(self) -> Response:
            return secret()

    app.add_url_rule("/api/notes", view_func=Notes.as_view("notes"))

    assert [respond(app, "/api/notes", method) for method in ("GET", "POST")] == [200, 401]


Change = Callable[[Flask, Blueprint], None]


def _add_later(app: Flask, blueprint: Blueprint) -> None:
    app.url_map.add(Rule("/elsewhere", endpoint="blue.secret"))
    app.view_functions["blue.secret"] = secret


def _replace_view(app: Flask, blueprint: Blueprint) -> None:
    app.view_functions["blue.first"] = secret
    app.url_map.add(Rule("/elsewhere", endpoint="blue.first"))


def _add_class(app: Flask, blueprint: Blueprint) -> None:
    app.view_functions["blue.first"] = Dispatching.as_view("first")
    app.url_map.add(Rule("/elsewhere", endpoint="blue.first"))


@pytest.mark.parametrize("change", [_add_later, _replace_view, _add_class])
def test_views_of_a_protected_blueprint_are_guarded_however_they_are_added(
    make_app: MakeApp, sqlite_store_url: str, change: Change
) -> None:
    app = make_app(sqlite_store_url)
    blueprint = protect(Blueprint("blue", __name__), "notes:read")
    blueprint.add_url_rule("/first", "first", secret)
    app.register_blueprint(blueprint, url_prefix="/<path:anywhere>")
    assert respond(app, "/x/y/first") == 401

    change(app, blueprint)

    assert respond(app, "/elsewhere") == 401


def test_a_blueprint_that_is_registered_twice_is_guarded_under_both_names(
    make_app: MakeApp, sqlite_store_url: str
) -> None:
    app = make_app(sqlite_store_url)
    blueprint = protect(Blueprint("blue", __name__))
    blueprint.add_url_rule("/first", "first", secret)
    app.register_blueprint(blueprint, url_prefix="/one")
    app.register_blueprint(blueprint, url_prefix="/two", name="second")

    assert [respond(app, path) for path in ("/one/first", "/two/first")] == [401, 401]


def test_a_method_that_a_hook_changed_is_the_one_that_is_checked(app: Flask) -> None:
    """A host may let clients send DELETE as POST; Flask then calls the method of the changed request."""
    app.add_url_rule("/api/shared", view_func=Shared.as_view("shared"))

    @app.before_request
    def override_method() -> None:
        request.method = request.headers.get("X-Method", request.method)

    client: FlaskClient = app.test_client()

    assert client.get("/api/shared").status_code == 200
    assert client.get("/api/shared", headers={"X-Method": "DELETE"}).status_code == 401


def _dispatch_alone(app: Flask) -> Callable[..., Any]:
    """Return a dispatcher that calls the view itself, as Flask-DebugToolbar's does."""

    def dispatch() -> Any:
        assert request.url_rule is not None
        return app.view_functions[request.url_rule.endpoint](**(request.view_args or {}))

    return dispatch


def _dispatch_with_previous(app: Flask) -> Callable[..., Any]:
    previous = app.dispatch_request
    return lambda: previous()


@pytest.mark.parametrize("make_dispatcher", [_dispatch_alone, _dispatch_with_previous])
def test_a_dispatcher_of_another_extension_is_guarded_and_calls_are_counted_once(
    make_app: MakeApp, sqlite_store_url: str, make_dispatcher: Callable[[Flask], Callable[..., Any]]
) -> None:
    app = make_app(sqlite_store_url, protect_by_default=True)
    blueprint = protect(Blueprint("blue", __name__), limit="2/hour burst 2")
    blueprint.add_url_rule("/blue", "secret", secret)
    app.register_blueprint(blueprint)
    app.add_url_rule("/api/secret", "secret", secret)

    app.dispatch_request = make_dispatcher(app)  # type: ignore[method-assign]  # what the extension does

    assert [respond(app, path) for path in ("/api/secret", "/blue", "/api/public")] == [401, 401, 200]
    headers = {"Authorization": f"Bearer {mint_token(app)}"}
    assert [app.test_client().get("/blue", headers=headers).status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize(
    ("rule", "prefix", "expected"),
    [
        ("/<path:page>", "/api", True),
        ("/<name>", "/api", True),
        ("/<name>", "/api/v1", False),
        ("/<name>/about", "/api", True),
        ("/<a>/<b>", "/api/v1", True),
        ("/<int:number>/about", "/api", False),
        ("/<any(api, web):section>/x", "/api", True),
        ("/<any(de, en):lang>/x", "/api", False),
        ("/<everything:rest>", "/api", True),
        ("/<lang>/<everything:rest>", "/api", True),
        ("/files/<everything:rest>", "/api", False),
        ("/files/<path:name>", "/api", False),
        ("/a<path:rest>", "/api", True),
        ("/<path:rest>x/y", "/api", True),
        ("/<name>x", "/api", False),
        ("/about", "/api", False),
        ("/api/notes", "/api", True),
    ],
)
def test_rules_that_can_match_below_the_prefix_are_found(rule: str, prefix: str, *, expected: bool) -> None:
    converters = {**Map.default_converters, "everything": Everything}

    assert can_match_below(rule, prefix, converters) is expected
