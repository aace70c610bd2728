"""The user's identity at a provider, read from the claims of the ID token. Invalid claims are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valetkey.protocol.claim_formats import claim_problem
from valetkey.protocol.display_name import display_name_problem, normalize_display_name
from valetkey.protocol.email_address import is_email_address, normalize_email_address
from valetkey.protocol.resource_owner import is_amr_value
from valetkey.settings.provider_presets import Google
from valetkey.settings.providers import SignInProvider

from .id_token import untrusted_response

_MAX_TEXT_LENGTH, _MAX_AMR, _MAX_TIME = 255, 10, 1e11
_GOOGLE_MAIL_DOMAINS = frozenset({"gmail.com", "googlemail.com"})


@dataclass(frozen=True, slots=True)
class ProviderIdentity:
    """A user of a provider. The provider's issuer and ``subject`` identify the user; nothing else does.

    :param subject: the user's id at the provider, its claim ``sub``.
    :param email: the e-mail address; ``None`` if there is none, or if mail cannot be sent to it.
    :param email_is_verified: whether the provider has verified the address, and is trusted to do so.
    :param name: the user's name; empty if there is none that can be shown.
    :param picture: URL of a picture; ``None`` if there is none.
    :param organizations: domain or tenant to which the user belongs at the provider (``hd``, ``tid``).
    :param auth_time: when the user signed in at the provider, in seconds since 1970; ``None`` if it does not say.
    :param sid: id of the session at the provider, in its logout tokens.
    """

    subject: str
    email: str | None = None
    email_is_verified: bool = False
    name: str = ""
    picture: str | None = None
    organizations: frozenset[str] = frozenset()
    auth_time: float | None = None
    acr: str | None = None
    amr: tuple[str, ...] = ()
    sid: str | None = None


def identity_of_claims(claims: Mapping[str, Any], provider: SignInProvider) -> ProviderIdentity:
    """Return the user whom the claims of a verified ID token, and of the userinfo response, describe.

    :raises ProviderRefused: if ``sub`` is not a text of 1 to 255 ASCII characters (OpenID Connect Core §2).
    """
    subject = claims.get("sub")
    if not is_short_text(subject) or not str(subject).isascii():
        raise untrusted_response(provider, "the sub is not a text of 1 to 255 ASCII characters")
    email = clean_email(claims.get("email"))
    return ProviderIdentity(
        subject=str(subject),
        email=email,
        email_is_verified=email is not None and _is_verified(email, claims, provider),
        name=clean_name(claims.get("name")),
        picture=clean_picture(claims.get("picture")),
        organizations=frozenset(
            str(claims[name]).lower()
            for name in ("hd", "tid")
            if is_short_text(claims.get(name)) and str(claims[name]).isascii()
        ),
        auth_time=_clean_time(claims.get("auth_time")),
        acr=str(claims["acr"]) if is_short_text(claims.get("acr")) else None,
        amr=_clean_amr(claims.get("amr")),
        sid=str(claims["sid"]) if is_short_text(claims.get("sid")) else None,
    )


def clean_name(value: object) -> str:
    """Return a provider's name for a user, or an empty text if it cannot be shown on a page."""
    name = normalize_display_name(value) if isinstance(value, str) else ""
    return "" if display_name_problem(name) or claim_problem("name", name) else name


def clean_picture(value: object) -> str | None:
    """Return the URL of a user's picture, or ``None`` if it is not an https URL."""
    is_url = isinstance(value, str) and value.startswith("https://") and claim_problem("picture", value) is None
    return str(value) if is_url else None


def clean_email(value: object) -> str | None:
    """Return a provider's address for a user, or ``None`` if it is not one to which mail can be sent.

    An address with full-width letters, which is accepted if a user types it, is refused if a provider sends it: it may
    belong to another mailbox than its normal form.
    """
    email = normalize_email_address(value) if isinstance(value, str) and value.isascii() else ""
    return email if is_email_address(email) else None


def _is_verified(email: str, claims: Mapping[str, Any], provider: SignInProvider) -> bool:
    """Return whether a provider has verified an address, and is trusted to do so.

    Google verifies an address of another domain only once, and does not notice if it gets a new owner later.
    """
    value = claims.get("email_verified")
    is_verified = provider.verifies_email and (value is True or value == "true")  # Apple sends a text
    if isinstance(provider, Google):
        return is_verified and (email.rpartition("@")[2] in _GOOGLE_MAIL_DOMAINS or is_short_text(claims.get("hd")))
    return is_verified


def _clean_amr(value: object) -> tuple[str, ...]:
    values = value if isinstance(value, list) else []
    return tuple(item for item in values if is_short_text(item) and is_amr_value(item))[:_MAX_AMR]


def _clean_time(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < _MAX_TIME else None  # type: ignore[arg-type, operator]


def is_short_text(value: object) -> bool:
    """Return whether a claim is a text of 1 to 255 visible characters and spaces."""
    return isinstance(value, str) and 0 < len(value) <= _MAX_TEXT_LENGTH and value.isprintable()
