"""The name of a browser for mail to its user, such as "Firefox on Windows".

A ``User-Agent`` header is written by the caller, who may be an attacker: its text never gets into a mail, only names
from this file do.
"""

from __future__ import annotations

from .texts import BROWSER_ON_SYSTEM, UNKNOWN_BROWSER

_BROWSERS = (  # part of the header, name; the first that matches counts, as browsers also claim to be others
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iOS"),
    ("iPad", "iPadOS"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def describe_browser(user_agent: str) -> str:
    """Return the name of the browser and its operating system; ``an unknown browser`` if the header names none."""
    browser = next((name for part, name in _BROWSERS if part in user_agent), None)
    system = next((name for part, name in _SYSTEMS if part in user_agent), None)
    if browser is None:
        return UNKNOWN_BROWSER
    return BROWSER_ON_SYSTEM.format(browser=browser, system=system) if system else browser
