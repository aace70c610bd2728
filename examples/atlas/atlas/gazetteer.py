"""Countries, their subdivisions and currencies: ISO 3166-1, 3166-2 and 4217, as PyPI's pycountry has them."""

from __future__ import annotations

import unicodedata
from typing import Any

import pycountry

EDITION = pycountry.__version__  # what is told here changes with it, and only then


def searchable(text: str) -> str:
    """As people type it: small letters without accents and marks, so that ``cote d'iv`` finds ``Côte d’Ivoire``."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if letter.isalnum() or letter == " ")


def _country(one: Any) -> dict[str, Any]:
    named = [one.name, getattr(one, "common_name", ""), getattr(one, "official_name", "")]
    return {
        "alpha_2": one.alpha_2,
        "alpha_3": one.alpha_3,
        "numeric": one.numeric,
        "name": getattr(one, "common_name", one.name),
        "official_name": getattr(one, "official_name", None),
        "flag": one.flag,
        "searched": searchable(" ".join(named)),
    }


def _subdivision(one: Any) -> dict[str, Any]:
    return {
        "code": one.code,
        "country": one.country_code,
        "type": one.type,
        "name": one.name,
        "parent": one.parent_code,
        "searched": searchable(one.name),
    }


def _currency(one: Any) -> dict[str, Any]:
    return {"alpha_3": one.alpha_3, "numeric": one.numeric, "name": one.name, "searched": searchable(one.name)}


COUNTRIES = [_country(one) for one in pycountry.countries]
SUBDIVISIONS = [_subdivision(one) for one in pycountry.subdivisions]
CURRENCIES = [_currency(one) for one in pycountry.currencies]
