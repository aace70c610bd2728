"""Find breaking changes between an old and a new JSON Schema of a request or a response. Pure functions, no I/O.

A changed request schema is compatible if it accepts every value that the old one accepted. A changed response schema
is compatible if the old one allowed every value of the new one. Both are the same comparison: the producer is the side
that sends values, the consumer the side that reads them, and a change is breaking if the producer's schema allows a
value that the consumer's schema does not allow.

============  =============  =============
Values        Producer       Consumer
============  =============  =============
of requests   old schema     new schema
of responses  new schema     old schema
============  =============  =============
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from valetkey.openapi.schemas.resolver import Schema, SchemaResolver, allowed_values

_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")

_DEFAULT_BOUNDS = {"minLength": 0, "minItems": 0, "minProperties": 0}


@dataclass(frozen=True, slots=True)
class Difference:
    """A breaking change of a JSON Schema, as the two ends of a sentence.

    ``location`` says which part of the value changed, such as ``the member name of ``, and is empty for the value
    itself; ``description`` says what changed, such as ``is now required``. The caller puts the subject between the two,
    such as ``the body of POST /notes``.
    """

    location: str
    description: str

    def nested_in(self, location: str) -> Difference:
        """Return the same difference for an enclosing value, with the text ``location`` appended to its location."""
        return Difference(self.location + location, self.description)


class _SchemaDiff(ABC):
    """Finds values that the schema of a value's producer (sender) allows and that of its consumer (reader) does not."""

    def __init__(self, producer: SchemaResolver, consumer: SchemaResolver) -> None:
        self._producer, self._consumer = producer, consumer
        self._compared: dict[tuple[int, int], list[Difference]] = {}

    def compare(self, producer: Any, consumer: Any) -> list[Difference]:
        """Return the breaking differences between the producer's and the consumer's schema, each once; empty if none.

        A pair of schemas is compared only once, so that a comparison of recursive schemas ends.
        """
        pair = id(self._producer.resolve(producer)), id(self._consumer.resolve(consumer))
        differences = self._compared.get(pair)
        if differences is None:
            self._compared[pair] = []  # a comparison of the same pair inside this one finds no differences and ends
            differences = self._compared[pair] = list(dict.fromkeys(self._find_differences(producer, consumer)))
        return differences

    def _find_differences(self, producer: Any, consumer: Any) -> Iterator[Difference]:
        produced, accepted = self._producer.types(producer), self._consumer.types(consumer)
        if "number" in accepted:
            accepted |= {"integer"}  # every integer is a number
        if accepted and not (produced and produced <= accepted):
            extra = " or ".join(sorted(produced - accepted)) or "any value"
            yield Difference("", self.describe_types(extra, " or ".join(sorted(accepted))))
        candidates = self._consumer.alternatives(consumer)
        for alternative in self._producer.alternatives(producer):
            types = self._producer.types(alternative)
            matching = [
                candidate
                for candidate in candidates
                if not types or not self._consumer.types(candidate) or types & self._consumer.types(candidate)
            ]
            results = [self._compare_single(alternative, candidate) for candidate in matching]
            if len(results) == 1:
                yield from results[0]
            elif results and all(results):
                title = str(alternative.get("title") or " or ".join(sorted(types)))
                yield Difference("", self.describe_alternative(title))

    def _compare_single(self, producer: Schema, consumer: Schema) -> list[Difference]:
        """Return the differences between two resolved schemas that have no ``anyOf`` and ``oneOf``.

        The JSON types of the two schemas are not compared; those of their members and items are.
        """
        differences = [Difference("", text) for text in self._compare_keywords(producer, consumer)]
        differences += self.compare_members(producer, consumer)
        for name in producer.get("properties", {}).keys() & consumer.get("properties", {}).keys():
            inner = self.compare(producer["properties"][name], consumer["properties"][name])
            differences += [difference.nested_in(f"the member {name} of ") for difference in inner]
        for produced_item, accepted_item in _pair_items(producer, consumer):
            inner = self.compare(produced_item, accepted_item)
            differences += [difference.nested_in("an item of ") for difference in inner]
        additional = consumer.get("additionalProperties", True)
        if isinstance(additional, dict) and "object" in self._producer.types(producer):
            inner = self.compare(producer.get("additionalProperties", True), additional)
            differences += [difference.nested_in("a value of ") for difference in inner]
        return differences

    def _compare_keywords(self, producer: Schema, consumer: Schema) -> Iterator[str]:
        produced, accepted = allowed_values(producer), allowed_values(consumer)
        if accepted is not None:
            extra = None if produced is None else [value for value in produced if value not in accepted]
            if extra is None or extra:
                yield self.describe_values(extra, accepted)
        if "format" in consumer and producer.get("format") != consumer["format"] and accepted is None:
            yield self.describe_format(consumer["format"])

    @abstractmethod
    def describe_types(self, extra: str, accepted: str) -> str:
        """Return the text of a difference: the producer allows the types ``extra``, the consumer only ``accepted``."""

    @abstractmethod
    def describe_alternative(self, name: str) -> str:
        """Return the text of a difference: an alternative of the producer matches none of the consumer's.

        :param name: the title of the alternative's schema, or its JSON types if it has no title.
        """

    @abstractmethod
    def describe_values(self, extra: list[Any] | None, accepted: list[Any]) -> str:
        """Return the text of a difference: the producer allows the values ``extra``, the consumer only ``accepted``.

        :param extra: the additional values, or None if the producer allows any value.
        """

    @abstractmethod
    def describe_format(self, name: str) -> str:
        """Return the text of a difference: the consumer requires the format ``name`` and the producer does not."""

    @abstractmethod
    def compare_members(self, producer: Schema, consumer: Schema) -> Iterator[Difference]:
        """Yield the differences in which members an object has and which of them are required."""


