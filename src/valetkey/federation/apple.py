"""Sign in with Apple: generates the client secret, which is a JWT, and reads the user's name from the response."""

from __future__ import annotations

import json

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from valetkey.settings.provider_presets import Apple

from . import texts
from .errors import ProviderRefused
from .identity import clean_name

_SECRET_LIFETIME_S = 300
_MAX_USER_LENGTH = 1000


def sign_client_secret(provider: Apple, now: float) -> str:
    """Return a client secret for Apple: a JWT that is signed with the team's key, and valid for five minutes.

    :raises ProviderRefused: if the key is not a P-256 key in PEM.
    """
    claims = {
        "iss": provider.team_id,
        "iat": int(now),
        "exp": int(now) + _SECRET_LIFETIME_S,
        "aud": provider.issuer,
        "sub": provider.client_id,
    }
    try:
        key = ECKey.import_key(provider.client_secret)
        return jwt.encode({"alg": "ES256", "kid": provider.key_id}, claims, key, algorithms=["ES256"])
    except (JoseError, ValueError, TypeError) as cause:
        detail = f"private_key in sign_in_with cannot be used: {type(cause).__name__}"
        raise ProviderRefused(texts.MISCONFIGURED.format(provider=provider.name), log_detail=detail) from cause


def name_in_response(user: str | None) -> str:
    """Return the user's name in the parameter ``user``, which Apple sends with the first response; else empty.

    The browser could have changed it: it is only a name.
    """
    try:
        members = json.loads(user or "null") if len(user or "") <= _MAX_USER_LENGTH else None
    except (ValueError, RecursionError):
        return ""
    name = members.get("name") if isinstance(members, dict) else None
    if not isinstance(name, dict):
        return ""
    parts = (name.get("firstName"), name.get("lastName"))
    return clean_name(" ".join(part for part in parts if isinstance(part, str)))
