"""``ProviderRefused``: a sign-in with a provider is refused."""

from __future__ import annotations

from valetkey.protocol.errors import OAuthError
from valetkey.settings.providers import SignInProvider
from valetkey.storage.provider_requests import ProviderRequest

from . import texts


class ProviderRefused(OAuthError):
    """A sign-in with a provider is refused; nothing is stored.

    The description is a sentence for the user. ``log_detail`` says for the operator what the provider did wrong; it may
    contain text of the provider, but no code and no token.
    """

    error = "provider_refused"


class AlreadyAnswered(ProviderRefused):
    """The browser sent the provider's response twice, for example by a reload of the page.

    :ivar request: the authorization request that was answered. Whether the user was signed in then is not known.
    """

    def __init__(self, request: ProviderRequest, provider: SignInProvider) -> None:
        super().__init__(texts.ALREADY_ANSWERED.format(provider=provider.name), log_detail="the state is used")
        self.request = request
