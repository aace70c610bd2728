"""An MCP server whose users sign in with Valetkey: reading notes needs one scope, adding a note another."""

import json
import os
from urllib.parse import urlsplit

import jwt
import uvicorn
from anyio.to_thread import run_sync
from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.routes import build_resource_metadata_url
from mcp.server.auth.settings import AuthSettings
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse

ISSUER = os.environ.get("VALETKEY_ISSUER", "http://127.0.0.1:8000")
RESOURCE = os.environ.get("MCP_URL", "http://127.0.0.1:9000/mcp")  # the audience of its tokens (RFC 8707)
SCOPES = {"add_note": "notes:write"}  # scope that a tool needs in addition to notes:read


class ValetkeyTokens(TokenVerifier):
    """Verifier that accepts the issuer's JWT access tokens (RFC 9068) for this server until they expire."""

    keys = jwt.PyJWKClient(f"{ISSUER}/oauth/jwks")

    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            claims = await run_sync(self.read, token)
        except jwt.PyJWTError:
            return None
        return AccessToken(
            token=token,
            client_id=claims["client_id"],
            scopes=claims.get("scope", "").split(),
            expires_at=claims["exp"],
            resource=RESOURCE,
            subject=claims["sub"],
            claims=claims,
        )

    def read(self, token: str) -> dict:
        if jwt.get_unverified_header(token).get("typ") != "at+jwt":  # refuses ID tokens
            raise jwt.InvalidTokenError
        key = self.keys.get_signing_key_from_jwt(token)
        options = {"require": ["exp", "iss", "aud", "sub", "client_id"]}
        return jwt.decode(token, key, algorithms=["ES256", "RS256"], audience=RESOURCE, issuer=ISSUER, options=options)


class ToolScopes:
    """Middleware that refuses a call if the token lacks the tool's scope.

    The response names that scope, so that the client can request it.
    """

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["user"].is_authenticated:
            return await self.app(scope, receive, send)
        body = await Request(scope, receive).body()
        required = required_scopes(body)
        if required <= set(scope["auth"].scopes):
            return await self.app(scope, replay_body(body, receive), send)
        all_scopes = " ".join(["notes:read", *sorted(required)])  # clients may request exactly what is listed here
        challenge = f'Bearer error="insufficient_scope", scope="{all_scopes}"'
        metadata_url = build_resource_metadata_url(mcp.settings.auth.resource_server_url)
        headers = {"WWW-Authenticate": f'{challenge}, resource_metadata="{metadata_url}"'}
        return await JSONResponse({"error": "insufficient_scope"}, 403, headers)(scope, receive, send)


def required_scopes(body: bytes) -> set[str]:
    """Return the scopes of ``SCOPES`` that the tool calls in a JSON-RPC body need; empty if it is not JSON-RPC."""
    try:
        message = json.loads(body)
        messages = message if isinstance(message, list) else [message]
        calls = [call for call in messages if call.get("method") == "tools/call"]
        return {SCOPES[name] for call in calls if (name := call["params"]["name"]) in SCOPES}
    except (ValueError, AttributeError, LookupError, TypeError):
        return set()


def replay_body(body: bytes, receive):
    """Return an ASGI ``receive`` that returns the body, which was read already, and then the next messages."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def next_message():
        return next(messages, None) or await receive()

    return next_message


mcp = MCPServer(
    "Notes",
    token_verifier=ValetkeyTokens(),
    auth=AuthSettings(
        issuer_url=ISSUER,
        resource_server_url=RESOURCE,
        required_scopes=["notes:read"],
        validate_token_resource=True,
    ),
)
NOTES = ["Water the tomatoes"]


@mcp.tool()
def read_notes() -> list[str]:
    """List all notes."""
    return NOTES


@mcp.tool()
def add_note(text: str) -> str:
    """Add a note."""
    NOTES.append(text)
    return f"{len(NOTES)} notes"


if __name__ == "__main__":
    url = urlsplit(RESOURCE)
    app = mcp.streamable_http_app(streamable_http_path=url.path)
    app.user_middleware.append(Middleware(ToolScopes))  # after the authentication, whose scopes it reads
    uvicorn.run(app, host=url.hostname, port=url.port)
