"""Find credentials that sufficed for an operation of an old OpenAPI document and do not for that of a new one.

Pure functions, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_JsonObject = Mapping[str, Any]
_Credentials = dict[str, frozenset[str]]  # what a request has to have: by security scheme, the scopes
_ACCESS_TOKEN = "an access token"  # of all schemes for tokens in the Authorization header: issuers may add some


@dataclass(frozen=True, slots=True)
class _Security:
    """The credentials that an operation accepts: one of the alternatives, or none if none are required."""

    is_required: bool
    alternatives: tuple[_Credentials, ...]


def issuer_changes(old: _JsonObject, new: _JsonObject) -> Iterator[str]:
    """Yield a sentence for each issuer whose access tokens the new document does not accept any more."""
    before, after = (set(_schemes(document).get("bearer", {}).get("x-issuers", ())) for document in (old, new))
    for issuer in sorted(before - after):
        yield f"access tokens of {issuer} are no longer accepted"


def security_changes(
    operation_name: str, old: _JsonObject, before: _JsonObject, new: _JsonObject, after: _JsonObject
) -> Iterator[str]:
    """Yield a sentence for each kind of credentials that no longer suffices to call an operation.

    :param before: the operation object in the old document; ``after`` is the one in the new document.
    """
    accepted, required = _read_security(old, before), _read_security(new, after)
    if not required.alternatives:
        return
    if required.is_required and not accepted.is_required:
        yield f"{operation_name} now needs {_name_schemes(required.alternatives[0])}"
        return
    for credentials in accepted.alternatives:
        if not any(_is_met(alternative, credentials) for alternative in required.alternatives):
            yield f"{operation_name} {_describe_refusal(credentials, required.alternatives)}"
    if accepted.alternatives:
        key = "x-token-requirements"
        yield from _token_changes(operation_name, before.get(key, {}), after.get(key, {}))


def _read_security(document: _JsonObject, operation: _JsonObject) -> _Security:
    schemes = _schemes(document)
    security = operation.get("security", document.get("security")) or []
    alternatives = []
    has_oauth = any(_type_of(schemes, name) in {"oauth2", "openIdConnect"} for entry in security for name in entry)
    for entry in filter(None, security):
        if has_oauth and all(_type_of(schemes, name) == "bearer" and not scopes for name, scopes in entry.items()):
            continue  # OpenAPI 3.0 has no scopes here: those of the OAuth scheme are needed
        credentials: _Credentials = {}
        for name, scopes in entry.items():
            kind = _ACCESS_TOKEN if _type_of(schemes, name) in {"oauth2", "openIdConnect", "bearer"} else name
            credentials[kind] = credentials.get(kind, frozenset()) | frozenset(scopes)
        if credentials not in alternatives:
            alternatives.append(credentials)
    return _Security(bool(security) and {} not in security, tuple(alternatives))


def _schemes(document: _JsonObject) -> _JsonObject:
    schemes: _JsonObject = document.get("components", {}).get("securitySchemes", {})
    return schemes


def _type_of(schemes: _JsonObject, name: str) -> str:
    """Return the type of a security scheme, ``bearer`` for the HTTP authentication scheme of this name.

    If the document does not define the scheme, its type is taken to be its name.
    """
    scheme = schemes.get(name, {"type": name})
    is_bearer = scheme.get("type") == "http" and str(scheme.get("scheme")).lower() == "bearer"
    return "bearer" if is_bearer else str(scheme.get("type", ""))


def _is_met(required: _Credentials, credentials: _Credentials) -> bool:
    return all(name in credentials and scopes <= credentials[name] for name, scopes in required.items())


def _describe_refusal(credentials: _Credentials, alternatives: tuple[_Credentials, ...]) -> str:
    """Return the end of a sentence that says why credentials do not meet any of the alternatives."""
    similar = [alternative for alternative in alternatives if alternative.keys() & credentials.keys()]
    if not similar:
        return f"no longer accepts {_name_schemes(credentials)}"

    def missing(alternative: _Credentials) -> tuple[list[str], list[str]]:
        present = alternative.keys() & credentials.keys()
        scopes = {scope for name in present for scope in alternative[name] - credentials[name]}
        return sorted(alternative.keys() - credentials.keys()), sorted(scopes)

    schemes, scopes = min(map(missing, similar), key=lambda lacks: (len(lacks[0]), len(lacks[1]), lacks))
    if schemes:
        return f"now also needs {_name_schemes(dict.fromkeys(schemes, frozenset()))}"
    return f"now needs the scope {' '.join(scopes)}"


def _name_schemes(credentials: _Credentials) -> str:
    return " and ".join(name if name == _ACCESS_TOKEN else f"the security scheme {name}" for name in credentials)


def _token_changes(operation_name: str, before: _JsonObject, after: _JsonObject) -> Iterator[str]:
    """Yield a sentence for each requirement in the extension ``x-token-requirements`` that was added or changed."""
    old_resources, resources = before.get("resources", []), after.get("resources", [])
    if resources and not (old_resources and set(resources) <= set(old_resources)):
        yield f"{operation_name} now needs a token for the resource {' and '.join(resources)}"
    elif old_resources and not resources:
        yield f"{operation_name} no longer accepts a token for the resource {' and '.join(old_resources)}"
    old_values, values = before.get("acr_values", []), after.get("acr_values", [])
    if values and not old_values:
        yield f"{operation_name} now needs a sign-in with {' or '.join(values)}"
    elif values and set(old_values) - set(values):
        yield f"{operation_name} no longer accepts a sign-in with {' or '.join(sorted(set(old_values) - set(values)))}"
    max_age = after.get("max_age")
    if max_age is not None and max_age < before.get("max_age", float("inf")):
        yield f"{operation_name} now needs a sign-in within the last {max_age} seconds"
