"""A public API with its own OAuth 2.0 server, and sign-in with Google or any OpenID Provider."""

import os

from authlib.integrations.flask_client import OAuth, OAuthError
from flask import Flask, jsonify, url_for

from valetkey import Valetkey, current_token, public, require_oauth

app = Flask(__name__)
app.secret_key = os.environ.get("SECRET_KEY")  # `valetkey serve` generates one if it is not set
valet = Valetkey(app, scopes={"profile": "See your name and picture"})
provider = OAuth(app).register(
    "provider",
    client_id=os.environ.get("OIDC_CLIENT_ID"),
    client_secret=os.environ.get("OIDC_CLIENT_SECRET"),
    server_metadata_url=os.environ.get("OIDC_ISSUER", "https://accounts.google.com")
    + "/.well-known/openid-configuration",
    client_kwargs={"scope": "openid email profile", "code_challenge_method": "S256"},
)


@app.get("/")
def index():
    links = ("/api/public", "/api/protected", "/login", "/account")
    return "".join(f'<p><a href="{link}">{link}</a></p>' for link in links)


@app.get("/api/public")
@public(limit="60/minute")
def public_api():
    return jsonify(message="Welcome to the public API!")


@app.get("/api/protected")
@require_oauth("profile", limit="100/minute")
def protected_api():
    return jsonify(message="This is a protected API route", user=current_token.user_id)


@app.get("/login")
def login():
    if provider.client_id is None:
        return "Set OIDC_CLIENT_ID and OIDC_CLIENT_SECRET, and OIDC_ISSUER for a provider other than Google."
    return provider.authorize_redirect(url_for("authorize", _external=True))


@app.get("/authorize")
def authorize():
    return jsonify(provider.authorize_access_token()["userinfo"])


@app.errorhandler(OAuthError)
def not_signed_in(error):
    return jsonify(error=error.error), 400
