"""A public API with its own OAuth 2.0 server, and sign-in with Google or any OpenID Provider."""

from flask import Flask, jsonify

from valetkey import Valetkey, current_token, public, require_oauth

app = Flask(__name__)
# With OIDC_CLIENT_ID and OIDC_CLIENT_SECRET in the environment, users can sign in with Google; see the README.
Valetkey(app, scopes={"profile": "See your name and picture"})


@app.get("/")
def index():
    links = ("/api/public", "/api/protected", "/docs", "/account")
    return "".join(f'<p><a href="{link}">{link}</a></p>' for link in links)


@app.get("/api/public")
@public(limit="60/minute")
def public_api():
    return jsonify(message="Welcome to the public API!")


@app.get("/api/protected")
@require_oauth("profile", limit="100/minute")
def protected_api():
    return jsonify(message="This is a protected API route", user=current_token.user_id)
