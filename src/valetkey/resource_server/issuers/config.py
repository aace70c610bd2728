"""Whose tokens are accepted, as the publisher says it; judged where it is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from valetkey.outbound.jwk_set import ALGORITHMS
from valetkey.protocol.errors import InvalidScope
from valetkey.protocol.scope import parse_scope
from valetkey.protocol.uri import endpoint_uri_problem

from .products import AT_JWT, JWT, TOKEN_SHAPES, Product, TokenShape

StringOrStrings = str | Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntrospectionClient:
    """How this API asks an issuer about tokens (RFC 7662), as the client that it is registered as there.

    :param endpoint: left out: as the issuer's metadata says.
    :param method: how the client proves itself (RFC 6749 §2.3.1).
    :param prefix: how the opaque tokens of this issuer begin. Needed where several issuers have such tokens: one
        must not be shown another's.
    :param always: ask about JWTs too, so that a token that was revoked is refused within ``remember`` seconds.
    :param remember: seconds for which an answer is believed.
    :raises ValueError: where that cannot be.
    """

    client_id: str
    client_secret: str = field(repr=False)
    endpoint: str | None = None
    method: Literal["client_secret_basic", "client_secret_post"] = "client_secret_basic"
    prefix: str = ""
    always: bool = False
    remember: int = 5

    def __post_init__(self) -> None:
        if self.method not in {"client_secret_basic", "client_secret_post"}:
            raise ValueError(f"method must be client_secret_basic or client_secret_post, not {self.method!r}")
        if self.endpoint is not None and (problem := endpoint_uri_problem(self.endpoint)):
            raise ValueError(f"endpoint {self.endpoint!r} cannot be used: {problem}")
        if not 0 <= self.remember <= 60:
            raise ValueError("remember must be between 0 and 60 seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """An authorization server whose access tokens this API takes.

    :param issuer: its issuer identifier, exactly as its tokens say it, a slash at the end included.
    :param like: whose product it is, which settles how tokens are read: ``auth0``, ``cognito``, ``entra``,
        ``keycloak``, ``valetkey``, or ``standard``.
    :param audience: what this issuer calls the API, where that is not the ``resource`` of the resource server.
    :param clients: accept tokens of these apps only. Tokens that name no audience at all are accepted only of apps
        that stand here.
    :param algorithms: which signatures are believed; symmetric ones never are.
    :param jwks_uri: where its keys are; left out: as its metadata says.
    :param introspection: how to ask about opaque tokens.
    :param scope_claims: where the scope is, as text or list; the first that the token has counts.
    :param roles: for each role that the issuer gives, the scopes that it stands for.
    :param role_claims: where those roles are; a path such as ``realm_access.roles`` leads into objects.
    :param user_id: makes ``current_token.user_id`` of the claims; None where no person is behind the token.
    :param token_types: ``at+jwt`` (RFC 9068), ``jwt`` for what came before it.
    :raises ValueError: where that cannot be, with the sentence that says why.
    """

    issuer: str = field(kw_only=False)
    like: Product = "standard"
    audience: StringOrStrings = ()
    clients: Sequence[str] = ()
    algorithms: Sequence[str] = tuple(ALGORITHMS)
    jwks_uri: str | None = None
    introspection: IntrospectionClient | None = None
    scope_claims: StringOrStrings = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    role_claims: StringOrStrings = ()
    user_id: Callable[[Mapping[str, Any]], str | None] | None = None
    token_types: StringOrStrings = ()

    def __post_init__(self) -> None:
        problem = self._find_problem()
        if problem:
            raise ValueError(f"trusted issuer {self.issuer!r}: {problem}")
        for name in ("audience", "scope_claims", "role_claims", "token_types"):  # one, or several
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))

    @property
    def shape(self) -> TokenShape:
        """How its tokens are read: the product's way, and what was said otherwise."""
        known = TOKEN_SHAPES[self.like]
        return TokenShape(
            tuple(self.token_types) or known.token_types,
            tuple(self.scope_claims) or known.scope_claims,
            known.client_claims,
            known.is_machine,
        )

    def _find_problem(self) -> str | None:
        if not isinstance(self.issuer, str) or (problem := endpoint_uri_problem(self.issuer)):
            return problem if isinstance(self.issuer, str) else "it is not a URL"
        if urlsplit(self.issuer).query:
            return "an issuer has no query (RFC 8414 §2)"
        if "{" in self.issuer:
            return "name each tenant's issuer: a pattern trusts tenants that nobody knows"
        if self.like not in TOKEN_SHAPES:
            return f"like must be one of {', '.join(TOKEN_SHAPES)}"
        if isinstance(self.clients, str) or isinstance(self.algorithms, str):
            return "clients and algorithms are lists"
        if strange := [one for one in self.algorithms if one not in ALGORITHMS]:
            return f"{', '.join(strange)}: only asymmetric algorithms prove who signed: {', '.join(ALGORITHMS)}"
        if self.jwks_uri is not None and (problem := endpoint_uri_problem(self.jwks_uri)):
            return f"jwks_uri cannot be used: {problem}"
        types = [self.token_types] if isinstance(self.token_types, str) else self.token_types
        if not set(types) <= {AT_JWT, JWT}:
            return "token_types are at+jwt and jwt"
        if bool(self.roles) != bool(self.role_claims):
            return "roles and role_claims belong together"
        return _roles_problem(self.roles)


def _roles_problem(roles: Mapping[str, str]) -> str | None:
    for role, scope in roles.items():
        try:
            parse_scope(scope)
        except InvalidScope:
            return f"roles: {scope!r}, for {role!r}, is no scope (RFC 6749 §3.3)"
    return None


def parse_issuers(trusted_issuers: Sequence[str | TrustedIssuer]) -> dict[str, TrustedIssuer]:
    """The trusted issuers, by identifier.

    :raises ValueError: where there is none, one is named twice, or opaque tokens could go to the wrong one.
    """
    if isinstance(trusted_issuers, str) or not trusted_issuers:
        raise ValueError('trusted_issuers is a list with one issuer at least, like ["https://id.example.com"]')
    issuers = [TrustedIssuer(one) if isinstance(one, str) else one for one in trusted_issuers]
    prefixes = [one.introspection.prefix for one in issuers if one.introspection]
    if len({one.issuer for one in issuers}) < len(issuers):
        raise ValueError("trusted_issuers names one issuer twice")
    if any(a.startswith(b) for i, a in enumerate(prefixes) for j, b in enumerate(prefixes) if i != j):
        raise ValueError(
            "several issuers have introspection: give each IntrospectionClient the prefix of its tokens, "
            "so that no issuer is shown another's"
        )
    return {one.issuer: one for one in issuers}
