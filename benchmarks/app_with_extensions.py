"""``app.py`` with extensions that many apps have: Flask-Login and Flask-WTF's protection against CSRF."""

from __future__ import annotations

import os

from flask_login import LoginManager
from flask_wtf import CSRFProtect

from benchmarks.app import app

__all__ = ["app"]

app.config["SECRET_KEY"] = os.urandom(32)
LoginManager(app).user_loader(lambda user_id: None)
CSRFProtect(app)
