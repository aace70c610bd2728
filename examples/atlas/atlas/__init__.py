"""Atlas: a public API with countries, subdivisions and currencies, and with private lists of places for each user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask

from valetkey import Plan, Valetkey

from . import database, lists, world

SCOPES = {"places:read": "See your lists of places", "places:write": "Make, change and delete your lists of places"}
PLANS = {
    "free": Plan(limit="60/minute burst 30", quota="10000/month"),
    "pro": Plan(limit="600/minute burst 100", quota="1000000/month", approval="manual"),
}


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Create the app; ``valetkey serve atlas`` calls this.

    :param config: Flask configuration; ``ATLAS_DATABASE_URL`` is the database with Atlas's own data.
    """
    app = Flask(__name__)
    app.config.update(config or {})
    app.json.ensure_ascii = False  # type: ignore[attr-defined]  # JSON has names like "Åland" as they are
    app.json.sort_keys = False  # type: ignore[attr-defined]
    database.init_app(app)
    Valetkey(app, scopes=SCOPES, plans=PLANS, default_plan="free", site_name="Atlas")
    app.register_blueprint(world.api)
    app.register_blueprint(lists.api)
    return app
