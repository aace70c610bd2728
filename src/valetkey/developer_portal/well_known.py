"""Build the files with which programs discover the API: API catalog, security.txt, llms.txt. No Flask import."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from valetkey.settings import Settings

from .reference import ApiReference, Operation

API_CATALOG_PATH = "/.well-known/api-catalog"
API_CATALOG_CONTENT_TYPE = 'application/linkset+json; profile="https://www.rfc-editor.org/info/rfc9727"'
SECURITY_TXT_PATH = "/.well-known/security.txt"
_SECURITY_TXT_LIFETIME = timedelta(days=364)  # less than a year is recommended (RFC 9116 §2.5.5)


def metadata_url_below_issuer(settings: Settings) -> str:
    """Return a URL of the authorization server's metadata that the app itself serves.

    It is below the issuer's path, at which the app is mounted. The standard URL of an issuer with a path has the
    well-known path before that path (RFC 8414 §3.1), outside of the app.
    """
    return f"{settings.issuer}/.well-known/oauth-authorization-server"


def api_catalog(settings: Settings) -> dict[str, Any]:
    """Return the API catalog (RFC 9727 §4), a JSON link set (RFC 9264 §4.2) with this API as its only item."""
    api = f"{settings.issuer}{settings.api_prefix}"
    links: dict[str, Any] = {"anchor": api}
    if settings.openapi_path is not None:  # RFC 8631
        links["service-desc"] = [{"href": settings.issuer + settings.openapi_path, "type": "application/json"}]
    if settings.docs_path is not None:
        links["service-doc"] = [{"href": settings.issuer + settings.docs_path, "type": "text/html"}]
    links["service-meta"] = [{"href": metadata_url_below_issuer(settings), "type": "application/json"}]
    return {"linkset": [{"anchor": settings.issuer + API_CATALOG_PATH, "item": [{"href": api}]}, links]}


def security_txt(settings: Settings, now: float) -> str:
    """Return the text of security.txt, which says where to report a vulnerability (RFC 9116).

    Its expiry date is 364 days after the start of the current day (UTC).

    :param now: the current time, in seconds since 1970.
    """
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    expires = (day + _SECURITY_TXT_LIFETIME).isoformat().replace("+00:00", "Z")
    return (
        f"Contact: {settings.security_contact}\nExpires: {expires}\nCanonical: {settings.issuer}{SECURITY_TXT_PATH}\n"
    )


def llms_txt(settings: Settings, reference: ApiReference) -> str:
    """Return llms.txt: Markdown for language models with links to documents, token endpoints, scopes and operations."""
    lines = [f"# {reference.title} API", ""]
    if reference.description:
        lines += [f"> {' '.join(reference.description.split())}", ""]
    lines += [f"Base URL: {settings.issuer}", "", "## Documents", "", *_document_links(settings)]
    lines += ["", "## Getting a token", "", *_token_instructions(settings), "", "## Scopes", ""]
    lines += [f"- `{name}`: {description}" for name, description in reference.scopes] or ["There are none."]
    lines += ["", "## Operations", ""]
    operations = [operation for _, group in reference.groups for operation in group]
    lines += [_operation_line(operation) for operation in operations] or ["There are none."]
    return "\n".join(lines) + "\n"


def _document_links(settings: Settings) -> list[str]:
    links = [
        (settings.openapi_path, "OpenAPI", "every operation with its parameters, responses, scopes and limits"),
        (settings.docs_path, "API reference", "the same as a web page, with an Authorize button"),
    ]
    lines = [f"- [{name}]({settings.issuer}{path}): {content}" for path, name, content in links if path is not None]
    return [
        *lines,
        f"- [OAuth metadata]({metadata_url_below_issuer(settings)}): every endpoint of the authorization server",
    ]


def _token_instructions(settings: Settings) -> list[str]:
    base = settings.issuer + settings.oauth_path
    lines = [
        f"- On behalf of a user: OAuth 2.0 authorization code with PKCE (S256). Authorize at {base}/authorize, "
        f"redeem the code at {base}/token.",
        f"- On behalf of the client itself: client credentials at {base}/token.",
    ]
    if settings.device_path is not None:
        lines.append(f"- For a device without a browser: device authorization at {base}/device.")
    if settings.registration != "closed":
        lines.append(f"- A client registers itself at {base}/register (RFC 7591).")
    if settings.tokens_path is not None:
        lines.append(
            f"- A user creates a personal access token for a script at {settings.issuer}{settings.tokens_path}."
        )
    lines.append("- Send the token as `Authorization: Bearer <token>`. A 401 or 403 says in WWW-Authenticate what is")
    lines.append("  missing; a 429 says in Retry-After how many seconds to wait.")
    lines.append(f"- Found a leaked token or client secret? POST it as `token` to {base}/report-leak to revoke it.")
    return lines


def _operation_line(operation: Operation) -> str:
    limit = f" {operation.limit}" if operation.limit else ""
    return f"- `{operation.method} {operation.path}`: {operation.summary}. {operation.access}{limit}"
