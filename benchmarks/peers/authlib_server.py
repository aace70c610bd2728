"""Authorization server with Authlib: RFC 9068 tokens, nothing is stored, and one protected route."""

import json
import os
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector
from authlib.oauth2.rfc6749 import ClientMixin, grants
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator, JWTBearerTokenValidator
from flask import Flask, Response, jsonify
from joserfc.jwk import ECKey, KeySet

CONFIGURATION = json.loads(os.environ["CONFIGURATION"])
ISSUER = f"http://127.0.0.1:{CONFIGURATION['port']}"
RESOURCE = "https://api.example"
KEYS = KeySet([ECKey.generate_key("P-256", {"kid": "first", "alg": "ES256", "use": "sig"})])


class Client(ClientMixin):
    def __init__(self, client_id: str, client_secret: str) -> None:
        self.client_id, self.client_secret = client_id, client_secret

    def get_client_id(self) -> str:
        return self.client_id

    def get_allowed_scope(self, scope: str) -> str:
        return "profile" if scope == "profile" else ""

    def check_client_secret(self, client_secret: str) -> bool:
        return self.client_secret == client_secret

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"


class Generator(JWTBearerTokenGenerator):
    def get_jwks(self) -> KeySet:
        return KEYS

    def get_audiences(self, client: Client, user: Any, scope: str) -> str:
        return RESOURCE


class Validator(JWTBearerTokenValidator):
    def get_jwks(self) -> KeySet:
        return KEYS


CLIENTS = {
    client["client_id"]: Client(client["client_id"], client["client_secret"]) for client in CONFIGURATION["clients"]
}
app = Flask(__name__)
server = AuthorizationServer(app, query_client=CLIENTS.get, save_token=lambda token, request: None)
server.register_grant(grants.ClientCredentialsGrant)
server.register_token_generator("default", Generator(issuer=ISSUER, alg="ES256"))
require_oauth = ResourceProtector()
require_oauth.register_token_validator(Validator(issuer=ISSUER, resource_server=RESOURCE))


@app.post("/token")
def token() -> Response:
    return server.create_token_response()


@app.get("/protected")
@require_oauth("profile")
def protected() -> Response:
    return jsonify(message="This is a protected API route")
