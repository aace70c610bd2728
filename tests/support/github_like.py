"""A provider with plain OAuth 2.0 and a user API, like GitHub: ``python -m tests.support.github_like <port>``.

Its one user allows every request. It checks the client, the redirect URI and PKCE.
"""

from __future__ import annotations

import json
import secrets
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from valetkey.protocol.pkce import s256

CLIENT_ID, CLIENT_SECRET = "github-client", "github-secret-of-the-tests"
USER = {"id": 583231, "login": "maya", "name": "Maya", "avatar_url": "https://pictures.example/maya.png"}
EMAILS = [{"email": "maya@example.com", "primary": True, "verified": True}]


class _Handler(BaseHTTPRequestHandler):
    codes: ClassVar[dict[str, dict[str, str]]] = {}
    tokens: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/login/oauth/authorize":
            query = dict(parse_qsl(parts.query))
            code = secrets.token_urlsafe(16)
            self.codes[code] = query
            link = f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"
            page = f'<!doctype html><title>Code host</title><a id="allow" href="{link.replace("&", "&amp;")}">Allow</a>'
            self._send(200, page.encode(), "text/html")
            return
        documents: dict[str, Any] = {"/api/v3/user": USER, "/api/v3/user/emails": EMAILS}
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if parts.path in documents and token in self.tokens:
            self._send_json(200, documents[parts.path])
        else:
            self._send_json(401, {"message": "Bad credentials"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        request = self.codes.pop(form.get("code", ""), None)
        is_valid = (
            self.path == "/login/oauth/access_token"
            and request is not None
            and (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
            and form.get("redirect_uri") == request["redirect_uri"]
            and s256(form.get("code_verifier", "")) == request["code_challenge"]
        )
        if not is_valid:
            self._send_json(200, {"error": "bad_verification_code"})  # GitHub reports errors with status 200
            return
        token = "gho_" + secrets.token_urlsafe(16)
        self.tokens.add(token)
        self._send_json(200, {"access_token": token, "scope": "read:user,user:email", "token_type": "bearer"})

    def _send_json(self, status: int, document: Any) -> None:
        self._send(status, json.dumps(document).encode(), "application/json")

    def _send(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None: ...


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Handler).serve_forever()
