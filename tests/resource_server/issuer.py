"""An issuer that is not Valetkey, in a thread: it publishes what a test wants, and remembers what it was asked."""

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

from tests.support.vocabulary import Clock

RESOURCE = "https://api.example.com"
OPENID, JWKS, INTROSPECT = "/.well-known/openid-configuration", "/jwks", "/introspect"
RSA, OTHER_RSA = (RSAKey.generate_key(2048, {"kid": kid}) for kid in ("rsa", "other"))
EC = ECKey.generate_key("P-256", {"kid": "ec"})
_ANY = ["RS256", "PS256", "ES256", "HS256"]


class Issuer:
    """``published`` are its keys; ``known`` what introspection says of opaque tokens; ``answers`` overrides paths."""

    def __init__(self, clock: Clock, path: str = "") -> None:
        self.clock = clock
        self.published: list[Key] = [RSA, EC]
        self.known: dict[str, Mapping[str, Any]] = {}
        self.answers: dict[str, tuple[int, Any, Mapping[str, str]]] = {}
        self.asked: list[str] = []
        self.clients: list[tuple[str, str]] = []
        self.is_down = False
        self.cache_control = "max-age=300"
        self.hold: threading.Event | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.origin}{path}"

    def __enter__(self) -> Issuer:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.origin}{JWKS}",
            "introspection_endpoint": f"{self.origin}{INTROSPECT}",
        }

    def claims(self, **other: Any) -> dict[str, Any]:
        """Those of RFC 9068; None takes one away."""
        now = int(self.clock())
        good = {
            "iss": self.url,
            "sub": "maya",
            "aud": RESOURCE,
            "client_id": "shop",
            "scope": "notes:read",
            "iat": now,
            "exp": now + 300,
            "jti": "1",
        }
        return {name: value for name, value in {**good, **other}.items() if value is not None}

    def token(self, *, key: Key = RSA, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """An access token; ``header`` changes its header, None takes a member away."""
        alg = "RS256" if key.key_type == "RSA" else "ES256"
        named = {"alg": alg, "typ": "at+jwt", "kid": key.kid, **(header or {})}
        members = {name: value for name, value in named.items() if value is not None}
        registry = jws.JWSRegistry(algorithms=_ANY, strict_check_header=False)
        registry.max_header_length = 8192
        return jws.serialize_compact(members, json.dumps(self.claims(**claims)).encode(), key, registry=registry)

    def answer(self, path: str) -> tuple[int, Any, Mapping[str, str]]:
        if self.is_down:
            return 503, {}, {}
        if path in self.answers:
            return self.answers[path]
        keys = [key.as_dict(private=False) for key in self.published]
        known = {f"{self.url.removeprefix(self.origin)}{OPENID}": self.metadata, JWKS: {"keys": keys}}
        return (200, known[path], {"Cache-Control": self.cache_control}) if path in known else (404, {}, {})

    def introspect(self, form: Mapping[str, list[str]], authorization: str) -> tuple[int, Any, Mapping[str, str]]:
        if self.is_down:
            return 503, {}, {}
        if authorization:
            name, _, secret = b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
            self.clients.append((unquote_plus(name), unquote_plus(secret)))
        else:
            self.clients.append((form["client_id"][0], form["client_secret"][0]))
        return 200, self.known.get(form["token"][0], {"active": False}), {}


def _handler(issuer: Issuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked.append(self.path)
            if issuer.hold:
                issuer.hold.wait(5)
            self._send(*issuer.answer(self.path))

        def do_POST(self) -> None:
            issuer.asked.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if issuer.hold:
                issuer.hold.wait(5)
            if INTROSPECT in issuer.answers and not issuer.is_down:
                self._send(*issuer.answers[INTROSPECT])
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
