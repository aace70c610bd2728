"""Browser for ``$BROWSER``: opens a URL, signs in as ``$EMAIL`` with ``$PASSWORD``, allows, follows the redirect."""

from __future__ import annotations

import os
import sys

import httpx

from tests.support.user import User

if __name__ == "__main__":
    with User(os.environ["EMAIL"], os.environ["PASSWORD"]) as user:
        httpx.get(user.allow(sys.argv[1]))
