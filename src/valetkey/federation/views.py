"""``provider_token``: the function with which the host app gets a provider's access token."""

from __future__ import annotations

from valetkey.web.context import current_runtime

from .tokens import get_access_token


def provider_token(owner: str, provider: str) -> str | None:
    """Return an access token of a provider, with which your app can call the provider's API for a user.

    It is refreshed if it has expired. Needs an application context, and ``keep_tokens=True`` of the provider::

        token = provider_token(current_token.user_id, "google")

    :param owner: the user id (``sub``) of an account of Valetkey.
    :param provider: the provider's id, such as ``google``.
    :returns: the access token; ``None`` if the user is not connected with the provider, or must sign in with it again.
    :raises LookupError: if ``sign_in_with`` has no such provider with ``keep_tokens=True``.
    :raises ProviderUnavailable: if the provider cannot be reached.
    """
    runtime = current_runtime()
    if not runtime.is_ready:
        runtime.get_ready()
    return get_access_token(owner, provider, runtime, runtime.clock())
