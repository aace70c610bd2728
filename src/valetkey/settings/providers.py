"""Providers at which users sign in with an account that they have there: the values of the setting ``sign_in_with``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from valetkey.protocol.display_name import display_name_problem
from valetkey.protocol.uri import endpoint_uri_problem

SignUp = bool | Sequence[str] | None

_is_id = re.compile(r"[a-z0-9][a-z0-9-]{0,31}").fullmatch
_is_credential = re.compile(r"[\x20-\x7e]+").fullmatch
_is_scope = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*").fullmatch
_is_domain = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?").fullmatch
# Of the authorization request; with another value, no response could be accepted.
_OWN_PARAMETERS = frozenset(
    {"response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "nonce"}
    | {"code_challenge", "code_challenge_method", "code_verifier", "request", "request_uri"}
)


@dataclass(frozen=True)
class SignInProvider:
    """A provider at which users can sign in. Use one of the subclasses, such as ``Google`` or ``OpenIDProvider``.

    :param issuer: the provider's issuer identifier. An account at the provider is identified by it and by ``sub``.
    :param client_id: the client id that the provider assigned to this site.
    :param client_secret: the client secret that the provider assigned to this site.
    :param name: name of the provider on pages, such as ``Google``.
    :param provider_id: short name of the provider in URLs and in ``provider_token``, such as ``google``.
    :param scope: the scopes that are requested, separated by spaces.
    :param sign_up: whether a user of the provider who has no account here gets one: ``True``, ``False``, or a list of
        domains, of which one must be that of the verified e-mail address (or the claim ``hd`` or ``tid``). ``None``: as
        the setting ``sign_up`` says.
    :param keep_tokens: whether the provider's tokens are stored, encrypted, for ``provider_token``.
    :param verifies_email: whether an address that the provider calls verified counts as verified.
    :param authorization_parameters: additional parameters of the authorization request.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    _: KW_ONLY
    name: str
    provider_id: str
    scope: str = "openid email profile"
    sign_up: SignUp = None
    keep_tokens: bool = False
    verifies_email: bool = True
    authorization_parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def credentials(self) -> tuple[str, ...]:
        """Names of the attributes that the provider has assigned."""
        return ("client_id", "client_secret")

    @property
    def has_metadata(self) -> bool:
        """True if the endpoints and keys are read from the provider's metadata (OpenID Connect Discovery)."""
        return True

    @property
    def token_issuers(self) -> tuple[str, ...]:
        """The accepted values of the claim ``iss``."""
        return (self.issuer,)

    @property
    def response_issuer(self) -> str:
        """The expected parameter ``iss`` of authorization responses (RFC 9207 §2)."""
        return self.issuer

    @property
    def response_mode(self) -> str | None:
        """The ``response_mode`` of the authorization request; ``None`` for the default, ``query``."""
        return None

    @property
    def prompts(self) -> frozenset[str]:
        """Which of ``login`` and ``select_account`` the provider supports as ``prompt`` (OpenID Connect Core §3.1.2.1).

        Metadata with ``prompt_values_supported`` may exclude more.
        """
        return frozenset({"login", "select_account"})

    def problems(self) -> list[str]:
        """Return what is wrong with these values, one sentence per problem."""
        problems = []
        texts = {"issuer": self.issuer, "id": self.provider_id, "name": self.name}
        if wrong := [name for name, value in texts.items() if not isinstance(value, str)]:
            return [f"{' and '.join(wrong)} must be text"]
        if issuer_problem := endpoint_uri_problem(self.issuer):
            problems.append(f"the issuer {self.issuer!r} cannot be used: {issuer_problem}")
        if not _is_id(self.provider_id):
            problems.append(f"the id {self.provider_id!r} must be lower-case letters, digits and hyphens, 32 at most")
        if name_problem := display_name_problem(self.name):
            problems.append(f"the name {name_problem}")
        problems += [
            f"{name} is missing: copy it from the provider's page for this site"
            for name in self.credentials
            if not isinstance(getattr(self, name), str) or not _is_credential(getattr(self, name))
        ]
        if not isinstance(self.scope, str) or not _is_scope(self.scope):
            problems.append("scope must be scope names, separated by single spaces")
        if not (self.sign_up is None or isinstance(self.sign_up, bool) or _are_domains(self.sign_up)):
            problems.append('sign_up must be true, false or a list of domains, like ["example.com"]')
        problems += [
            f"{name} must be true or false"
            for name in ("keep_tokens", "verifies_email")
            if not isinstance(getattr(self, name), bool)
        ]
        return problems + _parameter_problems(self.authorization_parameters)

    def _set(self, **values: Any) -> None:
        """Set attributes that follow from others. Only a subclass calls this, when the object is made."""
        for name, value in values.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class OpenIDProvider(SignInProvider):
    """Any OpenID Provider; its endpoints and keys are found from the issuer (OpenID Connect Discovery).

    :param issuer: exactly the ``issuer`` in the provider's metadata, such as ``https://id.example.com``.
    :param name: name of the provider on pages.
    :param id: short name of the provider in URLs; by default, made of ``name``.

    The other parameters are those of ``SignInProvider``.
    """

    id: str = field(default="", kw_only=True)
    provider_id: str = field(init=False)

    def __post_init__(self) -> None:
        self._set(provider_id=self.id or re.sub(r"[^a-z0-9]+", "-", str(self.name).lower()).strip("-")[:32])
        self._request_refresh_token()

    def _request_refresh_token(self) -> None:
        """Request the scope ``offline_access`` if tokens are stored, with ``prompt=consent`` (OIDC Core §11)."""
        if self.keep_tokens and "offline_access" not in str(self.scope).split():
            parameters = self.authorization_parameters
            self._set(scope=f"{self.scope} offline_access")
            if isinstance(parameters, Mapping):
                self._set(authorization_parameters={"prompt": "consent", **parameters})


def provider_problems(providers: Any) -> list[str]:
    """Return what is wrong with the setting ``sign_in_with``, one sentence per problem; an empty list if nothing is."""
    if not isinstance(providers, tuple) or not all(isinstance(provider, SignInProvider) for provider in providers):
        return ["sign_in_with must be a list of providers, like [Google(client_id, client_secret)]"]
    problems = [
        f"sign_in_with: {provider.name}: {problem}" for provider in providers for problem in provider.problems()
    ]
    for name in ("provider_id", "issuer"):
        values = [getattr(provider, name) for provider in providers]
        for value in sorted({value for value in values if values.count(value) > 1}):
            what = "id" if name == "provider_id" else "issuer"
            problems.append(f"sign_in_with: two providers have the {what} {value!r}: each needs its own")
    return problems


def _parameter_problems(parameters: Any) -> list[str]:
    if not isinstance(parameters, Mapping) or not all(
        isinstance(item, str) for pair in parameters.items() for item in pair
    ):
        return ["authorization_parameters must have names and values that are text"]
    problems = [
        f"authorization_parameters must not have {name}, which Valetkey sets"
        for name in sorted(_OWN_PARAMETERS & {*parameters})
    ]
    if not parameters.get("max_age", "0").isdecimal():
        problems.append("max_age in authorization_parameters must be a number of seconds")
    return problems


def _are_domains(value: Any) -> bool:
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return is_list and bool(value) and all(isinstance(domain, str) and _is_domain(domain) for domain in value)
