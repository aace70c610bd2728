"""``iter_routes``: the routes and protections of an app, which ``valetkey check`` and the API reference use."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask
from flask.views import MethodView
from flask_restful import Api, Resource

from valetkey import public, require_oauth
from valetkey.resource_server.routes import Route, iter_routes


def _routes(app: Flask) -> dict[tuple[str, str], Route]:
    return {(method, route.path): route for route in iter_routes(app) for method in route.methods}


def test_a_function_is_one_route_with_its_methods_and_scopes() -> None:
    app = Flask("api")

    @app.route("/api/notes/<int:note_id>", methods=["GET", "POST"])
    @require_oauth("notes:read")
    def notes(note_id: int) -> str:
        return ""

    route = _routes(app)["POST", "/api/notes/<int:note_id>"]
    assert (route.endpoint, route.methods, route.scopes) == ("notes", ("GET", "POST"), {"notes:read"})
    assert route.is_below("/api")
    assert not route.is_below("/ap")


def test_a_class_based_view_has_a_route_per_method_with_its_own_protection() -> None:
    app, blueprint = Flask("api"), Blueprint("notes", __name__, url_prefix="/api")

    class Notes(MethodView):
        @public
        def get(self) -> str:
            return ""

        @require_oauth("notes:write")
        def post(self) -> str:
            return ""

        def delete(self) -> str:
            return ""

    blueprint.add_url_rule("/notes", view_func=Notes.as_view("all"))
    app.register_blueprint(blueprint)
    routes = _routes(app)
    read, write, delete = (routes[method, "/api/notes"].protection for method in ("GET", "POST", "DELETE"))
    assert read is not None and read.is_public
    assert write is not None and write.scope_alternatives == ({"notes:write"},)
    assert delete is None


def test_a_public_method_does_not_open_a_class_that_requires_a_token() -> None:
    app = Flask("api")

    class Notes(MethodView):
        decorators = (require_oauth("notes:read"),)

        @public
        def get(self) -> str:
            return ""

    app.add_url_rule("/api/notes", view_func=Notes.as_view("notes"))
    protection = _routes(app)["GET", "/api/notes"].protection
    assert protection is not None and not protection.is_public


def test_routes_of_flask_restful_have_the_protection_of_their_method_decorators() -> None:
    app = Flask("api")

    class Note(Resource):  # type: ignore[misc]  # Flask-RESTful has no types
        method_decorators = {"get": [require_oauth("notes:read")]}  # noqa: RUF012  # as Flask-RESTful's documentation writes it

        def get(self, note_id: int) -> Any:
            return {}

        def put(self, note_id: int) -> Any:
            return {}

    Api(app).add_resource(Note, "/api/notes/<int:note_id>")
    routes = _routes(app)
    assert routes["GET", "/api/notes/<int:note_id>"].scopes == {"notes:read"}
    assert routes["PUT", "/api/notes/<int:note_id>"].protection is None
