"""The scopes and other conditions that an access token must meet for a route, from all decorators of the route.

A call has to pass every decorator: a class-based view can have some for the class and some for a method.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from valetkey.resource_server.protection import RouteProtection
from valetkey.settings import Settings


@dataclass(frozen=True, slots=True)
class TokenRequirements:
    """The conditions that an access token must meet for a route.

    :param scope_alternatives: the token needs all scopes of one of these sets; empty: any token will do.
    :param optional: whether calls without a token are allowed too.
    :param resources: the resources that the token has to be for (RFC 8707); empty: only the server's API.
    :param acr: one of each of these groups of authentication contexts is needed (RFC 9470).
    :param max_age: seconds since the user signed in; None for no limit.
    """

    scope_alternatives: tuple[frozenset[str], ...]
    optional: bool
    resources: tuple[str, ...]
    acr: tuple[tuple[str, ...], ...]
    max_age: int | None

    @property
    def extension(self) -> dict[str, Any]:
        """The value of the OpenAPI extension ``x-token-requirements``: what security requirements cannot say.

        Its members, without those that nothing is required of, are ``resources``, ``acr_values`` (any of them) and
        ``max_age``.
        """
        acr_values = set.intersection(*map(set, self.acr)) if self.acr else ()
        members = {"resources": list(self.resources), "acr_values": sorted(acr_values), "max_age": self.max_age}
        return {name: value for name, value in members.items() if value not in (None, [])}


def combine_protections(protections: Sequence[RouteProtection], settings: Settings) -> TokenRequirements | None:
    """Return what a route's decorators require of the access token; None if it needs none."""
    needed = [protection for protection in protections if not protection.is_public]
    if not needed:
        return None
    resources = {protection.resource or settings.api_resource for protection in needed}
    ages = [protection.max_age for protection in needed if protection.max_age is not None]
    return TokenRequirements(
        scope_alternatives=_combine_scopes([protection.scope_alternatives for protection in needed]),
        optional=all(protection.optional for protection in needed),
        resources=() if resources == {settings.api_resource} else tuple(sorted(resources)),
        acr=tuple(dict.fromkeys(protection.acr for protection in needed if protection.acr)),
        max_age=min(ages, default=None),
    )


def _combine_scopes(alternatives: Sequence[tuple[frozenset[str], ...]]) -> tuple[frozenset[str], ...]:
    """Return the sets of scopes with which a token meets one alternative of each decorator, without larger sets."""
    scope_sets = [frozenset[str]().union(*chosen) for chosen in product(*filter(None, alternatives))]
    smallest = [scopes for scopes in scope_sets if not any(other < scopes for other in scope_sets)]
    return tuple(scopes for scopes in dict.fromkeys(smallest) if scopes)


def describe_access(protections: Sequence[RouteProtection], settings: Settings) -> str:
    """Return English sentences that say which access token, with which scopes, a route's operation needs."""
    requirements = combine_protections(protections, settings)
    if requirements is None:
        return "Public: no access token is needed." if protections else "No protection is declared for this operation."
    alternatives = [_list_scopes(scopes, settings.known_scopes) for scopes in requirements.scope_alternatives]
    text = f"Needs the scope {', or '.join(alternatives)}." if alternatives else "Needs an access token, of any scope."
    if requirements.optional:
        text = f"An access token is optional. {'If sent, it needs' + text[5:] if alternatives else ''}".strip()
    return " ".join([text, *_further_requirements(requirements)])


def _list_scopes(scopes: frozenset[str], descriptions: Mapping[str, str]) -> str:
    return " and ".join(f"`{scope}` ({descriptions.get(scope, scope)})" for scope in sorted(scopes))


def _further_requirements(requirements: TokenRequirements) -> Iterator[str]:
    if requirements.resources:
        noun = "resource" if len(requirements.resources) == 1 else "resources"
        yield f"The token must be for the {noun} {' and '.join(requirements.resources)}."
    for values in requirements.acr:
        yield f"The user must have signed in with {' or '.join(values)}."
    if requirements.max_age is not None:
        yield f"The user must have signed in within the last {requirements.max_age} seconds."
