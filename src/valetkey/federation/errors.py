"""``ProviderRefused``: a sign-in with a provider cannot go on."""

from __future__ import annotations

from valetkey.protocol.errors import OAuthError


class ProviderRefused(OAuthError):
    """A sign-in with a provider cannot go on; nothing is stored.

    The description is a sentence for the user. ``log_detail`` says for the operator what the provider did wrong; it may
    contain text of the provider, but no code and no token.
    """

    error = "provider_refused"


class AlreadyAnswered(ProviderRefused):
    """The browser sent the provider's response twice, for example by a reload of the page.

    :ivar next_path: local path at which the sign-in continued.
    """

    next_path = "/"
