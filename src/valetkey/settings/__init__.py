"""All settings of Valetkey in one immutable object, validated once at start; an error lists all problems together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .checks import find_problems
from .derived import DEFAULT_ISSUER, DerivedSettings
from .plans import Plan
from .providers import SignInProvider

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


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
class Settings(DerivedSettings):
    """All settings of Valetkey, validated and immutable.

    Pass settings as keywords to ``Valetkey``. A setting that is not passed is taken from the environment variable
    ``VALETKEY_<NAME>``, else from ``app.config["VALETKEY_<NAME>"]``, else it has its default.
    ``app.extensions["valetkey"].settings`` is the result.

    :raises SettingsError: if values are invalid, or contradict each other or a specification.
    """

    issuer: str = _setting(
        DEFAULT_ISSUER,
        "Issuer identifier: the URL of this server (RFC 8414 §2). Must be https, except on a loopback address. "
        "`valetkey serve` uses its own address by default. With the default under another server, only requests to "
        "127.0.0.1, ::1 or localhost get a response.",
    )
    site_name: str = _setting("", "Name of the site, shown on pages. Empty: the issuer's host.")
    resource: str = _setting("", "Resource identifier of the API (RFC 8707 §2). Empty: the issuer.")
    scopes: Mapping[str, str] = _setting({}, "Scopes of the API, each with its description for the consent page.")
    scope_claims: Mapping[str, Sequence[str]] = _setting(
        {},
        "Claims about users that scopes include besides the standard claims, such as {'groups': ['groups']}. Values "
        "come from the accounts, or from claims() of resource_owner.",
    )
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
    cors: Literal["registered", "any", "off"] = _setting(
        "registered",
        "Origins that browsers may call the API from: 'registered' (those of registered clients with the policy "
        "browser), 'any' or 'off'.",
    )
    max_body: str = _setting(
        "", "Maximum size of request bodies below api_prefix, such as '1 MiB'. Empty: Flask's MAX_CONTENT_LENGTH."
    )
    oauth_path: str = _setting("/oauth", "Path prefix of the OAuth endpoints.")
    endpoints_bypass_flask: bool = _setting(
        True,
        "Whether machine endpoints (token, introspection and so on), authorization requests that need no page, and "
        "repeated calls after 429 are handled before Flask, up to twice as fast, unless your app has hooks or signals "
        "that must run for them, or replaces methods of Flask. `valetkey check` names what prevents it.",
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
    sign_in_with: tuple[SignInProvider, ...] = _setting(
        (),
        "Providers at which users can sign in, such as Google(client_id, client_secret), in the order of their "
        "buttons; as text, a JSON array. Not set: the provider of the environment variables OIDC_CLIENT_ID, "
        "OIDC_CLIENT_SECRET and OIDC_ISSUER (by default, Google), if there are any.",
        hidden=True,
    )
    password_sign_in: bool = _setting(
        True, "Whether users can sign in and sign up with a password. False: only with the providers of sign_in_with."
    )

    database_url: str = _setting(
        "", "SQLAlchemy URL of the database, SQLite or PostgreSQL. Empty: a SQLite file in data_dir.", hidden=True
    )
    database_pooler: Literal["auto", "transaction", "session"] = _setting(
        "auto",
        "Connection pooler in front of PostgreSQL, such as PgBouncer: 'transaction' (its pool_mode; statements are not "
        "prepared, and no setting outlasts a transaction), 'session' (or no pooler) or 'auto' ('transaction' if there "
        "is a pooler).",
    )
    database_connections: int = _setting(
        10, "Maximum number of connections to the database that one process opens: one writes, the others read."
    )
    redis_url: str | None = _setting(
        None,
        "URL of the Redis or Valkey server that counts rate limits. None: PostgreSQL or a file counts them.",
        hidden=True,
    )
    data_dir: str = _setting(
        "var", "Folder of the SQLite database and of generated keys. A relative path begins at the working directory."
    )
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
    completed_sign_in_limit: str = _setting(
        "300/hour burst 300", "Sign-ins to one account with the right password, from all browsers together."
    )
    silent_authorization_limit: str = _setting(
        "600/minute burst 600",
        "Authorization requests of all apps together that one user need not see, because the user is signed in and has "
        "allowed them before.",
    )
    user_limit: str = _setting(
        "",
        "Calls of the API for one user by all apps together, such as '600/minute', in addition to the limits of routes "
        "and plans. Empty: there is no such limit.",
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

    registration_policy: Literal["", "closed", "approve", "open"] = _setting(
        "",
        "Which clients may register (RFC 7591): 'closed' (those with an initial access token), 'approve' (all, but the "
        "operator must approve each one) or 'open' (all). Empty: 'open' if issuer is set to a loopback address, "
        "else 'closed'.",
    )
    registration_profile: str | None = _setting(
        None, "Policy of clients that register themselves. None: it follows from their metadata."
    )
    baseline: Literal["bcp", "mcp"] = _setting(
        "bcp",
        "Defaults of other settings: 'bcp' (those of this list) or 'mcp' (private_use_schemes has those of common MCP "
        "hosts).",
    )
    private_use_schemes: tuple[str, ...] = _setting(
        (),
        "Schemes without a dot, such as cursor, for redirect URIs of clients with the policy native or agent. Since "
        "any program on a user's device can claim one, the user is prompted each time. Empty: none; with baseline "
        "'mcp': cursor, vscode, vscode-insiders, windsurf.",
    )
    unused_registration_days: int = _setting(
        90, "Days after which a client that registered itself is deleted if it was never used. 0: never."
    )
    metadata_document_clients: Literal["", "off", "approve", "open"] = _setting(
        "",
        "Whether a client_id may be the URL of the client's metadata document: 'off', 'approve' (if the operator "
        "approved the client) or 'open'. Empty: 'open' if issuer is set to a loopback address, else 'off'.",
    )

    health_path: str | None = _setting(
        None,
        "Path of a health check that responds 200 while the process runs. None: there is none; `valetkey serve` uses "
        "/healthz by default. A route of the app with this path takes precedence.",
    )
    readiness_path: str | None = _setting(
        None,
        "Path of a health check that responds 503 while requests cannot be served, with the state of the database, its "
        "schema, keys, counters and worker. None: there is none; `valetkey serve` uses /readyz by default. A route of "
        "the app with this path takes precedence.",
    )
    embedded_worker: bool = _setting(
        True,
        "Whether server processes, those of `valetkey serve` included, send mail and delete expired rows. Of several "
        "such processes one at a time does, by a lease in the database. False: run `valetkey work`.",
    )
    revocation_outage: Literal["refuse", "accept"] = _setting(
        "refuse",
        "Handling of tokens while the database cannot be read: 'refuse' responds 503, 'accept' accepts them until they "
        "expire.",
    )
    trusted_proxies: tuple[str, ...] = _setting(
        (),
        "Networks of proxies whose X-Forwarded-For header is trusted, such as 10.0.0.0/8; 'unix' for one that connects "
        "over a Unix socket.",
    )
    outbound_allowed_networks: tuple[str, ...] = _setting(
        (),
        "Networks that outgoing HTTP requests may reach although they are not public, such as 10.0.0.0/8. Empty: "
        "public addresses only, and loopback addresses if issuer is set to one.",
    )
    outbound_ca_file: str | None = _setting(
        None, "PEM file of certificate authorities that outgoing requests trust besides the system's."
    )
    mail_url: str | None = _setting(
        None,
        "URL of the mail server: smtp://user:password@host:port, or smtps:// for TLS from the beginning. A password is "
        "sent only over TLS, to a server whose certificate is trusted. None: no mail is sent.",
        hidden=True,
    )
    operator_mail: str | None = _setting(
        None,
        "E-mail address that is notified if a client secret is reported as leaked, besides the client's contacts. "
        "None: only those are.",
    )
    audit_retention_days: int = _setting(
        365, "Days after which events of the audit log are deleted; counted failures after 30 days at most. 0: never."
    )
    log_level: str = _setting("", "Level of the logger valetkey, such as WARNING. Empty: the host's, else INFO.")
    log_format: Literal["text", "json"] = _setting(
        "text", "Format of Valetkey's own log on stderr: 'text' or 'json' (an object per line)."
    )
    mail_from: str = _setting(
        "", "Sender of mail: an e-mail address, or Name <address>. Empty: valetkey@<issuer's host>."
    )

    def __post_init__(self) -> None:
        problems = find_problems(self)
        if problems:
            raise SettingsError("\n".join(problems))
