"""The setting ``scope_claims``: claims about users that scopes of the API include, besides the standard claims."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from valetkey.protocol.claims import PROTOCOL_CLAIMS


def scope_claims_problems(scope_claims: object, scopes: Iterable[str]) -> list[str]:
    """Return what is wrong with the setting ``scope_claims``, one sentence for each problem.

    :param scopes: the names of all scopes, those of OpenID Connect included.
    """
    if not isinstance(scope_claims, Mapping):
        return ['scope_claims must map each scope to a list of claims, like {"groups": ["groups"]}']
    scope_names, problems = set(scopes), []
    for scope, names in scope_claims.items():
        if scope not in scope_names:
            problems.append(f"scope_claims: {scope!r} is not in scopes")
        if not isinstance(names, (list, tuple)) or not all(_is_claim_name(name) for name in names):
            problems.append(f"scope_claims: {scope!r} needs a list of claim names")
            continue
        problems += [
            f"scope_claims: {name!r} is a claim of the protocol, which only the server sets"
            for name in names
            if name in PROTOCOL_CLAIMS
        ]
    return problems


def _is_claim_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= 200 and name.isascii() and name.isprintable() and " " not in name
