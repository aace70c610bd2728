"""``TrustedIssuer`` and ``IntrospectionClient``: the authorization servers whose access tokens are accepted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from valetkey.outbound.jwk_set import ALGORITHMS
from valetkey.protocol.errors import InvalidScope
from valetkey.protocol.scope import parse_scope
from valetkey.protocol.uri import endpoint_uri_problem

from .products import AT_JWT, JWT, TOKEN_SHAPES, Product, TokenShape

StringOrStrings = str | Sequence[str]

MAX_REMEMBER_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class IntrospectionClient:
    """Credentials and options for token introspection at an issuer (RFC 7662).

    Register the API as a client of the issuer, and pass this to ``TrustedIssuer(introspection=...)``.

    :param client_id: the API's client id at the issuer.
    :param client_secret: the API's client secret at the issuer.
    :param endpoint: URL of the introspection endpoint. If it is omitted, it is taken from the issuer's metadata.
    :param method: how the API authenticates, ``"client_secret_basic"`` or ``"client_secret_post"`` (RFC 6749 §2.3.1).
    :param prefix: what the issuer's opaque tokens begin with. Required if several issuers have opaque tokens, so that
        no issuer receives the tokens of another.
    :param always: whether to introspect JWTs too, so that a revoked JWT is refused within ``remember`` seconds.
    :param remember: how long to use the response for an active token, in seconds: 0 to 60.
    :raises ValueError: if an argument is invalid.
    """

    client_id: str
    client_secret: str = field(repr=False)
    endpoint: str | None = None
    method: Literal["client_secret_basic", "client_secret_post"] = "client_secret_basic"
    prefix: str = ""
    always: bool = False
    remember: float = 5

    def __post_init__(self) -> None:
        for name in ("client_id", "client_secret"):
            if not _is_text(getattr(self, name)):
                raise ValueError(f"{name} must be a text that is not empty")
        if not isinstance(self.prefix, str):
            raise ValueError('prefix must be a text, such as "ory_at_"')
        if not isinstance(self.always, bool):
            raise ValueError("always must be True or False")
        if self.method not in ("client_secret_basic", "client_secret_post"):
            raise ValueError(f"method must be client_secret_basic or client_secret_post, not {self.method!r}")
        if self.endpoint is not None and (problem := _url_problem(self.endpoint)):
            raise ValueError(f"endpoint {self.endpoint!r} cannot be used: {problem}")
        if not isinstance(self.remember, int | float) or not 0 <= self.remember <= MAX_REMEMBER_S:
            raise ValueError(f"remember must be a number between 0 and {MAX_REMEMBER_S} seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """Authorization server whose access tokens a ``ResourceServer`` accepts.

    Only the issuer identifier is required: keys are found through the issuer's metadata (OpenID Connect Discovery, else
    RFC 8414).

    :param issuer: the issuer identifier, exactly as in the ``iss`` claim of its tokens, including a trailing slash.
    :param like: the product that the issuer runs: it decides which claims have client, user and scope: ``"auth0"``,
        ``"cognito"``, ``"entra"``, ``"keycloak"``, ``"valetkey"``, or ``"standard"`` for others.
    :param audience: the issuer's name for this API in the ``aud`` claim, if it is not the ``resource`` of the
        ``ResourceServer``; one name or several.
    :param clients: client ids whose tokens are accepted; if it is omitted, those of all clients. Tokens without an
        ``aud`` claim are accepted only if their client is listed here.
    :param algorithms: accepted signature algorithms; by default all asymmetric ones. Symmetric ones cannot be used.
    :param jwks_uri: URL of the issuer's keys. If it is omitted, it is taken from the issuer's metadata.
    :param introspection: how to introspect opaque tokens (RFC 7662). If it is omitted, they are refused.
    :param scope_claims: names of the claims that can have the scope, as a string or a list. The first one that a token
        has is used, the others are ignored. The default depends on ``like``.
    :param roles: scopes for each role, such as ``{"editor": "notes:read notes:write"}``; added to the token's scopes.
    :param role_claims: claims that have the roles, such as ``"roles"``, or ``"realm_access.roles"`` for a member of an
        object. Required with ``roles``.
    :param user_id: function that returns ``current_token.user_id`` from a token's claims, or ``None`` if the token has
        no user. By default it is ``sub``, unless the client acts for itself.
    :param token_types: accepted values of the ``typ`` header: ``"at+jwt"`` (RFC 9068), or ``"jwt"``, which also stands
        for tokens without ``typ``. The default depends on ``like``; ``"standard"`` accepts both.
    :raises ValueError: if an argument is invalid; the message says why.
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
        for name in ("audience", "scope_claims", "role_claims", "token_types"):  # a string is a tuple of one
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))

    @property
    def shape(self) -> TokenShape:
        """Accepted types of the issuer's access tokens, the claims with scope and client, and whether there is a user.

        They are those of the product ``like``, except for ``token_types`` and ``scope_claims`` if these are set.
        """
        product = TOKEN_SHAPES[self.like]
        return TokenShape(
            tuple(self.token_types) or product.token_types,
            tuple(self.scope_claims) or product.scope_claims,
            product.client_claims,
            product.is_machine,
        )

    def _find_problem(self) -> str | None:
        if problem := _url_problem(self.issuer):
            return problem
        if problem := self._find_type_problem():
            return problem
        if urlsplit(self.issuer).query:
            return "an issuer identifier must not have a query (RFC 8414 §2)"
        if "{" in self.issuer:
            return "list each tenant's issuer: a pattern would trust tenants of others"
        if self.like not in tuple(TOKEN_SHAPES):
            return f"like must be one of {', '.join(TOKEN_SHAPES)}"
        if unknown := [name for name in self.algorithms if name not in ALGORITHMS]:
            return f"{', '.join(unknown)}: only asymmetric algorithms are accepted: {', '.join(ALGORITHMS)}"
        if self.jwks_uri is not None and (problem := _url_problem(self.jwks_uri)):
            return f"jwks_uri cannot be used: {problem}"
        types = [self.token_types] if isinstance(self.token_types, str) else self.token_types
        if not set(types) <= {AT_JWT, JWT}:
            return "token_types must be at+jwt or jwt"
        if bool(self.roles) != bool(self.role_claims):
            return "roles and role_claims belong together: set both or neither"
        return _roles_problem(self.roles)

    def _find_type_problem(self) -> str | None:
        for name in ("audience", "scope_claims", "role_claims", "token_types"):
            if not isinstance(getattr(self, name), str) and not _is_list_of_texts(getattr(self, name)):
                return f"{name} must be a text, or a list of texts"
        for name in ("clients", "algorithms"):
            if not _is_list_of_texts(getattr(self, name)):
                return f"{name} must be a list of texts"
        if not self.algorithms:
            return "algorithms is empty: no token would be accepted. Omit it to accept all asymmetric ones"
        if self.introspection is not None and not isinstance(self.introspection, IntrospectionClient):
            return "introspection must be an IntrospectionClient"
        if self.user_id is not None and not callable(self.user_id):
            return "user_id must be a function from the claims to the user id"
        if not isinstance(self.roles, Mapping) or not all(isinstance(scope, str) for scope in self.roles.values()):
            return 'roles must be a dictionary of texts, such as {"editor": "notes:read notes:write"}'
        return None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str | Mapping) and all(map(_is_text, value))