class RequestDiff(_SchemaDiff):
    """Finds request values that the old schema (as producer) allowed and the new schema (as consumer) does not."""

    def describe_types(self, extra: str, accepted: str) -> str:
        return f"must now be {accepted}, not {extra}"

    def describe_alternative(self, name: str) -> str:
        return f"no longer accepts an alternative that it accepted, {name}"

    def describe_values(self, extra: list[Any] | None, accepted: list[Any]) -> str:
        if extra is None:
            return f"must now be one of {_join_values(accepted)}"
        return f"may no longer be {_join_values(extra)}"

    def describe_format(self, name: str) -> str:
        return f"must now be a {name}"

    def compare_members(self, producer: Schema, consumer: Schema) -> Iterator[Difference]:
        old_members, new_members = producer.get("properties", {}), consumer.get("properties", {})
        for name in consumer.get("required", ()):
            if name not in producer.get("required", ()):
                text = "is now required" if name in old_members else "is new and required"
                yield Difference(f"the member {name} of ", text)
        if consumer.get("additionalProperties") is False:
            for name in old_members.keys() - new_members.keys():
                yield Difference(f"the member {name} of ", "is no longer accepted")
            if producer.get("additionalProperties") is not False and "object" in self._producer.types(producer):
                yield Difference("", "no longer accepts additional members")

    def _compare_keywords(self, producer: Schema, consumer: Schema) -> Iterator[str]:
        yield from super()._compare_keywords(producer, consumer)
        for names, text, is_worse in ((_UPPER_BOUNDS, "lower", float.__lt__), (_LOWER_BOUNDS, "higher", float.__gt__)):
            for name in names:
                before = producer.get(name, _DEFAULT_BOUNDS.get(name))
                if name in consumer and (before is None or is_worse(float(consumer[name]), float(before))):
                    yield f"now has a {text} {name}, {consumer[name]}"
        if "maxItems" not in consumer and _max_items(consumer) < _max_items(producer):
            yield f"may no longer have more than {_max_items(consumer):g} items"
        if "pattern" in consumer and consumer["pattern"] != producer.get("pattern"):
            yield f"must now match another pattern, {consumer['pattern']}"
        if "multipleOf" in consumer and consumer["multipleOf"] != producer.get("multipleOf"):
            yield f"must now be a multiple of {consumer['multipleOf']}"
        if consumer.get("uniqueItems") and not producer.get("uniqueItems"):
            yield "must now have unique items"
        if "default" in producer and "default" in consumer and producer["default"] != consumer["default"]:
            yield f"now defaults to {consumer['default']}, not {producer['default']}"


class ResponseDiff(_SchemaDiff):
    """Finds response values that the new schema (as producer) allows and the old schema (as consumer) did not.

    Removing a member from responses is breaking too. Wider bounds, such as a larger ``maxLength``, are not, except
    those of the length of a tuple: clients read its items by their position.
    """

    def _compare_keywords(self, producer: Schema, consumer: Schema) -> Iterator[str]:
        yield from super()._compare_keywords(producer, consumer)
        if "prefixItems" in consumer:
            if producer.get("minItems", 0) < consumer.get("minItems", 0):
                yield f"may now have less than {consumer['minItems']} items"
            if _max_items(producer) > _max_items(consumer):
                yield f"may now have more than {_max_items(consumer):g} items"

    def describe_types(self, extra: str, accepted: str) -> str:
        return f"may now be {extra}, not only {accepted}"

    def describe_alternative(self, name: str) -> str:
        return f"may now be a new alternative, {name}"

    def describe_values(self, extra: list[Any] | None, accepted: list[Any]) -> str:
        return f"may now be {'any value' if extra is None else _join_values(extra)}, not only {_join_values(accepted)}"

    def describe_format(self, name: str) -> str:
        return f"is no longer a {name}"

    def compare_members(self, producer: Schema, consumer: Schema) -> Iterator[Difference]:
        for name in consumer.get("properties", {}):
            if name not in producer.get("properties", {}):
                yield Difference(f"the member {name} of ", "was removed")
            elif name in consumer.get("required", ()) and name not in producer.get("required", ()):
                yield Difference(f"the member {name} of ", "may now be missing")


def _pair_items(producer: Schema, consumer: Schema) -> Iterator[tuple[Any, Any]]:
    """Yield the schemas of each item that an array of the producer can have: the producer's and the consumer's."""
    prefix_length = max(len(producer.get("prefixItems", ())), len(consumer.get("prefixItems", ())))
    for index in range(int(min(prefix_length, _max_items(producer), _max_items(consumer)))):
        yield _item_at(index, producer), _item_at(index, consumer)
    is_longer = prefix_length < min(_max_items(producer), _max_items(consumer))
    if is_longer and "items" in producer and "items" in consumer:
        yield producer["items"], consumer["items"]


def _item_at(index: int, schema: Schema) -> Any:
    prefix = schema.get("prefixItems", ())
    return prefix[index] if index < len(prefix) else schema.get("items", True)


def _max_items(schema: Schema) -> float:
    is_closed = schema.get("items") is False
    return float(min(schema.get("maxItems", math.inf), len(schema.get("prefixItems", ())) if is_closed else math.inf))


def _join_values(values: list[Any]) -> str:
    return ", ".join(map(str, values))
