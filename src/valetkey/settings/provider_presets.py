"""Well-known providers: ``Google``, ``GitHub``, ``GitLab``, ``Microsoft`` and ``Apple``.

The parameters that they share with ``OpenIDProvider`` are described at ``SignInProvider``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from .providers import SignInProvider, SignUp

GOOGLE_ISSUER = "https://accounts.google.com"
APPLE_ISSUER = "https://appleid.apple.com"
_GITHUB = "https://github.com"
_is_directory_id = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch


@dataclass(frozen=True)
class _Preset(SignInProvider):
    """A provider whose issuer, id, name and properties are fixed: its constructor does not take them."""

    issuer: str = field(init=False)
    name: str = field(init=False)
    provider_id: str = field(init=False)
    verifies_email: bool = field(init=False, default=True)
    authorization_parameters: Mapping[str, str] = field(init=False, default_factory=dict)


@dataclass(frozen=True)
class Google(_Preset):
    """Google. An address counts as verified if Google manages it: at gmail.com, or in a Google Workspace domain."""

    def __post_init__(self) -> None:
        self._set(issuer=GOOGLE_ISSUER, provider_id="google", name="Google")
        if self.keep_tokens:
            # Google issues a refresh token only with these, and without the scope offline_access.
            self._set(authorization_parameters={"access_type": "offline", "prompt": "consent"})

    @property
    def prompts(self) -> frozenset[str]:
        return frozenset({"select_account"})  # and consent and none; login is not documented


@dataclass(frozen=True)
class GitHub(_Preset):
    """GitHub, or a GitHub Enterprise Server. It has plain OAuth 2.0: the user is read from its API.

    :param url: URL of a GitHub Enterprise Server.
    """

    scope: str = field(default="read:user user:email", kw_only=True)
    url: str = field(default=_GITHUB, kw_only=True)

    def __post_init__(self) -> None:
        self._set(issuer=str(self.url).rstrip("/"), provider_id="github", name="GitHub")

    @property
    def has_metadata(self) -> bool:
        return False

    @property
    def response_issuer(self) -> str:
        return f"{self.issuer}/login/oauth"  # since 2026; older GitHub Enterprise Servers send none

    @property
    def prompts(self) -> frozenset[str]:
        return frozenset({"select_account"})

    @property
    def api_url(self) -> str:
        """URL of GitHub's REST API."""
        return "https://api.github.com" if self.issuer == _GITHUB else f"{self.issuer}/api/v3"


@dataclass(frozen=True)
class GitLab(_Preset):
    """GitLab.com, or a GitLab server.

    :param url: URL of a GitLab server.
    """

    url: str = field(default="https://gitlab.com", kw_only=True)

    def __post_init__(self) -> None:
        self._set(issuer=str(self.url).rstrip("/"), provider_id="gitlab", name="GitLab")

    @property
    def prompts(self) -> frozenset[str]:
        return frozenset({"login"})  # its response to select_account is an error


@dataclass(frozen=True, init=False)
class Microsoft(_Preset):
    """Microsoft Entra ID, for the accounts of one directory (tenant). Its addresses never count as verified.

    :param tenant: the directory id, such as ``11111111-2222-3333-4444-555555555555``.
    :param authority: URL of a national cloud, such as ``https://login.microsoftonline.us``.
    """

    def __init__(
        self,
        tenant: str,
        client_id: str,
        client_secret: str,
        *,
        authority: str = "https://login.microsoftonline.com",
        scope: str = "openid email profile",
        sign_up: SignUp = None,
        keep_tokens: bool = False,
    ) -> None:
        if keep_tokens and "offline_access" not in str(scope).split():
            scope = f"{scope} offline_access"
        super().__init__(client_id, client_secret, scope=scope, sign_up=sign_up, keep_tokens=keep_tokens)
        # An administrator of any directory can write any address.
        issuer = f"{str(authority).rstrip('/')}/{tenant}/v2.0"
        self._set(issuer=issuer, provider_id="microsoft", name="Microsoft", verifies_email=False)

    def problems(self) -> list[str]:
        tenant = urlsplit(self.issuer).path.split("/")[1]
        wrong = [] if _is_directory_id(tenant) else [f"tenant must be the id of one directory, not {tenant!r}"]
        return [*super().problems(), *wrong]


@dataclass(frozen=True)
class Apple(_Preset):
    """Sign in with Apple. The client secret is signed with a key for each request.

    :param client_id: the Services ID.
    :param team_id: the Team ID, ten letters and digits.
    :param key_id: the Key ID of the private key, ten letters and digits.
    :param private_key: the content of the file ``AuthKey_<key id>.p8``.
    """

    client_secret: str = field(init=False, repr=False)
    scope: str = field(init=False, default="openid name email")
    team_id: str = field(kw_only=True)
    key_id: str = field(kw_only=True)
    private_key: str = field(kw_only=True, repr=False)

    def __post_init__(self) -> None:
        self._set(issuer=APPLE_ISSUER, provider_id="apple", name="Apple", client_secret=self.private_key)

    @property
    def credentials(self) -> tuple[str, ...]:
        return ("client_id", "team_id", "key_id")

    @property
    def has_metadata(self) -> bool:
        return False  # its metadata has named another issuer than its ID tokens have

    @property
    def token_issuers(self) -> tuple[str, ...]:
        return (APPLE_ISSUER, "https://account.apple.com")

    @property
    def response_mode(self) -> str | None:
        return "form_post"  # Apple requires it for the scopes name and email

    @property
    def prompts(self) -> frozenset[str]:
        return frozenset()

    def problems(self) -> list[str]:
        is_key = isinstance(self.client_secret, str) and "PRIVATE KEY-----" in self.client_secret
        wrong = [] if is_key else ["private_key must be the content of the file AuthKey_<key id>.p8"]
        return [*super().problems(), *wrong]
