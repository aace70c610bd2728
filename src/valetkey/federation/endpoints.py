"""The endpoints of a provider: from its metadata (OpenID Connect Discovery §3), or fixed ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from valetkey.outbound.discovery import Discovery
from valetkey.outbound.errors import FetchFailed
from valetkey.outbound.jwk_set import ALGORITHMS
from valetkey.protocol.uri import endpoint_uri_problem
from valetkey.settings.provider_presets import Apple, GitHub
from valetkey.settings.providers import SignInProvider


@dataclass(frozen=True, slots=True)
class ProviderEndpoints:
    """The endpoints of a provider and what it supports.

    :param authorization: URL of the authorization endpoint.
    :param token: URL of the token endpoint.
    :param auth_method: how this site authenticates at the token endpoint.
    :param userinfo: URL of the userinfo endpoint; ``None`` if there is none.
    :param jwks_uri: URL of the keys that sign ID tokens; ``None`` if there are none.
    :param algorithms: algorithms of ID tokens; all are asymmetric.
    :param prompts: which of ``login`` and ``select_account`` it supports as ``prompt``.
    :param sends_iss: whether each authorization response has the parameter ``iss`` (RFC 9207 §3).
    """

    authorization: str
    token: str
    prompts: frozenset[str]
    auth_method: str = "client_secret_basic"
    userinfo: str | None = None
    jwks_uri: str | None = None
    algorithms: tuple[str, ...] = ALGORITHMS
    sends_iss: bool = False


def find_endpoints(provider: SignInProvider, provider_metadata: Discovery) -> ProviderEndpoints:
    """Return the endpoints of a provider.

    :raises FetchError: if the metadata cannot be fetched, or has an endpoint that cannot be used.
    """
    prompts = provider.prompts
    if isinstance(provider, GitHub):
        login = f"{provider.issuer}/login/oauth"
        return ProviderEndpoints(f"{login}/authorize", f"{login}/access_token", prompts, "client_secret_post")
    if isinstance(provider, Apple):
        auth = f"{provider.issuer}/auth"
        method, keys = "client_secret_post", f"{auth}/keys"
        return ProviderEndpoints(f"{auth}/authorize", f"{auth}/token", prompts, method, jwks_uri=keys)
    metadata = provider_metadata.get(provider.issuer)
    offered = metadata.get("id_token_signing_alg_values_supported")
    auth_methods = metadata.get("token_endpoint_auth_methods_supported")
    offered_prompts = metadata.get("prompt_values_supported")  # Initiating User Registration via OpenID Connect 1.0 §4
    prefers_post = isinstance(auth_methods, list) and "client_secret_basic" not in auth_methods
    return ProviderEndpoints(
        authorization=_url(metadata, "authorization_endpoint", provider),
        token=_url(metadata, "token_endpoint", provider),
        prompts=frozenset(name for name in prompts if not isinstance(offered_prompts, list) or name in offered_prompts),
        auth_method="client_secret_post" if prefers_post else "client_secret_basic",
        userinfo=_url(metadata, "userinfo_endpoint", provider) if "userinfo_endpoint" in metadata else None,
        jwks_uri=_url(metadata, "jwks_uri", provider),
        algorithms=tuple(alg for alg in ALGORITHMS if not isinstance(offered, list) or alg in offered),
        sends_iss=metadata.get("authorization_response_iss_parameter_supported") is True,
    )


def _url(metadata: Any, member: str, provider: SignInProvider) -> str:
    url = metadata.get(member)
    problem = endpoint_uri_problem(url) if isinstance(url, str) else "it is missing"
    if problem:
        raise FetchFailed(f"the {member} in the metadata of {provider.issuer} cannot be used: {problem}")
    return str(url)
