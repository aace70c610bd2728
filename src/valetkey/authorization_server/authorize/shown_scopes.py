"""Scopes as a consent page shows them, for some APIs; which of them a remembered consent covers; names of the APIs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from functools import lru_cache

from valetkey.authorization_server.token.scope_and_resource import default_resource
from valetkey.protocol.claims import claims_of_scope
from valetkey.protocol.consented_identity import ShownScope, read_scopes
from valetkey.protocol.scope import parse_scope
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage.clients import Client
from valetkey.storage.consents import Consent

_NO_SCOPE = ""  # stands for the scope of a request that has none: such a consent, too, is for some resources
_DIGEST_LENGTH = 16  # characters; an operator has no reason to look for two descriptions with the same digest


def show_scopes(names: Collection[str], resources: Collection[str], settings: Settings) -> dict[str, ShownScope]:
    """Return scopes, by name, as a consent page shows them now for some resources; without scopes, ``_NO_SCOPE``."""
    descriptions, custom_claims, shown_for = settings.known_scopes, settings.scope_claims, frozenset(resources)
    return {
        name: ShownScope(_digest(name, descriptions.get(name, name), tuple(custom_claims.get(name, ()))), shown_for)
        for name in names or (_NO_SCOPE,)
    }


def fingerprint_shown(names: Collection[str], resources: Collection[str], settings: Settings) -> str:
    """Return a digest of scopes as a consent page shows them now. Its form contains it, so a change is noticed."""
    shown = show_scopes(names, resources, settings)
    text = json.dumps([[name, scope.digest, sorted(scope.resources)] for name, scope in sorted(shown.items())])
    return hashlib.sha256(text.encode()).hexdigest()


def is_shown_now(shown: str | None, names: Collection[str], resources: Collection[str], settings: Settings) -> bool:
    """Return whether a consent page would show the same scopes now.

    :param shown: the digest in the page's form. ``None`` is accepted: the page was sent by an earlier version.
    """
    return shown is None or shown == fingerprint_shown(names, resources, settings)


def remembered_scopes(consent: Consent | None, client: Client, settings: Settings) -> Mapping[str, ShownScope]:
    """Return the scopes of a remembered consent, by name, as they were shown; empty if there is no consent.

    A consent of an earlier version does not say what was shown. It counts as one to the present descriptions, for the
    client's default resource and the issuer.
    """
    if consent is None:
        return {}
    names = parse_scope(consent.scope)
    shown = read_scopes(consent.identity) if consent.identity else None
    if shown is None:
        return show_scopes(names, {default_resource(client, settings), settings.issuer}, settings)
    return {name: scope for name, scope in shown.items() if name in names or name == _NO_SCOPE}


def covers_request(
    consent: Consent | None, scope: Collection[str], resources: Collection[str], client: Client, settings: Settings
) -> bool:
    """Return whether a request needs no new consent: all its scopes are covered.

    A request without a scope is covered if anything was shown for all its resources.
    """
    if scope:
        return covered_scopes(consent, scope, resources, client, settings).issuperset(scope)
    return any(shown.resources.issuperset(resources) for shown in remembered_scopes(consent, client, settings).values())


def covered_scopes(
    consent: Consent | None, scope: Collection[str], resources: Collection[str], client: Client, settings: Settings
) -> frozenset[str]:
    """Return which scopes of a request need no new consent: they were shown as they are now, for all its resources."""
    remembered = remembered_scopes(consent, client, settings)
    return frozenset(
        name
        for name, present in show_scopes(scope, resources, settings).items()
        if (shown := remembered.get(name)) and _covers(shown, present)
    )


def merge_scopes(
    remembered: Mapping[str, ShownScope], requested: Collection[str], granted: Mapping[str, ShownScope]
) -> dict[str, ShownScope]:
    """Return the scopes to remember after a decision about a request.

    :param remembered: the scopes of the consent before the decision. Those that were not requested stay.
    :param requested: the names of the requested scopes.
    :param granted: the scopes that were granted, as they were shown.
    """
    merged = {name: shown for name, shown in remembered.items() if name not in requested}
    for name, shown in granted.items():
        before = remembered.get(name)
        is_same = before is not None and before.digest == shown.digest
        merged[name] = ShownScope(shown.digest, shown.resources | before.resources) if before and is_same else shown
    return merged


def names_of_other_apis(resources: Collection[str], runtime: Runtime) -> tuple[str, ...]:
    """Return the names of the APIs of a request, to be shown to the user; empty if it is for this server's own API.

    The issuer is left out if it is not an API, but the resource of userinfo.
    """
    api, issuer = runtime.settings.api_resource, runtime.settings.issuer
    if {api, issuer}.issuperset(resources):
        return ()
    served = runtime.resources.all()
    shown = [url for url in resources if url != issuer or url == api]
    return tuple(dict.fromkeys(served[url].name if url in served else url for url in shown))


def _covers(shown: ShownScope, present: ShownScope) -> bool:
    return shown.digest == present.digest and shown.resources >= present.resources


@lru_cache(maxsize=1024)
def _digest(name: str, description: str, custom_claims: tuple[str, ...]) -> str:
    claims = sorted(claims_of_scope(frozenset({name})).union(custom_claims))
    return hashlib.sha256(json.dumps([description, claims]).encode()).hexdigest()[:_DIGEST_LENGTH]
