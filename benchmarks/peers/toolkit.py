"""Authorization server with django-oauth-toolkit: opaque tokens in the configured database, and one protected route.

``python toolkit.py`` creates the tables and the clients; any WSGI server then serves ``toolkit:application``.
"""

import json
import os
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

CONFIGURATION = json.loads(os.environ["CONFIGURATION"])


def database(url: str) -> dict[str, object]:
    """Return Django's settings for a database URL. Connections stay open, and every commit is written to disk."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": parts.path,
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
            },
        }
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": parts.username,
        "HOST": parts.hostname,
        "PORT": parts.port,
        "CONN_MAX_AGE": None,
    }


settings.configure(
    SECRET_KEY="only for the benchmark",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": database(CONFIGURATION["database_url"])},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    MIDDLEWARE=[],  # none is needed
    OAUTH2_PROVIDER={"SCOPES": {"profile": "See your name"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

from oauth2_provider.decorators import protected_resource  # noqa: E402


@protected_resource(scopes=["profile"])
def protected(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"message": "This is a protected API route"})


def public(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"message": "Welcome to the public API!"})


urlpatterns = [
    path("oauth/", include("oauth2_provider.urls")),
    path("public", public),
    path("protected", protected),
]


def prepare() -> None:
    """Create the tables and the clients."""
    from django.core.management import call_command
    from oauth2_provider.models import Application

    call_command("migrate", verbosity=0)
    for client in CONFIGURATION["clients"]:
        Application.objects.create(
            client_id=client["client_id"],
            client_secret=client["client_secret"],
            hash_client_secret=False,  # checking a hashed secret takes a third of a second
            client_type=Application.CLIENT_CONFIDENTIAL,
            authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
        )


if __name__ == "__main__":
    prepare()
else:
    application = get_wsgi_application()
