"""The token request that the token endpoint passes to the handler of each grant type."""

from __future__ import annotations

from dataclasses import dataclass

from valetkey.authorization_server.grant_lifecycle import revoke_grant_statements
from valetkey.authorization_server.openid.subject import is_pairwise
from valetkey.caches.change_feed import FeedView
from valetkey.protocol.errors import InvalidGrant
from valetkey.protocol.parameters import Parameters
from valetkey.runtime import Runtime
from valetkey.storage.clients import Client
from valetkey.storage.grants import Grant
from valetkey.tokens.access import Access
from valetkey.tokens.generator import GeneratedToken


@dataclass(slots=True)  # not frozen: creating a frozen instance takes 1 us longer
class TokenRequest:
    """A token request of an authenticated client. Only ``handle_token_request`` in ``token.endpoint`` creates one.

    The handler of the grant type sets ``user``, the ``sub`` of the grant's owner, for the log.

    :param feed_view: the revocations that were known before the client was authenticated.
    """

    runtime: Runtime
    now: float
    client: Client
    parameters: Parameters
    address: str | None
    feed_view: FeedView
    user: str | None = None

    def generate_access_token(self, access: Access, grant: Grant | None) -> GeneratedToken:
        """Generate an access token for this request. The caller stores its ``row``, if it has one.

        :param grant: the grant that the token is issued for; ``None`` if it is issued to the client for itself.
        """
        return self.runtime.token_generator.generate_access_token(
            access,
            grant=grant,
            feed_view=self.feed_view,
            opaque=grant is not None and is_pairwise(self.client),
        )

    def check_grant(self, grant: Grant) -> None:
        """Check that the grant's owner exists and is enabled, and that the client authenticates as it did before.

        :raises InvalidGrant: if the owner does not exist or is disabled. Also if the client authenticated when the
            grant was made and does not any more: anyone with a copy of its tokens could use them. The grant is
            then revoked.
        """
        if self.client.is_public and grant.auth_method not in {"none", None}:
            self.runtime.store.write_all(
                *revoke_grant_statements(grant, self.now, "grant.client_became_public", self.address)
            )
            raise InvalidGrant("the grant was revoked", log_detail="the client's authentication method is now none")
        if not self.runtime.owner_cache.is_active(grant.owner, self.now):
            raise InvalidGrant("the grant was revoked", log_detail="the resource owner was deleted or disabled")
