"""What differs between two JSON Schemas, for whoever sends such values and for whoever reads them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_Part = Mapping[str, Any]
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_DEEPEST = 8


class Schemas:
    """The schemas of a document, references followed."""

    def __init__(self, document: _Part) -> None:
        self._components: _Part = document.get("components", {}).get("schemas", {})

    def resolve(self, schema: _Part) -> _Part:
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        for _ in range(_DEEPEST):
            if not name:
                break
            schema = self._components.get(name, {})
            name = str(schema.get("$ref", "")).rpartition("/")[2]
        if len(schema.get("allOf", ())) == 1:
            return {**schema, **self.resolve(schema["allOf"][0])}
        return schema

    def kinds(self, schema: _Part) -> frozenset[str]:
        """The types of value that may be; empty: any."""
        schema = self.resolve(schema)
        choices = schema.get("anyOf") or schema.get("oneOf")
        if choices:
            found = [self.kinds(one) for one in choices]
            return frozenset().union(*found) if all(found) else frozenset()
        told = schema.get("type", ())
        kinds = {told} if isinstance(told, str) else set(told)
        return frozenset(kinds | ({"null"} if schema.get("nullable") else set()))


def sent_by_callers(
    told: str, old: Schemas, before: _Part, new: Schemas, after: _Part, depth: int = 0
) -> Iterator[str]:
    """Values that were taken and are not any more.

    :param told: what the schema is of, for the sentences.
    """
    was, now = old.resolve(before), new.resolve(after)
    yield from _kinds_lost(told, old.kinds(was), new.kinds(now), "takes")
    yield from _bounds(told, was, now)
    if depth >= _DEEPEST:
        return
    known = was.get("properties", {})
    for name in now.get("required", ()):
        if name not in was.get("required", ()):
            words = "is required now" if name in known else "is new and required"
            yield f"the member {name} of {told} {words}"
    for name, one in now.get("properties", {}).items():
        if name in known:
            yield from sent_by_callers(f"the member {name} of {told}", old, known[name], new, one, depth + 1)
    if now.get("additionalProperties") is False:
        for name in known.keys() - now.get("properties", {}).keys():
            yield f"the member {name} of {told} is not taken any more"
    if "items" in was and "items" in now:
        yield from sent_by_callers(f"an item of {told}", old, was["items"], new, now["items"], depth + 1)


def read_by_callers(
    told: str, old: Schemas, before: _Part, new: Schemas, after: _Part, depth: int = 0
) -> Iterator[str]:
    """What answers held and do not any more, and values that were never there before."""
    was, now = old.resolve(before), new.resolve(after)
    yield from _kinds_lost(told, new.kinds(now), old.kinds(was), "may be")
    if depth >= _DEEPEST:
        return
    members = now.get("properties", {})
    for name, one in was.get("properties", {}).items():
        member = f"the member {name} of {told}"
        if name not in members:
            yield f"{member} is gone"
            continue
        if name in was.get("required", ()) and name not in now.get("required", ()):
            yield f"{member} may be missing now"
        yield from read_by_callers(member, old, one, new, members[name], depth + 1)
    if "items" in was and "items" in now:
        yield from read_by_callers(f"an item of {told}", old, was["items"], new, now["items"], depth + 1)


def _kinds_lost(told: str, wide: frozenset[str], narrow: frozenset[str], verb: str) -> Iterator[str]:
    """For what is sent: types that the new schema lacks; for what is read, turned round: types that it adds."""
    if "number" in narrow:
        narrow |= {"integer"}  # each integer is a number
    if not narrow or (narrow >= wide and wide):
        return
    lost = sorted(wide - narrow)
    if verb == "takes":
        yield f"{told} must be {' or '.join(sorted(narrow))} now, not {' or '.join(lost) or 'any value'}"
    else:
        yield f"{told} may be {' or '.join(lost) or 'any value'} now, not only {' or '.join(sorted(narrow))}"


def _bounds(told: str, was: _Part, now: _Part) -> Iterator[str]:
    for name in _UPPER:
        if name in now and (name not in was or now[name] < was[name]):
            yield f"{told} has a lower {name} now, {now[name]}"
    for name in _LOWER:
        if name in now and (name not in was or now[name] > was[name]):
            yield f"{told} has a higher {name} now, {now[name]}"
    if "pattern" in now and now["pattern"] != was.get("pattern"):
        yield f"{told} must match another pattern now, {now['pattern']}"
    values = was.get("enum")
    if "enum" in now:
        gone = [one for one in values or () if one not in now["enum"]]
        if values is None:
            yield f"{told} must be one of {', '.join(map(str, now['enum']))} now"
        elif gone:
            yield f"{told} may not be {', '.join(map(str, gone))} any more"
