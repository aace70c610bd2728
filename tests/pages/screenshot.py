"""Take the README's picture of the consent page: ``python -m tests.pages.screenshot docs/consent.png``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.pages.site import Site
from tests.support.chromium import launch_chromium
from tests.support.user import CALLBACK, EMAIL, PASSWORD
from tests.support.valetkey_server import Deployment, RunningServer

SETTINGS = {
    "site_name": "Notes",
    "scopes": {
        "profile": "See your name and picture",
        "notes:read": "Read your notes",
        "notes:write": "Change and delete your notes",
    },
}


def take_screenshot(path: Path) -> None:
    """Write a picture of the real page, as Chromium shows it to somebody who has signed in."""
    with tempfile.TemporaryDirectory() as folder:
        deployment = Deployment(Path(folder), settings=SETTINGS)
        deployment.run("init")
        deployment.create_user(EMAIL, PASSWORD)
        about = [
            "--client-id",
            "sunflower",
            "--uri",
            "https://sunflower.example",
            "--contact",
            "hello@sunflower.example",
        ]
        client = ["clients", "create", "--name", "Sunflower", "--policy", "web", "--redirect-uri", CALLBACK]
        deployment.run(*client, *about)
        with RunningServer(deployment) as server, launch_chromium() as browser:
            context = browser.new_context(viewport={"width": 720, "height": 400}, device_scale_factor=1.25)
            page = context.new_page()
            page.goto(Site(server.url, "sunflower").authorization_url(" ".join(SETTINGS["scopes"])))
            page.get_by_label("E-mail address").fill(EMAIL)
            page.get_by_label("Password").fill(PASSWORD)
            page.click("#sign-in")
            page.screenshot(path=path, full_page=True)


if __name__ == "__main__":
    take_screenshot(Path(sys.argv[1]))
