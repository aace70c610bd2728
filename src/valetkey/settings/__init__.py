"""Every setting in one frozen object, judged once at start; all problems are told together."""

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
    """The settings cannot be used; the message lists every problem found."""


def _setting(default: Any, doc: str, *, hidden: bool = False) -> Any:
    made: Any = field(
        **({"default_factory": dict} if default == {} else {"default": default}),
        repr=not hidden,
        metadata={"doc": doc},
    )
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator may choose. Embedded: keyword, then ``app.config["VALETKEY_<NAME>"]``, then default.

    :raises SettingsError: where values contradict each other or a specification.
    """

    issuer: str = _setting(
        "http://127.0.0.1:8000",
        "Issuer identifier: the URL of this server (RFC 8414 §2). https off loopback.",
    )
    site_name: str = _setting("", "The name that people see on the pages; the issuer's host where empty.")
    resource: str = _setting("", "Resource identifier of the API (RFC 8707 §2); the issuer where empty.")
    scopes: Mapping[str, str] = _setting({}, "Each scope and the words in which consent asks for it.")
    plans: Mapping[str, Plan] = _setting(
        {}, "What apps subscribe to: each plan's name, and its limit, quota, scopes and approval."
    )
    default_plan: str = _setting("", "The plan of apps that subscribed to none; needed where there are plans.")
    api_prefix: str = _setting("/api", "Where the API's routes begin.")
    protect_by_default: bool = _setting(
        False, "Whether routes below api_prefix are closed that say neither @public nor @require_oauth."
    )
    problem_details: bool = _setting(
        True, "Whether errors below api_prefix are problem details (RFC 9457); the app's own error handlers come first."
    )
    request_ids: bool = _setting(
        True, "Whether answers below api_prefix have a Request-Id: the caller's if it is well formed, or a new one."
    )
    cors: str = _setting(
        "registered",
        "From where browsers may call the API: 'registered' (the origins of registered apps of the policy browser), "
        "'any' or 'off'.",
    )
    max_body: str = _setting("", "The largest body below api_prefix, as '1 MiB'; empty: Flask's MAX_CONTENT_LENGTH.")
    oauth_path: str = _setting("/oauth", "Where the OAuth endpoints are.")
    endpoints_bypass_flask: bool = _setting(
        False,
        "Whether programs' OAuth endpoints (token, introspection and so on) and authorization requests that ask "
        "nobody are answered before Flask, up to twice as fast: the app's own hooks and error handlers then do not see "
        "these requests. So does `valetkey serve` without an app. An app with TRUSTED_HOSTS is not passed by.",
    )
    account_path: str | None = _setting("/account", "Where people see their account; None: no account pages.")
    device_path: str | None = _setting(
        "/device", "Where people enter the code that a device shows (RFC 8628); None: no device authorization."
    )
    personal_access_tokens_path: str | None = _setting(
        "",
        "Where people make personal access tokens; empty: /tokens below account_path. None: no such token is made, "
        "and none is accepted.",
    )
    personal_access_token_scopes: tuple[str, ...] = _setting(
        (), "The scopes that a personal access token may have; empty: all of scopes."
    )
    personal_access_token_api_scope: str | None = _setting(
        None,
        "The scope, one of scopes, with which an app may list, make and revoke its user's personal access tokens; "
        "None: only people may, on their page.",
    )
    openapi_path: str | None = _setting("/openapi.json", "Where the API's OpenAPI document is; None: nowhere.")
    docs_path: str | None = _setting("/docs", "Where developers read the API reference; None: no such page.")
    llms_txt_path: str | None = _setting("/llms.txt", "Where programs read what the API is, as text; None: nowhere.")
    api_catalog: bool = _setting(True, "Whether /.well-known/api-catalog is served (RFC 9727).")
    api_version: str = _setting("1", "The API's version, as its documents tell it.")
    api_description: str = _setting("", "What the API is for, in a sentence or two for its documents.")
    security_contact: str | None = _setting(
        None,
        "Where security problems are reported, as mailto:security@example.com or https://...; it is told in "
        "/.well-known/security.txt (RFC 9116). None: there is no such file.",
    )
    sign_in_url: str | None = _setting(
        None, "The host's own sign-in page, for resource_owner= as a plain function; gets ?next=."
    )
    sign_up: bool = _setting(True, "Whether people may make an account for themselves.")

    database_url: str = _setting("", "SQLAlchemy URL of the store; SQLite in data_dir where empty.", hidden=True)
    redis_url: str | None = _setting(None, "Redis or Valkey for rate limits; None: in the store.", hidden=True)
    data_dir: str = _setting("var", "Folder of the SQLite store and of generated keys.")
    encryption_keys: tuple[str, ...] = _setting(
        (), "Base64 keys of 32 bytes; the first encrypts. Empty: one is generated in data_dir.", hidden=True
    )

    id_token_lifetime: int = _setting(_HOUR, "Seconds an ID token may be accepted (OpenID Connect Core §2).")
    access_token_lifetime: int = _setting(15 * _MINUTE, "Seconds an access token is honoured.")
    authorization_code_lifetime: int = _setting(60, "Seconds a code may be redeemed (RFC 6749 §4.1.2: 600 at most).")
    device_code_lifetime: int = _setting(10 * _MINUTE, "Seconds a device waits for its person (RFC 8628 §3.2).")
    refresh_token_lifetime: int = _setting(30 * _DAY, "Seconds an unused refresh token lives.")
    personal_access_token_lifetime: int = _setting(365 * _DAY, "The most seconds a personal access token lives.")
    refresh_retry_window: int = _setting(
        10, "Seconds in which a repeated refresh gets its lost answer again; 0: every reuse ends the family."
    )
    interaction_lifetime: int = _setting(10 * _MINUTE, "Seconds a request waits for sign-in and consent.")
    mail_link_lifetime: int = _setting(_HOUR, "Seconds a link in a mail is good.")
    session_lifetime: int = _setting(14 * _DAY, "Seconds a sign-in lasts.")
    clock_leeway: int = _setting(5, "Seconds by which clocks may differ when times in tokens are judged.")

    rate_limit_fields: Literal["ietf", "legacy", "both", "off"] = _setting(
        "ietf",
        "How limits are told: 'ietf' (RateLimit, RateLimit-Policy), 'legacy' (X-RateLimit-...), 'both' or 'off'.",
    )
    sign_in_limit: str = _setting(
        "10/600s burst 10",
        "Wrong passwords for one e-mail address from one network address; and, counted apart, from one browser that "
        "signed in to it before.",
    )
    sign_in_address_limit: str = _setting(
        "100/600s burst 100", "Wrong passwords from one network address; not of browsers that are known."
    )
    sign_in_account_limit: str = _setting(
        "100/hour burst 100",
        "Wrong passwords for one e-mail address from browsers that never signed in to it.",
    )
    mail_limit: str = _setting("5/hour burst 5", "Mails with a link to one e-mail address; more are not sent.")
    mail_address_limit: str = _setting(
        "30/hour burst 30", "Mails with a link that are asked for from one network address."
    )
    sign_up_limit: str = _setting("30/hour burst 30", "Accounts made from one network address.")
    device_code_limit: str = _setting("10/600s burst 10", "Wrong user codes that one person may enter (RFC 8628 §5.1).")
    device_code_address_limit: str = _setting("30/600s burst 30", "Wrong user codes from one network address.")
    device_authorization_limit: str = _setting(
        "60/minute burst 60", "Device codes that one network address may ask for."
    )
    interaction_limit: str = _setting(
        "600/600s burst 600",
        "Authorization requests that wait for sign-in and consent: from one network address without a sign-in, "
        "or of one signed-in person.",
    )
    client_authentication_limit: str = _setting(
        "600/minute burst 600", "Failed client authentications from one network address."
    )

    leak_report_limit: str = _setting("60/minute burst 60", "Leaked tokens that one network address may report.")
    token_limit: str = _setting(
        "300000/minute burst 30000",
        "Requests to the token and device endpoints of one client; of a public one, from one network address.",
    )
    introspection_limit: str = _setting("300000/minute burst 30000", "Introspections by one client.")
    revocation_limit: str = _setting("300000/minute burst 30000", "Revocations by one client, as for token_limit.")
    userinfo_limit: str = _setting(
        "6000/minute burst 600", "Requests to the userinfo and limits endpoints for one user of one app."
    )
    registration_limit: str = _setting("300/hour burst 300", "Clients registered from one network address.")

    registration_policy: str = _setting(
        "",
        "Who may register clients (RFC 7591): 'closed' (whoever has an initial access token), 'approve' (all; the "
        "operator approves each) or 'open'. Empty: 'open' where the issuer is on loopback, else 'closed'.",
    )
    registration_profile: str | None = _setting(
        None, "The policy that registered clients get; None: by what they say of themselves."
    )
    unused_registration_days: int = _setting(
        90, "Days after which a client that registered itself is forgotten if nobody used it; 0: never."
    )
    metadata_document_clients: str = _setting(
        "",
        "Clients whose client_id is the URL of their metadata: 'off', 'approve' (those that the operator approved) "
        "or 'open'. Empty: 'open' where the issuer is on loopback, else 'off'.",
    )

    embedded_worker: bool = _setting(
        True, "Whether this process may send mail and prune; one process at a time does, by a lease in the store."
    )
    revocation_outage: str = _setting(
        "refuse",
        "While the store cannot be read: 'refuse' tokens with 503, or 'accept' them until they expire.",
    )
    trusted_proxies: tuple[str, ...] = _setting(
        (), "Networks of proxies whose X-Forwarded-For is believed, as 10.0.0.0/8."
    )
    outbound_allowed_networks: tuple[str, ...] = _setting(
        (),
        "Networks that fetches may reach although they are not public, as 10.0.0.0/8. "
        "Empty: public addresses only, and loopback where the issuer is on loopback.",
    )
    outbound_ca_file: str | None = _setting(
        None, "PEM file of certificate authorities that fetches trust besides the system's."
    )
    mail_url: str | None = _setting(
        None, "smtp://user:password@host:port for mail; None: no mail is sent.", hidden=True
    )
    operator_mail: str | None = _setting(
        None, "Who is told by mail when a client secret was reported as leaked; None: the app's contacts only."
    )
    mail_from: str = _setting("", "Sender of mail; valetkey@<issuer's host> where empty.")

    def __post_init__(self) -> None:
        problems = [problem for check in CHECKS for problem in check(self)]
        if problems:
            raise SettingsError("\n".join(problems))

    @property
    def is_production(self) -> bool:
        """Production means that the issuer's host is not a loopback address."""
        return not is_loopback_host(urlsplit(self.issuer).hostname)

    @property
    def outbound_networks(self) -> tuple[str, ...]:
        """The networks that fetches may reach besides public addresses."""
        return self.outbound_allowed_networks or (() if self.is_production else _LOOPBACK_NETWORKS)

    @property
    def registration(self) -> str:
        """Who may register clients: ``closed``, ``approve`` or ``open``."""
        return self.registration_policy or ("closed" if self.is_production else "open")

    @property
    def metadata_documents(self) -> str:
        """Whether clients may describe themselves by a document: ``off``, ``approve`` or ``open``."""
        return self.metadata_document_clients or ("off" if self.is_production else "open")

    @property
    def api_resource(self) -> str:
        return self.resource or self.issuer

    @property
    def known_scopes(self) -> Mapping[str, str]:
        """The publisher's scopes and OpenID Connect's own, each with its words."""
        return {**OPENID_SCOPES, **self.scopes}

    @property
    def tokens_path(self) -> str | None:
        """The path of the personal access tokens' page; None: there are no such tokens."""
        below = self.account_path or f"{self.oauth_path}/account"
        return f"{below}/tokens" if self.personal_access_tokens_path == "" else self.personal_access_tokens_path

    @property
    def own_paths(self) -> tuple[str, ...]:
        """Where our own pages and endpoints are."""
        every = (self.oauth_path, self.account_path, self.device_path, self.tokens_path, self.docs_path)
        return tuple(path for path in every if path is not None)

    @property
    def personal_scopes(self) -> frozenset[str]:
        """What a personal access token may carry: never who somebody is, nor the making of other tokens.

        Such tokens have the default plan, and of its scopes no more than it allows.
        """
        never = {"openid", "offline_access", self.personal_access_token_api_scope}
        plan = self.plans.get(self.default_plan)
        allowed = self.scopes.keys() if plan is None or plan.allowed_scopes is None else plan.allowed_scopes
        return frozenset(self.personal_access_token_scopes or self.scopes) & allowed - never

    @property
    def name(self) -> str:
        return self.site_name or urlsplit(self.issuer).netloc

    @property
    def store_url(self) -> str:
        return self.database_url or f"sqlite:///{Path(self.data_dir).absolute() / 'valetkey.db'}"
