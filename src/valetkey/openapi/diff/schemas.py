"""What differs between two JSON Schemas, for whoever sends such values and for whoever reads them. Pure.

Who sends may go on where the new schema takes whatever the old one took; who reads, where the old one told whatever
the new one gives. Either way values of the one schema are looked for that the other does not have.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .resolver import Schema, SchemaResolver, allowed_values

_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")


@dataclass(frozen=True, slots=True)
class Difference:
    """Where in a value something changed, as ``the member name of ``, and what."""

    location: str
    description: str

    def nested_in(self, location: str) -> Difference:
        return Difference(self.location + location, self.description)


class _SchemaDiff(ABC):
    """Finds what the schema ``gives`` has and the schema ``takes`` has not; one of them is old, the other new."""

    def __init__(self, producer: SchemaResolver, consumer: SchemaResolver) -> None:
        self._producer, self._consumer = producer, consumer
        self._compared: dict[tuple[int, int], list[Difference]] = {}

    def compare(self, producer: Any, consumer: Any) -> list[Difference]:
        """Each difference once; a schema that holds itself has an end."""
        pair = id(self._producer.resolve(producer)), id(self._consumer.resolve(consumer))
        known = self._compared.get(pair)
        if known is None:
            self._compared[pair] = []  # what is being compared is not compared again inside of itself
            known = self._compared[pair] = list(dict.fromkeys(self._find_differences(producer, consumer)))
        return known

    def _find_differences(self, producer: Any, consumer: Any) -> Iterator[Difference]:
        given, taken = self._producer.types(producer), self._consumer.types(consumer)
        wide = taken | {"integer"} if "number" in taken else taken  # each integer is a number
        if wide and not (given and given <= wide):
            yield Difference(
                "", self.describe_types(" or ".join(sorted(given - wide)) or "any value", " or ".join(sorted(wide)))
            )
        ways = self._consumer.alternatives(consumer)
        for one in self._producer.alternatives(producer):
            kinds = self._producer.types(one)
            fitting = [
                way for way in ways if not kinds or not self._consumer.types(way) or kinds & self._consumer.types(way)
            ]
            found = [self._compare_single(one, way) for way in fitting]
            if len(found) == 1:
                yield from found[0]
            elif found and all(found):
                yield Difference("", self.describe_alternative(str(one.get("title") or " or ".join(sorted(kinds)))))

    def _compare_single(self, producer: Schema, consumer: Schema) -> list[Difference]:
        """Between two schemas without alternatives."""
        found = [Difference("", words) for words in self._compare_keywords(producer, consumer)]
        found += self.compare_members(producer, consumer)
        for name in producer.get("properties", {}).keys() & consumer.get("properties", {}).keys():
            inner = self.compare(producer["properties"][name], consumer["properties"][name])
            found += [one.nested_in(f"the member {name} of ") for one in inner]
        if "items" in producer and "items" in consumer:
            found += [one.nested_in("an item of ") for one in self.compare(producer["items"], consumer["items"])]
        for first, second in zip(producer.get("prefixItems", ()), consumer.get("prefixItems", ()), strict=False):
            found += [one.nested_in("an item of ") for one in self.compare(first, second)]
        further = consumer.get("additionalProperties", True)
        if isinstance(further, dict) and "object" in self._producer.types(producer):
            inner = self.compare(producer.get("additionalProperties", True), further)
            found += [one.nested_in("a value of ") for one in inner]
        return found

    def _compare_keywords(self, producer: Schema, consumer: Schema) -> Iterator[str]:
        values, known = allowed_values(producer), allowed_values(consumer)
        if known is not None:
            strange = None if values is None else [one for one in values if one not in known]
            if strange is None or strange:
                yield self.describe_values(strange, known)
        if "format" in consumer and producer.get("format") != consumer["format"] and known is None:
            yield self.describe_format(consumer["format"])

    @abstractmethod
    def describe_types(self, extra: str, accepted: str) -> str: ...
    @abstractmethod
    def describe_alternative(self, name: str) -> str: ...
    @abstractmethod
    def describe_values(self, extra: list[Any] | None, accepted: list[Any]) -> str: ...
    @abstractmethod
    def describe_format(self, name: str) -> str: ...
    @abstractmethod
    def compare_members(self, producer: Schema, consumer: Schema) -> Iterator[Difference]: ...


class RequestDiff(_SchemaDiff):
    """Values that were taken and are not any more: the old schema gives, the new one takes."""

    def describe_types(self, extra: str, accepted: str) -> str:
        return f"must be {accepted} now, not {extra}"

    def describe_alternative(self, name: str) -> str:
        return f"may not be {name} as it was"

    def describe_values(self, extra: list[Any] | None, accepted: list[Any]) -> str:
        if extra is None:
            return f"must be one of {_join_values(accepted)} now"
        return f"may not be {_join_values(extra)} any more"

    def describe_format(self, name: str) -> str:
        return f"must be a {name} now"

    def compare_members(self, producer: Schema, consumer: Schema) -> Iterator[Difference]:
        known, now = producer.get("properties", {}), consumer.get("properties", {})
        for name in consumer.get("required", ()):
            if name not in producer.get("required", ()):
                words = "is required now" if name in known else "is new and required"
                yield Difference(f"the member {name} of ", words)
        if consumer.get("additionalProperties") is False:
            for name in known.keys() - now.keys():
                yield Difference(f"the member {name} of ", "is not taken any more")
            if producer.get("additionalProperties") is not False and "object" in self._producer.types(producer):
                yield Difference("", "takes no further members now")

    def _compare_keywords(self, producer: Schema, consumer: Schema) -> Iterator[str]:
        yield from super()._compare_keywords(producer, consumer)
        for names, words, is_worse in ((_UPPER_BOUNDS, "lower", float.__lt__), (_LOWER_BOUNDS, "higher", float.__gt__)):
            for name in names:
                if name in consumer and (
                    name not in producer or is_worse(float(consumer[name]), float(producer[name]))
                ):
                    yield f"has a {words} {name} now, {consumer[name]}"
        if "pattern" in consumer and consumer["pattern"] != producer.get("pattern"):
            yield f"must match another pattern now, {consumer['pattern']}"
        if "multipleOf" in consumer and consumer["multipleOf"] != producer.get("multipleOf"):
            yield f"must be a multiple of {consumer['multipleOf']} now"
        if consumer.get("uniqueItems") and not producer.get("uniqueItems"):
            yield "may not have an item twice any more"
        if "default" in producer and "default" in consumer and producer["default"] != consumer["default"]:
            yield f"means {consumer['default']} now where it is left out, not {producer['default']}"


class ResponseDiff(_SchemaDiff):
    """What answers held and do not any more, and values that were never there: the new schema gives, the old one takes.

    A number or a text that may be longer or larger than before breaks nobody who reads.
    """

    def describe_types(self, extra: str, accepted: str) -> str:
        return f"may be {extra} now, not only {accepted}"

    def describe_alternative(self, name: str) -> str:
        return f"may be {name} now, as it never was"

    def describe_values(self, extra: list[Any] | None, accepted: list[Any]) -> str:
        return f"may be {'any value' if extra is None else _join_values(extra)} now, not only {_join_values(accepted)}"

    def describe_format(self, name: str) -> str:
        return f"is no {name} any more"

    def compare_members(self, producer: Schema, consumer: Schema) -> Iterator[Difference]:
        for name in consumer.get("properties", {}):
            if name not in producer.get("properties", {}):
                yield Difference(f"the member {name} of ", "is gone")
            elif name in consumer.get("required", ()) and name not in producer.get("required", ()):
                yield Difference(f"the member {name} of ", "may be missing now")


def _join_values(values: list[Any]) -> str:
    return ", ".join(map(str, values))
