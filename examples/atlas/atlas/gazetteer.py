"""Countries, their subdivisions, and currencies: ISO 3166-1, 3166-2 and 4217, from the package pycountry."""

from __future__ import annotations

import unicodedata
from typing import Any

import pycountry

EDITION = pycountry.__version__  # the data changes only with the version


def searchable(text: str) -> str:
    """Return a text in lowercase without accents and punctuation, so that ``cote d'iv`` finds ``Côte d’Ivoire``."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if letter.isalnum() or letter == " ")


def _country_row(country: Any) -> dict[str, Any]:
    names = [country.name, getattr(country, "common_name", ""), getattr(country, "official_name", "")]
    return {
        "alpha_2": country.alpha_2,
        "alpha_3": country.alpha_3,
        "numeric": country.numeric,
        "name": getattr(country, "common_name", country.name),
        "official_name": getattr(country, "official_name", None),
        "flag": country.flag,
        "searched": searchable(" ".join(names)),
    }


def _subdivision_row(subdivision: Any) -> dict[str, Any]:
    return {
        "code": subdivision.code,
        "country": subdivision.country_code,
        "type": subdivision.type,
        "name": subdivision.name,
        "parent": subdivision.parent_code,
        "searched": searchable(subdivision.name),
    }


def _currency_row(currency: Any) -> dict[str, Any]:
    return {
        "alpha_3": currency.alpha_3,
        "numeric": currency.numeric,
        "name": currency.name,
        "searched": searchable(currency.name),
    }


COUNTRIES = [_country_row(country) for country in pycountry.countries]
SUBDIVISIONS = [_subdivision_row(subdivision) for subdivision in pycountry.subdivisions]
CURRENCIES = [_currency_row(currency) for currency in pycountry.currencies]
