"""Exclude Valetkey's routes from the OpenAPI document of an APIFlask app."""

from __future__ import annotations

from flask import Flask


def hide_from_apiflask(app: Flask) -> None:
    """Exclude Valetkey's blueprints from the OpenAPI document of an APIFlask app.

    APIFlask reads the attribute ``enable_openapi`` of every blueprint; without APIFlask it has no effect.
    """
    for name, blueprint in app.blueprints.items():
        if name.startswith("valetkey_"):
            vars(blueprint)["enable_openapi"] = False
