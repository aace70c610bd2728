"""An MCP server whose people sign in with Valetkey: reading notes takes one scope, adding one takes another."""

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
RESOURCE = os.environ.get("MCP_URL", "http://127.0.0.1:9000/mcp")  # what tokens must be for (RFC 8707)
SCOPES = {"add_note": "notes:write"}  # what a tool takes besides notes:read


class ValetkeyTokens(TokenVerifier):
    """Accepts the issuer's JWT access tokens (RFC 9068) that are for this server and have not expired."""

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
        if jwt.get_unverified_header(token).get("typ") != "at+jwt":  # an ID token is none
            raise jwt.InvalidTokenError
        key = self.keys.get_signing_key_from_jwt(token)
        needed = {"require": ["exp", "iss", "aud", "sub", "client_id"]}
        return jwt.decode(token, key, algorithms=["ES256", "RS256"], audience=RESOURCE, issuer=ISSUER, options=needed)


class ToolScopes:
    """Refuses a call whose token lacks the tool's scope and names that scope, so that the client can ask for it."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["user"].is_authenticated:
            return await self.app(scope, receive, send)
        body = await Request(scope, receive).body()
        needed = needed_scopes(body)
        if needed <= set(scope["auth"].scopes):
            return await self.app(scope, replayed(body, receive), send)
        together = " ".join(["notes:read", *sorted(needed)])  # a client may ask for no more than it reads here
        challenge = f'Bearer error="insufficient_scope", scope="{together}"'
        where = build_resource_metadata_url(mcp.settings.auth.resource_server_url)
        headers = {"WWW-Authenticate": f'{challenge}, resource_metadata="{where}"'}
        return await JSONResponse({"error": "insufficient_scope"}, 403, headers)(scope, receive, send)


def needed_scopes(body: bytes) -> set[str]:
    """The further scopes of the tools that a JSON-RPC body calls; none where the body is no such thing."""
    try:
        sent = json.loads(body)
        calls = [call for call in (sent if isinstance(sent, list) else [sent]) if call.get("method") == "tools/call"]
        return {SCOPES[name] for call in calls if (name := call["params"]["name"]) in SCOPES}
    except (ValueError, AttributeError, LookupError, TypeError):
        return set()


def replayed(body: bytes, receive):
    """The body once more, for the app; then whatever comes."""
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
    """All notes."""
    return NOTES


@mcp.tool()
def add_note(text: str) -> str:
    """Add a note."""
    NOTES.append(text)
    return f"{len(NOTES)} notes"


if __name__ == "__main__":
    where = urlsplit(RESOURCE)
    app = mcp.streamable_http_app(streamable_http_path=where.path)
    app.user_middleware.append(Middleware(ToolScopes))  # the last: it needs to know whose token this is
    uvicorn.run(app, host=where.hostname, port=where.port)
