"""An OpenID Provider in the process of the test, which sends correct responses or any others. It has no pages.

``npm oidc-provider``, which other people wrote, is in ``openid_provider.py``.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from valetkey import OpenIDProvider
from valetkey.protocol.pkce import s256

CLIENT_ID, CLIENT_SECRET = "site", "secret-of-the-site"
Reply = tuple[int, Any]


@dataclass
class FakeProvider:
    """An OpenID Provider at a free port of this machine.

    :ivar claims: changes of the claims in the next ID tokens; ``None`` leaves a claim out.
    :ivar userinfo: the response of the userinfo endpoint.
    :ivar metadata: changes of the metadata; ``None`` leaves a member out.
    :ivar algorithm: of the next ID tokens: ``RS256``, ``ES256``, ``Ed25519``, ``HS256`` (client secret) or ``none``.
    :ivar token_response: changes of the next token responses; a function gets the form and returns status and body.
    :ivar accepts_client: checks the form of a token request, in place of HTTP Basic.
    :ivar pages: responses at other paths.
    :ivar requests: path and form of each request.
    """

    clock: Callable[[], float]
    path: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "RS256"
    token_response: dict[str, Any] | Callable[[dict[str, str]], Reply] = field(default_factory=dict)
    pages: dict[str, Reply] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    signs_with_unpublished_key: bool = False
    accepts_client: Callable[[dict[str, str]], bool] | None = None

    def __post_init__(self) -> None:
        self._codes: dict[str, dict[str, str]] = {}
        self.rotate_keys()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop listening. Later requests are refused."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def issuer(self) -> str:
        """The issuer identifier, as in the metadata."""
        return self.url + self.path

    def provider(self, name: str = "Example", **options: Any) -> OpenIDProvider:
        """Return the provider as a value of the setting ``sign_in_with``."""
        return OpenIDProvider(self.issuer, CLIENT_ID, CLIENT_SECRET, name=name, **options)

    def rotate_keys(self) -> None:
        """Replace the keys with new ones of other ids."""
        number = secrets.token_hex(4)
        self._keys: dict[str, Any] = {
            "RS256": RSAKey.generate_key(2048, {"kid": f"rsa-{number}", "use": "sig"}),
            "ES256": ECKey.generate_key("P-256", {"kid": f"ec-{number}", "use": "sig"}),
            "Ed25519": OKPKey.generate_key("Ed25519", {"kid": f"ed-{number}", "use": "sig"}),
        }

    def answer(self, authorization_url: str, **claims: Any) -> dict[str, str]:
        """Sign the user in; return the parameters of the response to an authorization request.

        :param claims: changes of the claims in the ID token.
        """
        parameters = dict(parse_qsl(urlsplit(authorization_url).query))
        code = secrets.token_urlsafe(8)
        self._codes[code] = {**parameters, "claims": json.dumps(claims)}
        return {"code": code, "state": parameters["state"], "iss": self.issuer}

    def sign(self, claims: Mapping[str, Any], algorithm: str = "", **header: Any) -> str:
        """Return a JWT of the provider with these claims."""
        algorithm = algorithm or self.algorithm
        key: Any = self._keys.get(algorithm)
        if self.signs_with_unpublished_key:
            key = RSAKey.generate_key(2048, {"kid": self._keys["RS256"].kid})
        if algorithm == "none":
            parts = (json.dumps({"alg": "none"}), json.dumps(claims))
            return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts) + "."
        if algorithm == "HS256":
            key = OctKey.import_key(CLIENT_SECRET, {"kid": "secret"})
        return jwt.encode({"alg": algorithm, "kid": key.kid, **header}, dict(claims), key, algorithms=[algorithm])

    def reply(self, method: str, path: str, form: dict[str, str], authorization: str) -> Reply:
        """Return status and body of the response to a request."""
        self.requests.append((path, form))
        if path in self.pages:
            return self.pages[path]
        if path == f"{self.path}/.well-known/openid-configuration":
            return 200, _changed(self._metadata(), self.metadata)
        if path == f"{self.path}/keys":
            return 200, {"keys": [key.as_dict(private=False) for key in self._keys.values()]}
        if path == f"{self.path}/userinfo":
            return 200, self.userinfo
        if path == f"{self.path}/token" and method == "POST":
            if callable(self.token_response):
                return self.token_response(form)
            return self._redeem(form, authorization)
        return 404, {}

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "authorization_response_iss_parameter_supported": True,
        }

    def _redeem(self, form: dict[str, str], authorization: str) -> Reply:
        expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        request = self._codes.pop(form.get("code", ""), None)
        is_client = self.accepts_client(form) if self.accepts_client else authorization == f"Basic {expected}"
        if not is_client or request is None:
            return 400, {"error": "invalid_grant", "error_description": "the code is\nunknown"}
        if s256(form.get("code_verifier", "")) != request["code_challenge"]:
            return 400, {"error": "invalid_grant", "error_description": "wrong code_verifier"}
        if form.get("redirect_uri") != request["redirect_uri"]:
            return 400, {"error": "invalid_grant", "error_description": "wrong redirect_uri"}
        now = int(self.clock())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": "ada-1",
            "iat": now,
            "exp": now + 300,
            "nonce": request.get("nonce"),
            "email": "ada@example.org",
            "email_verified": True,
            "name": "Ada Lovelace",
        }
        claims = _changed(_changed(claims, self.claims), json.loads(request["claims"]))
        tokens = {"access_token": "at-1", "token_type": "Bearer", "expires_in": 300, "id_token": self.sign(claims)}
        assert not callable(self.token_response)
        return 200, _changed(tokens, self.token_response)


def query(parameters: Mapping[str, str]) -> str:
    """Return parameters as a query string."""
    return urlencode(parameters)


def _changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**values, **changes}.items() if value is not None}


def _make_handler(provider: FakeProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._send({name: values[0] for name, values in parse_qs(body).items()})

        def _send(self, form: dict[str, str]) -> None:
            authorization = self.headers.get("Authorization", "")
            status, document = provider.reply(self.command, urlsplit(self.path).path, form, authorization)
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None: ...

    return Handler
