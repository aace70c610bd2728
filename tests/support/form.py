"""The forms of an HTML page, as a browser without JavaScript submits them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser

FieldPair = tuple[str, str]


@dataclass
class Form:
    """An HTML form.

    :ivar action: the URL to which it is submitted, as written in the page.
    :ivar method: ``get`` or ``post``.
    :ivar fields: name and value of each input field, as it is on the page.
    :ivar choices: name and value of each checkbox and radio button.
    :ivar checked: the choices that are ticked.
    :ivar buttons: name and value of each submit button, by its id (or by its value, if it has no id).
    """

    action: str
    method: str
    fields: list[FieldPair] = field(default_factory=list)
    choices: list[FieldPair] = field(default_factory=list)
    checked: list[FieldPair] = field(default_factory=list)
    buttons: dict[str, FieldPair] = field(default_factory=dict)

    def has_field(self, name: str) -> bool:
        """Return whether the form has an input field of this name."""
        return any(name == field_name for field_name, _ in self.fields)

    def fill_in(self, values: Mapping[str, str], button_id: str | None = None) -> list[FieldPair]:
        """Return what the form sends if these fields are filled in and the button with this id is pressed.

        :raises AssertionError: if the form lacks one of the fields.
        """
        if unknown := [name for name in values if not self.has_field(name)]:
            raise AssertionError(f"no field {unknown} in the form to {self.action!r}: {self.fields}")
        pairs = [(name, values.get(name, value)) for name, value in self.fields] + self.checked
        return [*pairs, *([self.buttons[button_id]] if button_id and self.buttons[button_id][0] else [])]


def parse_forms(html: str) -> list[Form]:
    """Return the forms of an HTML page in their order."""
    parser = _FormParser()
    parser.feed(html)
    return parser.forms


class _FormParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._current_form: Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._current_form = Form(attributes.get("action", ""), attributes.get("method", "get").lower())
            self.forms.append(self._current_form)
        elif self._current_form is not None and "disabled" not in attributes:
            self._add_field(self._current_form, tag, attributes)

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
