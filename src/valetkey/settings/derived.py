"""Values that follow from the settings: the properties of ``Settings``, and its default issuer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from valetkey.protocol.claims import claims_of_scope
from valetkey.protocol.uri import is_loopback_host

from .plans import Plan

OPENID_SCOPES: Mapping[str, str] = {  # OpenID Connect Core §5.4, §11
    "openid": "Know who you are",
    "profile": "See your name and profile",
    "email": "See your e-mail address",
    "address": "See your postal address",
    "phone": "See your telephone number",
    "offline_access": "Keep access while you are signed out",
}
_MCP_SCHEMES = ("cursor", "vscode", "vscode-insiders", "windsurf")  # of programs that are MCP hosts
_LOOPBACK_NETWORKS = ("127.0.0.0/8", "::1/128")


class _DefaultIssuer(str):
    """Type of the built-in default issuer, which distinguishes it from the same URL that an operator has set."""

    __slots__ = ()


DEFAULT_ISSUER = _DefaultIssuer("http://127.0.0.1:8000")


class DerivedSettings:
    """Base class of ``Settings`` with its properties. The annotations are the fields that they are derived from."""

    __slots__ = ()

    issuer: str
    site_name: str
    resource: str
    scopes: Mapping[str, str]
    scope_claims: Mapping[str, Sequence[str]]
    plans: Mapping[str, Plan]
    default_plan: str
    oauth_path: str
    account_path: str | None
    device_path: str | None
    docs_path: str | None
    personal_access_tokens_path: str | None
    personal_access_token_scopes: tuple[str, ...]
    personal_access_token_api_scope: str | None
    outbound_allowed_networks: tuple[str, ...]
    registration_policy: str
    metadata_document_clients: str
    baseline: str
    private_use_schemes: tuple[str, ...]
    database_url: str
    data_dir: str

    @property
    def is_production(self) -> bool:
        """Whether the host of the issuer is not a loopback address, so that the server counts as public."""
        return not is_loopback_host(urlsplit(self.issuer).hostname)

    @property
    def has_default_issuer(self) -> bool:
        """Whether the issuer is the built-in default, because no argument, variable or file sets it."""
        return isinstance(self.issuer, _DefaultIssuer)

    @property
    def is_development(self) -> bool:
        """Whether the issuer was set to a loopback address, as on a developer's computer: rules are less strict.

        The built-in default issuer allows nothing: the operator of a public server may have forgotten to set it.
        """
        return not self.is_production and not self.has_default_issuer

    @property
    def outbound_networks(self) -> tuple[str, ...]:
        """Networks that outgoing HTTP requests may reach besides public addresses.

        If ``outbound_allowed_networks`` is empty: the loopback networks in development, else none.
        """
        return self.outbound_allowed_networks or (_LOOPBACK_NETWORKS if self.is_development else ())

    @property
    def registration(self) -> str:
        """Which clients may register: the setting ``registration_policy`` or its default, ``closed`` or ``open``."""
        return self.registration_policy or ("open" if self.is_development else "closed")

    @property
    def redirect_schemes(self) -> tuple[str, ...]:
        """Schemes without a dot that redirect URIs of native apps may have: ``private_use_schemes`` or its default."""
        return self.private_use_schemes or (_MCP_SCHEMES if self.baseline == "mcp" else ())

    @property
    def metadata_documents(self) -> str:
        """Whether a ``client_id`` may be a URL: ``metadata_document_clients`` or its default, ``off`` or ``open``."""
        return self.metadata_document_clients or ("open" if self.is_development else "off")

    @property
    def api_resource(self) -> str:
        """Resource identifier of the API (RFC 8707 §2): the setting ``resource``, or the issuer if it is empty."""
        return self.resource or self.issuer

    @property
    def known_scopes(self) -> Mapping[str, str]:
        """The API's scopes and those of OpenID Connect, each with its description."""
        return {**OPENID_SCOPES, **self.scopes}

    def claims_of(self, scope: frozenset[str]) -> frozenset[str]:
        """Return the names of the claims about a user that scopes include: standard claims, and ``scope_claims``."""
        return claims_of_scope(scope).union(*(self.scope_claims.get(name, ()) for name in scope))

    @property
    def custom_claims(self) -> frozenset[str]:
        """The names of all claims in ``scope_claims``."""
        return frozenset(name for names in self.scope_claims.values() for name in names)

    @property
    def tokens_path(self) -> str | None:
        """URL path of the page for personal access tokens; ``None`` if such tokens are disabled."""
        tokens_path = self.personal_access_tokens_path
        return f"{self.account_pages_path}/tokens" if tokens_path == "" else tokens_path

    @property
    def account_pages_path(self) -> str:
        """URL path below which the pages of accounts are, also if ``account_path`` is ``None``."""
        return self.account_path or f"{self.oauth_path}/account"

    @property
    def sign_in_path(self) -> str:
        """URL path of the sign-in page of Valetkey's own accounts."""
        return f"{self.account_pages_path}/sign-in"

    @property
    def own_paths(self) -> tuple[str, ...]:
        """Path prefixes of Valetkey's own pages and endpoints."""
        paths = (self.oauth_path, self.account_path, self.device_path, self.tokens_path, self.docs_path)
        return tuple(path for path in paths if path is not None)

    @property
    def personal_scopes(self) -> frozenset[str]:
        """Scopes that a personal access token may have, limited to those that the default plan allows.

        Scopes for identity (``openid``), refresh tokens and the management of personal access tokens are excluded.
        """
        excluded = {"openid", "offline_access", self.personal_access_token_api_scope}
        plan = self.plans.get(self.default_plan)
        allowed = self.scopes.keys() if plan is None or plan.allowed_scopes is None else plan.allowed_scopes
        return frozenset(self.personal_access_token_scopes or self.scopes) & allowed - excluded

    @property
    def name(self) -> str:
        """Name of the site, shown on pages: the setting ``site_name``, or the issuer's host if it is empty."""
        return self.site_name or urlsplit(self.issuer).netloc

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the database: ``database_url``, or a SQLite file in ``data_dir`` if that is empty."""
        return self.database_url or f"sqlite:///{Path(self.data_dir).absolute() / 'valetkey.db'}"
