"""A browser for ``$BROWSER``: signs in as the person of the environment, allows, and goes back to the app."""

from __future__ import annotations

import os
import sys

import httpx

from tests.support.user import User

if __name__ == "__main__":
    with User(os.environ["EMAIL"], os.environ["PASSWORD"]) as person:
        httpx.get(person.allow(sys.argv[1]))
