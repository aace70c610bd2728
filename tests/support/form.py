"""The forms of a page, as a browser without JavaScript sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser

Pair = tuple[str, str]


@dataclass
class Form:
    """A form: where it goes, what it sends untouched, and what a person may press or tick."""

    action: str
    method: str
    values: list[Pair] = field(default_factory=list)
    boxes: list[Pair] = field(default_factory=list)
    ticked: list[Pair] = field(default_factory=list)
    buttons: dict[str, Pair] = field(default_factory=dict)

    def has_field(self, name: str) -> bool:
        """Is there a field of this name to fill in?"""
        return any(name == known for known, _ in self.values)

    def filled(self, written: Mapping[str, str], press: str | None = None) -> list[Pair]:
        """Answer what the form sends when these fields are written and the button of this id is pressed."""
        if unknown := [name for name in written if not self.has_field(name)]:
            raise AssertionError(f"no field {unknown} in the form to {self.action!r}: {self.values}")
        pairs = [(name, written.get(name, value)) for name, value in self.values] + self.ticked
        return [*pairs, *([self.buttons[press]] if press and self.buttons[press][0] else [])]


def read_forms(page: str) -> list[Form]:
    """Answer the forms of an HTML page in their order."""
    reader = _FormReader()
    reader.feed(page)
    return reader.forms


class _FormReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._open: Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._open)
        elif self._open is not None and "disabled" not in given:
            self._read_field(self._open, tag, given)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None

    def _read_field(self, form: Form, tag: str, given: dict[str, str]) -> None:
        pair = (given.get("name", ""), given.get("value", ""))
        kind = given.get("type", "submit" if tag == "button" else "text")
        if tag in {"button", "input"} and kind == "submit":
            form.buttons[given.get("id") or given.get("value", "")] = pair
        elif tag == "input" and kind in {"checkbox", "radio"}:
            form.boxes.append(pair)
            if "checked" in given:
                form.ticked.append(pair)
        elif tag == "input" and pair[0]:
            form.values.append(pair)
