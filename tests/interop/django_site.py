"""A Django site whose users sign in at the provider, with mozilla-django-oidc; test_mozilla_django_oidc runs it.

The environment variable SITE has its port, its folder and the settings of the relying party, as JSON.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from wsgiref.simple_server import make_server

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse

SITE: dict[str, Any] = json.loads(os.environ["SITE"])
settings.configure(
    SECRET_KEY="the secret key of the test",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF="__main__",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(SITE["folder"]) / "people.db"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "mozilla_django_oidc",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "mozilla_django_oidc.middleware.SessionRefresh",
    ],
    AUTHENTICATION_BACKENDS=["mozilla_django_oidc.auth.OIDCAuthenticationBackend"],
    OIDC_STORE_ID_TOKEN=True,
    OIDC_OP_LOGOUT_URL_METHOD="__main__.provider_logout",
    OIDC_EXEMPT_URLS=["age"],
    LOGIN_REDIRECT_URL="/",
    LOGOUT_REDIRECT_URL="/",
    LOGIN_REDIRECT_URL_FAILURE="/failed",
    **SITE["settings"],
)
django.setup()


def home(request: HttpRequest) -> HttpResponse:
    """Return the e-mail address of the signed-in user, or null."""
    user: Any = request.user
    return JsonResponse({"email": user.email if user.is_authenticated else None})


def expire_sign_in(request: HttpRequest) -> HttpResponse:
    """Expire the sign-in, so that it must be renewed."""
    request.session["oidc_id_token_expiration"] = 0
    return JsonResponse({})


def provider_logout(request: HttpRequest) -> str:
    """Return the URL that signs the user out at the provider too (RP-Initiated Logout §2)."""
    parameters = {"id_token_hint": request.session["oidc_id_token"], "post_logout_redirect_uri": SITE["goodbye"]}
    return f"{SITE['logout']}?{urlencode(parameters)}"


def _make_url_patterns() -> list[Any]:
    from django.urls import include, path  # importable only after setup()

    pages = [path("", home), path("failed", home), path("age", expire_sign_in, name="age")]
    return [*pages, path("oidc/", include("mozilla_django_oidc.urls"))]


urlpatterns = _make_url_patterns()

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    with make_server("127.0.0.1", SITE["port"], get_wsgi_application()) as server:
        server.serve_forever()
