"""Take the screenshot of the consent page for the README: ``python -m tests.pages.screenshot docs/consent.png``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.pages.site_under_test import Site
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
    """Write a screenshot of the consent page, as Chromium shows it after sign-in."""
    with tempfile.TemporaryDirectory() as folder:
        deployment = Deployment(Path(folder), settings=SETTINGS)
        deployment.run("init")
        deployment.create_user(EMAIL, PASSWORD)
        command = ["clients", "create", "--name", "Sunflower", "--policy", "web", "--redirect-uri", CALLBACK]
        command += ["--client-id", "sunflower", "--uri", "https://sunflower.example"]
        deployment.run(*command, "--contact", "hello@sunflower.example")
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
