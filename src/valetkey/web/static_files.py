"""Blueprints of pages with static files, and the files that every page of Valetkey uses: style sheet and logo."""

from __future__ import annotations

from typing import cast

from flask import Blueprint, Response, request
from werkzeug.utils import send_from_directory


class PageBlueprint(Blueprint):
    """Blueprint of pages, whose static files are sent whatever ``USE_X_SENDFILE`` of the host app is.

    Browsers ask again each time whether a file has changed, whatever ``SEND_FILE_MAX_AGE_DEFAULT`` is.
    """

    def send_static_file(self, filename: str) -> Response:
        return cast(Response, send_from_directory(str(self.static_folder), filename, request.environ))


blueprint = PageBlueprint("valetkey_web", __name__, static_folder="static")
