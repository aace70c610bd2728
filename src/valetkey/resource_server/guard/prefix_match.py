"""Finds URL rules that can match a path below a prefix, although they are not written below it, as ``/<path:page>``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from werkzeug.routing import Map, Rule

_CONVERTER = re.compile(r"<(?:([A-Za-z_]\w*)(?:\((.*?)\))?:)?[A-Za-z_]\w*>")  # <name>, <int:name>, <any(a,b):name>


def can_match_below(rule: str, prefix: str, converters: Mapping[str, Any]) -> bool:
    """Return whether a URL rule can match a path that is ``prefix`` or below it.

    The beginning of the rule is matched against the prefix. A converter that is not one of Werkzeug's may match
    anything, so the answer is then yes if the text before it fits.

    :param rule: text of the rule, such as ``/<lang>/about``.
    :param prefix: path such as ``/api``.
    :param converters: the converters of the app's URL map, by name.
    """
    first_converter = _CONVERTER.search(rule)
    static_head = rule if first_converter is None else rule[: first_converter.start()]
    if first_converter is None or not f"{prefix}/".startswith(static_head):
        return rule == prefix or rule.startswith(f"{prefix}/")
    head = ""
    for token in _split(rule):
        converter = _CONVERTER.fullmatch(token)
        if token == "/" and _matches(head, prefix):
            return True
        if converter is not None and _is_own_converter(converter[1] or "default", converters):
            return any(_matches(head, f"{prefix}/"[:length]) for length in range(1, len(prefix) + 2))
        head += token
        if converter is not None and _matches(head, f"{prefix}/x"):  # it matches slashes too
            return True
    return _matches(head, prefix)


def _split(rule: str) -> Iterator[str]:
    """Yield the tokens of a rule: slashes, converters, and the text between them."""
    position = 0
    for converter in _CONVERTER.finditer(rule):
        yield from re.findall(r"/|[^/]+", rule[position : converter.start()])
        yield converter[0]
        position = converter.end()
    yield from re.findall(r"/|[^/]+", rule[position:])


def _is_own_converter(name: str, converters: Mapping[str, Any]) -> bool:
    return converters.get(name) is not Map.default_converters.get(name)


def _matches(rule: str, path: str) -> bool:
    return rule != "" and Map([Rule(rule, endpoint="probe")]).bind("localhost").test(path)
