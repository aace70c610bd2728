"""An issuer that is not Valetkey, in a thread. Tests set what it publishes, and read which requests it got."""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus

from joserfc import jws
from joserfc.jwk import ECKey, Key, RSAKey

from tests.support.clock import Clock

RESOURCE = "https://api.example.com"
OPENID_CONFIGURATION_PATH, JWKS_PATH, INTROSPECTION_PATH = "/.well-known/openid-configuration", "/jwks", "/introspect"
RSA_KEY, OTHER_RSA_KEY = (RSAKey.generate_key(2048, {"kid": kid}) for kid in ("rsa", "other"))
EC_KEY = ECKey.generate_key("P-256", {"kid": "ec"})
_ALL_ALGORITHMS = ["RS256", "PS256", "ES256", "HS256"]


class FakeIssuer:
    """HTTP server with metadata, keys and introspection, which signs tokens.

    ``published_keys`` are the keys that it publishes, ``introspection_responses`` the responses by opaque token, and
    ``overridden_responses`` the responses by path that replace the usual ones.
    """

    def __init__(self, clock: Clock, path: str = "") -> None:
        self.clock = clock
        self.published_keys: list[Key] = [RSA_KEY, EC_KEY]
        self.introspection_responses: dict[str, Mapping[str, Any]] = {}
        self.overridden_responses: dict[str, tuple[int, Any, Mapping[str, str]]] = {}
        self.requested_paths: list[str] = []
        self.presented_credentials: list[tuple[str, str]] = []
        self.is_down = False
        self.cache_control = "max-age=300"
        self.release_event: threading.Event | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.origin}{path}"

    def __enter__(self) -> FakeIssuer:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.origin}{JWKS_PATH}",
            "introspection_endpoint": f"{self.origin}{INTROSPECTION_PATH}",
        }

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of RFC 9068 with changes; ``None`` removes a claim."""
        now = int(self.clock())
        valid = {
            "iss": self.url,
            "sub": "maya",
            "aud": RESOURCE,
            "client_id": "shop",
            "scope": "notes:read",
            "iat": now,
            "exp": now + 300,
            "jti": "1",
        }
        return {name: value for name, value in {**valid, **changes}.items() if value is not None}

    def token(self, *, key: Key = RSA_KEY, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """Return a signed access token with changes of its claims and header; ``None`` removes a member."""
        alg = "RS256" if key.key_type == "RSA" else "ES256"
        all_members = {"alg": alg, "typ": "at+jwt", "kid": key.kid, **(header or {})}
        members = {name: value for name, value in all_members.items() if value is not None}
        registry = jws.JWSRegistry(algorithms=_ALL_ALGORITHMS, strict_check_header=False)
        registry.max_header_length = 8192
        return jws.serialize_compact(members, json.dumps(self.claims(**claims)).encode(), key, registry=registry)

    def respond(self, path: str) -> tuple[int, Any, Mapping[str, str]]:
        if self.is_down:
            return 503, {}, {}
        if path in self.overridden_responses:
            return self.overridden_responses[path]
        keys = [key.as_dict(private=False) for key in self.published_keys]
        documents = {
            f"{self.url.removeprefix(self.origin)}{OPENID_CONFIGURATION_PATH}": self.metadata,
            JWKS_PATH: {"keys": keys},
        }
        return (200, documents[path], {"Cache-Control": self.cache_control}) if path in documents else (404, {}, {})

    def introspect(self, form: Mapping[str, list[str]], authorization: str) -> tuple[int, Any, Mapping[str, str]]:
        if self.is_down:
            return 503, {}, {}
        if authorization:
            name, _, secret = b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
            self.presented_credentials.append((unquote_plus(name), unquote_plus(secret)))
        else:
            self.presented_credentials.append((form["client_id"][0], form["client_secret"][0]))
        return 200, self.introspection_responses.get(form["token"][0], {"active": False}), {}


def _make_handler(issuer: FakeIssuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.requested_paths.append(self.path)
            if issuer.release_event:
                issuer.release_event.wait(5)
            self._send(*issuer.respond(self.path))

        def do_POST(self) -> None:
            issuer.requested_paths.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if issuer.release_event:
                issuer.release_event.wait(5)
            if INTROSPECTION_PATH in issuer.overridden_responses and not issuer.is_down:
                self._send(*issuer.overridden_responses[INTROSPECTION_PATH])
            else:
                self._send(*issuer.introspect(parse_qs(body), self.headers.get("Authorization", "")))

        def _send(self, status: int, document: Any, headers: Mapping[str, str]) -> None:
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None: ...

    return Handler