def _url_problem(url: object) -> str | None:
    return endpoint_uri_problem(url) if isinstance(url, str) else "it is not a URL"


def _roles_problem(roles: Mapping[str, str]) -> str | None:
    for role, scope in roles.items():
        try:
            parse_scope(scope)
        except InvalidScope:
            return f"roles: {scope!r}, for {role!r}, is not a valid scope (RFC 6749 §3.3)"
    return None


def parse_issuers(trusted_issuers: Sequence[str | TrustedIssuer]) -> dict[str, TrustedIssuer]:
    """Return the trusted issuers as a dictionary by issuer identifier.

    :param trusted_issuers: issuer identifiers, or ``TrustedIssuer`` objects.
    :raises ValueError: if the list is empty, an issuer is listed twice, or opaque tokens could be sent to the wrong
        issuer.
    """
    is_list = isinstance(trusted_issuers, Collection) and not isinstance(trusted_issuers, str | Mapping)
    if not is_list or not trusted_issuers:
        raise ValueError('must be a list of at least one issuer, such as ["https://id.example.com"]')
    if any(not isinstance(issuer, str | TrustedIssuer) for issuer in trusted_issuers):
        raise ValueError("each issuer must be its identifier, or a TrustedIssuer")
    issuers = [TrustedIssuer(issuer) if isinstance(issuer, str) else issuer for issuer in trusted_issuers]
    prefixes = [issuer.introspection.prefix for issuer in issuers if issuer.introspection]
    if len({issuer.issuer for issuer in issuers}) < len(issuers):
        raise ValueError("names one issuer twice")
    if any(a.startswith(b) for i, a in enumerate(prefixes) for j, b in enumerate(prefixes) if i != j):
        raise ValueError(
            "several issuers use introspection: give each IntrospectionClient the prefix of its tokens, "
            "so that no issuer receives the tokens of another"
        )
    return {issuer.issuer: issuer for issuer in issuers}
