"""The JSON text that a consent stores: the client's identity and the scopes, as the consent page showed them.

The text is that of ``describe_identity`` with the member ``scopes``: for each scope, a digest of its description and
claims, then the resources that it was shown for. The empty name stands for a consent without a scope. The member
``refused`` lists the scopes that the user left unticked. Consents of earlier versions lack these members.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any


@dataclass(frozen=True, slots=True)
class ShownScope:
    """A scope as a consent page showed it.

    :param digest: of the description and the claims of the scope.
    :param resources: URLs of the resources that the scope was shown for.
    """

    digest: str
    resources: frozenset[str]


def with_scopes(identity: str, scopes: Mapping[str, ShownScope], refused: Collection[str]) -> str:
    """Return an identity with these scopes, by name, instead of those that it has.

    :param refused: the names of the scopes that the user left unticked.
    """
    shown = {name: [scope.digest, *sorted(scope.resources)] for name, scope in scopes.items()}
    return _to_text({**json.loads(identity), "scopes": shown, "refused": sorted(refused)})


@lru_cache(maxsize=256)
def read_scopes(identity: str) -> Mapping[str, ShownScope] | None:
    """Return the scopes of an identity, by name; ``None`` if it does not say how they were shown."""
    shown = json.loads(identity).get("scopes")
    if shown is None:
        return None
    return {name: ShownScope(digest, frozenset(resources)) for name, (digest, *resources) in shown.items()}


def read_refused_scopes(identity: str) -> frozenset[str]:
    """Return the names of the scopes that the user left unticked when consenting to an identity."""
    return frozenset(json.loads(identity).get("refused", ()))


def without_redirects(identity: str) -> str:
    """Return the identity as a page shows it that does not say where the user is redirected: the one for a device."""
    return _to_text({**json.loads(identity), "redirects": []})


def with_consented_redirects(identity: str, consented: str, present: str) -> str:
    """Return an identity with the redirect hosts, too, that an earlier consent was to and that the client still has.

    :param consented: the identity of the earlier consent.
    :param present: the client's present identity.
    """
    shown, old, new = json.loads(identity), json.loads(consented), json.loads(present)
    shown["redirects"] = sorted({*shown["redirects"], *set(old["redirects"]) & set(new["redirects"])})
    return _to_text(shown)


def _to_text(identity: Mapping[str, Any]) -> str:
    return json.dumps(identity, separators=(",", ":"), sort_keys=True)
