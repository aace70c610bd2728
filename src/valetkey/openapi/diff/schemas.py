"""What differs between two JSON Schemas, for whoever sends such values and for whoever reads them. Pure.

Who sends may go on where the new schema takes whatever the old one took; who reads, where the old one told whatever
the new one gives. Either way values of the one schema are looked for that the other does not have.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .resolver import Schema, Schemas, values_of

_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")


@dataclass(frozen=True, slots=True)
class Difference:
    """Where in a value something changed, as ``the member name of ``, and what."""

    where: str
    words: str

    def within(self, where: str) -> Difference:
        return Difference(self.where + where, self.words)


class _Change(ABC):
    """Finds what the schema ``gives`` has and the schema ``takes`` has not; one of them is old, the other new."""

    def __init__(self, gives: Schemas, takes: Schemas) -> None:
        self._gives, self._takes = gives, takes
        self._known: dict[tuple[int, int], list[Difference]] = {}

    def between(self, gives: Any, takes: Any) -> list[Difference]:
        """Each difference once; a schema that holds itself has an end."""
        pair = id(self._gives.resolve(gives)), id(self._takes.resolve(takes))
        known = self._known.get(pair)
        if known is None:
            self._known[pair] = []  # what is being compared is not compared again inside of itself
            known = self._known[pair] = list(dict.fromkeys(self._differences(gives, takes)))
        return known

    def _differences(self, gives: Any, takes: Any) -> Iterator[Difference]:
        given, taken = self._gives.kinds(gives), self._takes.kinds(takes)
        wide = taken | {"integer"} if "number" in taken else taken  # each integer is a number
        if wide and not (given and given <= wide):
            yield Difference(
                "", self.kinds(" or ".join(sorted(given - wide)) or "any value", " or ".join(sorted(wide)))
            )
        ways = self._takes.alternatives(takes)
        for one in self._gives.alternatives(gives):
            kinds = self._gives.kinds(one)
            fitting = [way for way in ways if not kinds or not self._takes.kinds(way) or kinds & self._takes.kinds(way)]
            found = [self._of_one(one, way) for way in fitting]
            if len(found) == 1:
                yield from found[0]
            elif found and all(found):
                yield Difference("", self.alternative(str(one.get("title") or " or ".join(sorted(kinds)))))

    def _of_one(self, gives: Schema, takes: Schema) -> list[Difference]:
        """Between two schemas without alternatives."""
        found = [Difference("", words) for words in self._plain(gives, takes)]
        found += self.members(gives, takes)
        for name in gives.get("properties", {}).keys() & takes.get("properties", {}).keys():
            inner = self.between(gives["properties"][name], takes["properties"][name])
            found += [one.within(f"the member {name} of ") for one in inner]
        if "items" in gives and "items" in takes:
            found += [one.within("an item of ") for one in self.between(gives["items"], takes["items"])]
        for first, second in zip(gives.get("prefixItems", ()), takes.get("prefixItems", ()), strict=False):
            found += [one.within("an item of ") for one in self.between(first, second)]
        further = takes.get("additionalProperties", True)
        if isinstance(further, dict) and "object" in self._gives.kinds(gives):
            inner = self.between(gives.get("additionalProperties", True), further)
            found += [one.within("a value of ") for one in inner]
        return found

    def _plain(self, gives: Schema, takes: Schema) -> Iterator[str]:
        values, known = values_of(gives), values_of(takes)
        if known is not None:
            strange = None if values is None else [one for one in values if one not in known]
            if strange is None or strange:
                yield self.values(strange, known)
        if "format" in takes and gives.get("format") != takes["format"] and known is None:
            yield self.format(takes["format"])

    @abstractmethod
    def kinds(self, lost: str, left: str) -> str: ...
    @abstractmethod
    def alternative(self, name: str) -> str: ...
    @abstractmethod
    def values(self, strange: list[Any] | None, known: list[Any]) -> str: ...
    @abstractmethod
    def format(self, name: str) -> str: ...
    @abstractmethod
    def members(self, gives: Schema, takes: Schema) -> Iterator[Difference]: ...


class Sent(_Change):
    """Values that were taken and are not any more: the old schema gives, the new one takes."""

    def kinds(self, lost: str, left: str) -> str:
        return f"must be {left} now, not {lost}"

    def alternative(self, name: str) -> str:
        return f"may not be {name} as it was"

    def values(self, strange: list[Any] | None, known: list[Any]) -> str:
        if strange is None:
            return f"must be one of {_told(known)} now"
        return f"may not be {_told(strange)} any more"

    def format(self, name: str) -> str:
        return f"must be a {name} now"

    def members(self, gives: Schema, takes: Schema) -> Iterator[Difference]:
        known, now = gives.get("properties", {}), takes.get("properties", {})
        for name in takes.get("required", ()):
            if name not in gives.get("required", ()):
                words = "is required now" if name in known else "is new and required"
                yield Difference(f"the member {name} of ", words)
        if takes.get("additionalProperties") is False:
            for name in known.keys() - now.keys():
                yield Difference(f"the member {name} of ", "is not taken any more")
            if gives.get("additionalProperties") is not False and "object" in self._gives.kinds(gives):
                yield Difference("", "takes no further members now")

    def _plain(self, gives: Schema, takes: Schema) -> Iterator[str]:
        yield from super()._plain(gives, takes)
        for names, words, is_worse in ((_UPPER, "lower", float.__lt__), (_LOWER, "higher", float.__gt__)):
            for name in names:
                if name in takes and (name not in gives or is_worse(float(takes[name]), float(gives[name]))):
                    yield f"has a {words} {name} now, {takes[name]}"
        if "pattern" in takes and takes["pattern"] != gives.get("pattern"):
            yield f"must match another pattern now, {takes['pattern']}"
        if "multipleOf" in takes and takes["multipleOf"] != gives.get("multipleOf"):
            yield f"must be a multiple of {takes['multipleOf']} now"
        if takes.get("uniqueItems") and not gives.get("uniqueItems"):
            yield "may not have an item twice any more"
        if "default" in gives and "default" in takes and gives["default"] != takes["default"]:
            yield f"means {takes['default']} now where it is left out, not {gives['default']}"


class Read(_Change):
    """What answers held and do not any more, and values that were never there: the new schema gives, the old one takes.

    A number or a text that may be longer or larger than before breaks nobody who reads.
    """

    def kinds(self, lost: str, left: str) -> str:
        return f"may be {lost} now, not only {left}"

    def alternative(self, name: str) -> str:
        return f"may be {name} now, as it never was"

    def values(self, strange: list[Any] | None, known: list[Any]) -> str:
        return f"may be {'any value' if strange is None else _told(strange)} now, not only {_told(known)}"

    def format(self, name: str) -> str:
        return f"is no {name} any more"

    def members(self, gives: Schema, takes: Schema) -> Iterator[Difference]:
        for name in takes.get("properties", {}):
            if name not in gives.get("properties", {}):
                yield Difference(f"the member {name} of ", "is gone")
            elif name in takes.get("required", ()) and name not in gives.get("required", ()):
                yield Difference(f"the member {name} of ", "may be missing now")


def _told(values: list[Any]) -> str:
    return ", ".join(map(str, values))
