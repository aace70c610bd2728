"""What a new OpenAPI document takes from those who rely on the old one, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from valetkey.openapi.path_parameters import nameless
from valetkey.openapi.security import methods_of

from .resolver import Schemas
from .schemas import Read, Sent

_Part = Mapping[str, Any]
_Schemes = frozenset[tuple[str, frozenset[str]]]


def breaking_changes(old: _Part, new: _Part) -> Iterator[str]:
    """Each change by which a call that worked, or a program that reads the answer, may fail.

    What is only added, and what is only allowed besides, breaks nobody.
    """
    sent, read = Sent(Schemas(old), Schemas(new)), Read(Schemas(new), Schemas(old))
    paths = {nameless(path): item for path, item in new.get("paths", {}).items()}
    for path, item in old.get("paths", {}).items():
        found = paths.get(nameless(path))
        if found is None:
            yield f"the path {path} is gone"
            continue
        for method, before in methods_of(item):
            after = dict(methods_of(found)).get(method)
            where = f"{method} {path}"
            if after is None:
                yield f"the operation {where} is gone"
                continue
            change = _Change(where, sent, read)
            yield from change.parameters(_parameters(old, item, before), _parameters(new, found, after))
            yield from change.body(_resolved(old, before.get("requestBody")), _resolved(new, after.get("requestBody")))
            yield from change.answers(old, before, new, after)
            yield from _security(where, _demanded(old, before), _demanded(new, after))


class _Change:
    """One operation, before and after."""

    def __init__(self, where: str, sent: Sent, read: Read) -> None:
        self._where, self._sent, self._read = where, sent, read

    def parameters(self, before: list[_Part], after: list[_Part]) -> Iterator[str]:
        known, now = _by_place(before), _by_place(after)
        for place, one in known.items():
            told = f"the {place[0]} parameter {one['name']} of {self._where}"
            found = now.get(place)
            if found is None:
                yield f"{told} is gone"
                continue
            if found.get("required") and not one.get("required"):
                yield f"{told} is required now"
            yield from self._narrowed(told, one.get("schema", {}), found.get("schema", {}))
        for place in now.keys() - known.keys():
            if now[place].get("required"):
                yield f"{self._where} has a new required {place[0]} parameter, {now[place]['name']}"

    def body(self, before: _Part | None, after: _Part | None) -> Iterator[str]:
        if not before:
            if after and after.get("required"):
                yield f"{self._where} needs a body now"
            return
        if not after:
            yield f"{self._where} takes no body any more"
            return
        if after.get("required") and not before.get("required"):
            yield f"the body of {self._where} is required now"
        for kind, schema in _contents(before):
            found = dict(_contents(after)).get(kind)
            if found is None:
                yield f"{self._where} takes no body of {kind} any more"
            else:
                yield from self._narrowed(f"the body of {self._where}", schema, found)

    def answers(self, old: _Part, before: _Part, new: _Part, after: _Part) -> Iterator[str]:
        for status, given in before.get("responses", {}).items():
            if str(status)[0] != "2":
                continue  # a program must expect any refusal
            possible = after.get("responses", {})
            found = possible.get(status, possible.get("2XX", possible.get("default")))
            if found is None:
                yield f"{self._where} answers {status} no more"
                continue
            now = dict(_contents(_resolved(new, found)))
            for kind, schema in _contents(_resolved(old, given)):
                told = f"the answer {status} of {self._where}"
                if kind not in now:
                    yield f"{told} is not {kind} any more"
                    continue
                for one in self._read.between(now[kind], schema):
                    yield f"{one.where}{told} {one.words}"

    def _narrowed(self, told: str, before: _Part, after: _Part) -> Iterator[str]:
        for one in self._sent.between(before, after):
            yield f"{one.where}{told} {one.words}"


def _contents(holder: _Part | None) -> list[tuple[str, _Part]]:
    """Each media type, without its parameters, and its schema."""
    content = (holder or {}).get("content", {})
    return [(kind.partition(";")[0].strip().lower(), media.get("schema", {})) for kind, media in content.items()]


def _resolved(document: _Part, part: _Part | None) -> _Part | None:
    reference = str((part or {}).get("$ref", ""))
    if not reference.startswith("#/"):
        return part
    found: Any = document
    for name in reference[2:].split("/"):
        found = found.get(name, {})
    return dict(found)


def _parameters(document: _Part, item: _Part, operation: _Part) -> list[_Part]:
    """Those of the path and those of the operation; the latter count where both have one."""
    given = [_resolved(document, one) or {} for one in (*item.get("parameters", ()), *operation.get("parameters", ()))]
    return list({(one.get("in"), one.get("name")): one for one in given}.values())


def _by_place(parameters: list[_Part]) -> dict[tuple[str, Any], _Part]:
    """By where they are and their name; of those in the path the position is the name, and headers have no case."""
    placed: dict[tuple[str, Any], _Part] = {}
    for one in parameters:
        position = sum(where == "path" for where, _ in placed)
        name = one["name"].lower() if one["in"] == "header" else one["name"]
        placed[one["in"], position if one["in"] == "path" else name] = one
    return placed


def _demanded(document: _Part, operation: _Part) -> _Schemes | None:
    """Each way to be let in, as a scheme and its scopes; None: anybody is."""
    security = operation.get("security", document.get("security"))
    if not security or {} in security:
        return None
    return frozenset((scheme, frozenset(scopes)) for entry in security for scheme, scopes in entry.items())


def _security(where: str, before: _Schemes | None, after: _Schemes | None) -> Iterator[str]:
    if after is None:
        return
    if before is None:
        yield f"{where} needs an access token now"
        return
    for scheme, scopes in sorted(before, key=lambda one: (one[0], sorted(one[1]))):
        ways = [wanted for name, wanted in after if name == scheme]
        if not ways:
            yield f"{where} is not opened by the security scheme {scheme} any more"
        elif not any(wanted <= scopes for wanted in ways):
            least = min(ways, key=lambda wanted: (len(wanted - scopes), sorted(wanted)))
            if scheme == "oauth2" or not any(name == "oauth2" for name, _ in before):
                yield f"{where} needs the scope {' '.join(sorted(least - scopes))} now"
