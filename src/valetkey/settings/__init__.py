"""All settings of Valetkey in one immutable object, validated once at start; an error lists all problems together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from valetkey.protocol.uri import is_loopback_host

from .checks import CHECKS
from .plans import Plan

OPENID_SCOPES: Mapping[str, str] = {  # OpenID Connect Core §5.4, §11
    "openid": "Know who you are",
    "profile": "See your name and profile",
    "email": "See your e-mail address",
    "address": "See your postal address",
    "phone": "See your telephone number",
    "offline_access": "Keep access while you are away",
}
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_LOOPBACK_NETWORKS = ("127.0.0.0/8", "::1/128")


class SettingsError(Exception):
    """Valetkey's settings are invalid. The message has one line for each problem."""


def _setting(default: Any, doc: str, *, hidden: bool = False) -> Any:
    """Return the dataclass field of a setting, with its default and its documentation.

    :param hidden: whether the value is secret and must not appear in ``repr``.
    """
    setting: Any = field(
        **({"default_factory": dict} if default == {} else {"default": default}),
        repr=not hidden,
        metadata={"doc": doc},
    )
    return setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of Valetkey, validated and immutable.

    Pass settings as keywords to ``Valetkey``. A setting that is not passed is taken from the environment variable
    ``VALETKEY_<NAME>`` (if the ``valetkey`` command runs the app), else from ``app.config["VALETKEY_<NAME>"]``, else
    it has its default. ``app.extensions["valetkey"].settings`` is the result.

    :raises SettingsError: if values are invalid, or contradict each other or a specification.
    """

    issuer: str = _setting(
        "http://127.0.0.1:8000",
        "Issuer identifier: the URL of this server (RFC 8414 §2). Must be https, except on a loopback address.",
    )
    site_name: str = _setting("", "Name of the site, shown on pages. Empty: the issuer's host.")
    resource: str = _setting("", "Resource identifier of the API (RFC 8707 §2). Empty: the issuer.")
    scopes: Mapping[str, str] = _setting({}, "Scopes of the API, each with its description for the consent page.")
    plans: Mapping[str, Plan] = _setting(
        {}, "Plans that apps can subscribe to: each name, with its limit, quota, scopes and approval."
    )
    default_plan: str = _setting("", "Plan of apps without a subscription. Required if there are plans.")
    api_prefix: str = _setting("/api", "Path prefix of the API's routes.")
    protect_by_default: bool = _setting(
        False,
        "Whether a route below api_prefix refuses every request unless it is protected by @require_oauth or protect(), "
        "or declared @public.",
    )
    problem_details: bool = _setting(
        True,
        "Whether errors below api_prefix are sent as problem details (RFC 9457). The app's own error handlers take "
        "precedence.",
    )
    request_ids: bool = _setting(
        True,
        "Whether responses below api_prefix have a Request-Id header: the caller's if well formed, else a new one.",
    )
    cors: str = _setting(
        "registered",
        "Origins that browsers may call the API from: 'registered' (those of registered clients with the policy "
        "browser), 'any' or 'off'.",
    )
    max_body: str = _setting(
        "", "Maximum size of request bodies below api_prefix, such as '1 MiB'. Empty: Flask's MAX_CONTENT_LENGTH."
    )
    oauth_path: str = _setting("/oauth", "Path prefix of the OAuth endpoints.")
    endpoints_bypass_flask: bool = _setting(
        False,
        "Whether machine endpoints (token, introspection and so on) and authorization requests that need no page are "
        "handled before Flask, up to twice as fast. The app's hooks and error handlers then do not see these requests. "
        "`valetkey serve` without an app always does this. Has no effect if the app sets TRUSTED_HOSTS.",
    )
    account_path: str | None = _setting("/account", "Path of the account pages. None: there are none.")
    device_path: str | None = _setting(
        "/device", "Path of the page where users enter a device's code (RFC 8628). None: no device authorization."
    )
    personal_access_tokens_path: str | None = _setting(
        "",
        "Path of the page where users create personal access tokens. Empty: /tokens below account_path. None: such "
        "tokens cannot be created and are not accepted.",
    )
    personal_access_token_scopes: tuple[str, ...] = _setting(
        (), "Scopes that personal access tokens may have. Empty: all of scopes."
    )
    personal_access_token_api_scope: str | None = _setting(
        None,
        "Scope (one of scopes) that allows an app to list, create and revoke its user's personal access tokens. "
        "None: only users can, on their page.",
    )
    openapi_path: str | None = _setting("/openapi.json", "Path of the API's OpenAPI document. None: not served.")
    docs_path: str | None = _setting("/docs", "Path of the API reference for developers. None: not served.")
    llms_txt_path: str | None = _setting(
        "/llms.txt", "Path of a plain-text description of the API for language models. None: not served."
    )
    api_catalog: bool = _setting(True, "Whether /.well-known/api-catalog is served (RFC 9727).")
    api_version: str = _setting("1", "Version of the API, shown in its documents.")
    api_description: str = _setting("", "Description of the API in one or two sentences, shown in its documents.")
    security_contact: str | None = _setting(
        None,
        "Contact for reporting security problems, such as mailto:security@example.com or https://..., published in "
        "/.well-known/security.txt (RFC 9116). None: that file is not served.",
    )
    sign_in_url: str | None = _setting(
        None,
        "URL of the app's own sign-in page, if resource_owner is a function. The path to return to is added as ?next=.",
    )
    sign_up: bool = _setting(True, "Whether users can create accounts themselves.")

    database_url: str = _setting(
        "", "SQLAlchemy URL of the database, SQLite or PostgreSQL. Empty: a SQLite file in data_dir.", hidden=True
    )
    redis_url: str | None = _setting(
        None, "URL of the Redis or Valkey server that counts rate limits. None: the database counts them.", hidden=True
    )
    data_dir: str = _setting("var", "Folder of the SQLite database and of generated keys.")
    encryption_keys: tuple[str, ...] = _setting(
        (),
        "Base64 keys of 32 bytes. The first one encrypts, all of them decrypt. Empty: one is generated in data_dir.",
        hidden=True,
    )

    id_token_lifetime: int = _setting(_HOUR, "Lifetime of an ID token, in seconds (OpenID Connect Core §2).")
    access_token_lifetime: int = _setting(15 * _MINUTE, "Lifetime of an access token, in seconds.")
    authorization_code_lifetime: int = _setting(
        60, "Lifetime of an authorization code, in seconds (RFC 6749 §4.1.2: 600 at most)."
    )
    device_code_lifetime: int = _setting(10 * _MINUTE, "Lifetime of a device code, in seconds (RFC 8628 §3.2).")
    refresh_token_lifetime: int = _setting(30 * _DAY, "Lifetime of an unused refresh token, in seconds.")
    personal_access_token_lifetime: int = _setting(
        365 * _DAY, "Maximum lifetime of a personal access token, in seconds."
    )
    refresh_retry_window: int = _setting(
        10,
        "Seconds in which a repeated refresh request gets the same response again, in case the first was lost. 0: "
        "every reuse revokes the token family.",
    )
    interaction_lifetime: int = _setting(
        10 * _MINUTE, "Lifetime of an authorization request that awaits sign-in and consent, in seconds."
    )
    mail_link_lifetime: int = _setting(_HOUR, "Lifetime of a link in a mail, in seconds.")
    session_lifetime: int = _setting(14 * _DAY, "Lifetime of a sign-in session, in seconds.")
    clock_leeway: int = _setting(5, "Accepted clock difference when times in tokens are checked, in seconds.")

    rate_limit_fields: Literal["ietf", "legacy", "both", "off"] = _setting(
        "ietf",
        "Header fields that report limits: 'ietf' (RateLimit, RateLimit-Policy), 'legacy' (X-RateLimit-...), 'both' or "
        "'off'.",
    )
    sign_in_limit: str = _setting(
        "10/600s burst 10",
        "Wrong passwords for one e-mail address from one network address. Attempts from a browser that signed in to "
        "the account before are counted separately.",
    )
    sign_in_address_limit: str = _setting(
        "100/600s burst 100",
        "Wrong passwords from one network address, without those from browsers that signed in to the account before.",
    )
    sign_in_account_limit: str = _setting(
        "100/hour burst 100",
        "Wrong passwords for one e-mail address from browsers that never signed in to the account.",
    )
    mail_limit: str = _setting("5/hour burst 5", "Mails with a link to one e-mail address. Further mails are not sent.")
    mail_address_limit: str = _setting(
        "30/hour burst 30", "Mails with a link that are requested from one network address."
    )
    sign_up_limit: str = _setting("30/hour burst 30", "Accounts created from one network address.")
    device_code_limit: str = _setting("10/600s burst 10", "Wrong user codes entered by one user (RFC 8628 §5.1).")
    device_code_address_limit: str = _setting("30/600s burst 30", "Wrong user codes entered from one network address.")
    device_authorization_limit: str = _setting("60/minute burst 60", "Device codes requested from one network address.")
    interaction_limit: str = _setting(
        "600/600s burst 600",
        "Authorization requests that await sign-in and consent, of one signed-in user, or from one network address if "
        "no user is signed in.",
    )
    client_authentication_limit: str = _setting(
        "600/minute burst 600", "Failed client authentications from one network address."
    )

    leak_report_limit: str = _setting("60/minute burst 60", "Leaked tokens reported from one network address.")
    token_limit: str = _setting(
        "300000/minute burst 30000",
        "Requests to the token and device authorization endpoints by one client; for a public client, from one network "
        "address.",
    )
    introspection_limit: str = _setting("300000/minute burst 30000", "Introspection requests by one client.")
    revocation_limit: str = _setting(
        "300000/minute burst 30000",
        "Revocation requests by one client; for a public client, from one network address.",
    )
    userinfo_limit: str = _setting(
        "6000/minute burst 600", "Requests to the userinfo and limits endpoints for one user of one client."
    )
    registration_limit: str = _setting("300/hour burst 300", "Clients registered from one network address.")

    registration_policy: str = _setting(
        "",
        "Which clients may register (RFC 7591): 'closed' (those with an initial access token), 'approve' (all, but the "
        "operator must approve each one) or 'open' (all). Empty: 'open' if the issuer is a loopback address, else "
        "'closed'.",
    )
    registration_profile: str | None = _setting(
        None, "Policy of clients that register themselves. None: it follows from their metadata."
    )
    unused_registration_days: int = _setting(
        90, "Days after which a client that registered itself is deleted if it was never used. 0: never."
    )
    metadata_document_clients: str = _setting(
        "",
        "Whether a client_id may be the URL of the client's metadata document: 'off', 'approve' (if the operator "
        "approved the client) or 'open'. Empty: 'open' if the issuer is a loopback address, else 'off'.",
    )

    embedded_worker: bool = _setting(
        True,
        "Whether this process may send mail and delete expired rows. Of several such processes one at a time does, by "
        "a lease in the database.",
    )
    revocation_outage: str = _setting(
        "refuse",
        "Handling of tokens while the database cannot be read: 'refuse' responds 503, 'accept' accepts them until they "
        "expire.",
    )
    trusted_proxies: tuple[str, ...] = _setting(
        (), "Networks of proxies whose X-Forwarded-For header is trusted, such as 10.0.0.0/8."
    )
    outbound_allowed_networks: tuple[str, ...] = _setting(
        (),
        "Networks that outgoing HTTP requests may reach although they are not public, such as 10.0.0.0/8. Empty: "
        "public addresses only, and loopback addresses if the issuer is one.",
    )
    outbound_ca_file: str | None = _setting(
        None, "PEM file of certificate authorities that outgoing requests trust besides the system's."
    )
    mail_url: str | None = _setting(
        None, "URL of the mail server: smtp://user:password@host:port. None: no mail is sent.", hidden=True
    )
    operator_mail: str | None = _setting(
        None,
        "E-mail address that is notified if a client secret is reported as leaked, besides the client's contacts. "
        "None: only those are.",
    )
    mail_from: str = _setting("", "Sender address of mail. Empty: valetkey@<issuer's host>.")

    def __post_init__(self) -> None:
        problems = [problem for check in CHECKS for problem in check(self)]
        if problems:
            raise SettingsError("\n".join(problems))

    @property
    def is_production(self) -> bool:
        """Whether the server is in production: the issuer's host is not a loopback address."""
        return not is_loopback_host(urlsplit(self.issuer).hostname)

    @property
    def outbound_networks(self) -> tuple[str, ...]:
        """Networks that outgoing HTTP requests may reach besides public addresses.

        If ``outbound_allowed_networks`` is empty: the loopback networks in development, none in production.
        """
        return self.outbound_allowed_networks or (() if self.is_production else _LOOPBACK_NETWORKS)

    @property
    def registration(self) -> str:
        """Which clients may register: the setting ``registration_policy`` or its default, ``closed`` or ``open``."""
        return self.registration_policy or ("closed" if self.is_production else "open")

    @property
    def metadata_documents(self) -> str:
        """Whether a ``client_id`` may be a URL: ``metadata_document_clients`` or its default, ``off`` or ``open``."""
        return self.metadata_document_clients or ("off" if self.is_production else "open")

    @property
    def api_resource(self) -> str:
        """Resource identifier of the API (RFC 8707 §2): the setting ``resource``, or the issuer if it is empty."""
        return self.resource or self.issuer

    @property
    def known_scopes(self) -> Mapping[str, str]:
        """The API's scopes and those of OpenID Connect, each with its description."""
        return {**OPENID_SCOPES, **self.scopes}

    @property
    def tokens_path(self) -> str | None:
        """URL path of the page for personal access tokens; ``None`` if such tokens are disabled."""
        account_path = self.account_path or f"{self.oauth_path}/account"
        return f"{account_path}/tokens" if self.personal_access_tokens_path == "" else self.personal_access_tokens_path

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
