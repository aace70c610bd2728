"""The forms of a page, as a browser without JavaScript sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser

FieldPair = tuple[str, str]


@dataclass
class Form:
    """A form: where it goes, what it sends untouched, and what a person may press or tick."""

    action: str
    method: str
    fields: list[FieldPair] = field(default_factory=list)
    choices: list[FieldPair] = field(default_factory=list)
    checked: list[FieldPair] = field(default_factory=list)
    buttons: dict[str, FieldPair] = field(default_factory=dict)

    def has_field(self, name: str) -> bool:
        """Is there a field of this name to fill in?"""
        return any(name == known for known, _ in self.fields)

    def fill_in(self, values: Mapping[str, str], button_id: str | None = None) -> list[FieldPair]:
        """Answer what the form sends when these fields are written and the button of this id is pressed."""
        if unknown := [name for name in values if not self.has_field(name)]:
            raise AssertionError(f"no field {unknown} in the form to {self.action!r}: {self.fields}")
        pairs = [(name, values.get(name, value)) for name, value in self.fields] + self.checked
        return [*pairs, *([self.buttons[button_id]] if button_id and self.buttons[button_id][0] else [])]


def parse_forms(html: str) -> list[Form]:
    """Answer the forms of an HTML page in their order."""
    reader = _FormParser()
    reader.feed(html)
    return reader.forms


class _FormParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._current_form: Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._current_form = Form(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._current_form)
        elif self._current_form is not None and "disabled" not in given:
            self._add_field(self._current_form, tag, given)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._current_form = None

    def _add_field(self, form: Form, tag: str, attributes: dict[str, str]) -> None:
        pair = (attributes.get("name", ""), attributes.get("value", ""))
        kind = attributes.get("type", "submit" if tag == "button" else "text")
        if tag in {"button", "input"} and kind == "submit":
            form.buttons[attributes.get("id") or attributes.get("value", "")] = pair
        elif tag == "input" and kind in {"checkbox", "radio"}:
            form.choices.append(pair)
            if "checked" in attributes:
                form.checked.append(pair)
        elif tag == "input" and pair[0]:
            form.fields.append(pair)
