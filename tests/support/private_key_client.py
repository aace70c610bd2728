"""A client that authenticates with ``private_key_jwt`` (OpenID Connect Core §9, RFC 7523 §2.2), and its keys."""

from __future__ import annotations

import json
from typing import Any
from warnings import catch_warnings, simplefilter

from flask.testing import FlaskClient
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey
from werkzeug.test import TestResponse

from tests.support.browser_client import ISSUER
from tests.support.clock import Clock

CLIENT_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EC_KEY = ECKey.generate_key("P-256", {"kid": "ec"})
ED25519_KEY = OKPKey.generate_key("Ed25519", {"kid": "ed"})
RSA_KEY = RSAKey.generate_key(2048, {"kid": "rsa"})
JWKS = {"keys": [key.as_dict(private=False) for key in (EC_KEY, ED25519_KEY, RSA_KEY)]}


class PrivateKeyClient:
    """A client that signs a new assertion for each request.

    Its registered keys are usually ``JWKS``.
    """

    def __init__(self, http: FlaskClient, client_id: str, clock: Clock) -> None:
        self.http = http
        self.client_id = client_id
        self.clock = clock
        self._assertion_count = 0

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a valid assertion with these changes; ``None`` leaves a claim out."""
        self._assertion_count += 1
        now = int(self.clock())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": ISSUER,
            "exp": now + 60,
            "iat": now,
            "jti": f"n{self._assertion_count}",
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def sign(self, key: Any = EC_KEY, alg: str = "ES256", header: Any = None, **changes: Any) -> str:
        """Return a signed assertion; ``header`` adds header parameters, ``changes`` are those of ``claims()``."""
        payload = json.dumps(self.claims(**changes)).encode()
        return sign_jws({"alg": alg, "kid": key.kid, **(header or {})}, payload, key)

    def send(self, assertion: str, path: str = "/oauth/token", **parameters: Any) -> TestResponse:
        """POST a request that this assertion authenticates; a parameter of ``None`` is left out."""
        form = {"grant_type": "client_credentials", "token": "any"}
        form |= {"client_assertion_type": CLIENT_ASSERTION_TYPE, "client_assertion": assertion, **parameters}
        return self.http.post(path, data={name: value for name, value in form.items() if value is not None})


def sign_jws(header: dict[str, Any], payload: bytes, key: Any) -> str:
    """Return a JWS in the compact serialization; any algorithm of joserfc may be in the header."""
    with catch_warnings():
        simplefilter("ignore", SecurityWarning)  # a server must reject these algorithms, so tests use them
        return jws.serialize_compact(header, payload, key, algorithms=[header["alg"]])
