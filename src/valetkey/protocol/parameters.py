"""Parameters in the query or form body of OAuth requests, parsed as RFC 6749 §3.1 and §3.2 require."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from .errors import InvalidRequest

REPEATABLE_PARAMETERS = frozenset({"resource"})  # RFC 8707 §2
_MAX_FIELDS = 60


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of an OAuth request: none is empty, and none was sent twice except ``resource``.

    :param values: values by name, for parameters that may be sent only once.
    :param repeated: lists of values by name, for parameters that may be sent more than once (``resource``).
    """

    values: Mapping[str, str]
    repeated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        """Return the value of a request parameter, or ``None`` if it is missing or empty.

        For a parameter that may be sent more than once, use ``getlist``; ``get`` always returns ``None``.
        """
        return self.values.get(name)

    def require(self, name: str) -> str:
        """Return the value of a request parameter.

        :raises InvalidRequest: if the parameter is missing or empty.
        """
        value = self.values.get(name)
        if value is None:
            raise InvalidRequest(f"missing parameter: {name}")
        return value

    def getlist(self, name: str) -> tuple[str, ...]:
        """Return all values of a parameter that may be sent more than once, in order; empty if it is missing."""
        return self.repeated.get(name, ())


def parse_parameters(encoded: str) -> Parameters:
    """Return the parameters in a query string or an ``application/x-www-form-urlencoded`` body.

    :raises InvalidRequest: if it cannot be decoded, or a parameter is sent twice.
    """
    return reject_repeated(decode_pairs(encoded))


def decode_pairs(encoded: str) -> list[tuple[str, str]]:
    """Return the decoded name-value pairs of a query string or form body, in order.

    :raises InvalidRequest: if the text is not form-encoded UTF-8, has more than 60 fields, or contains NUL, which
        databases cannot store.
    """
    if encoded.count("&") >= _MAX_FIELDS:
        raise InvalidRequest(f"more than {_MAX_FIELDS} parameters")
    try:
        pairs = [_decode_pair(pair) for pair in encoded.split("&") if pair]
    except UnicodeDecodeError as cause:
        raise InvalidRequest("the parameters are not form-encoded UTF-8") from cause
    if "%00" in encoded or "\0" in encoded:
        raise InvalidRequest("a parameter contains a NUL character")
    return pairs


def _decode_pair(pair: str) -> tuple[str, str]:
    """Return name and value of one pair; the value is empty if there is no ``=``.

    :raises UnicodeDecodeError: if one of them is not UTF-8.
    """
    name, _, value = pair.partition("=")
    return decode_form_text(name), decode_form_text(value)


def decode_form_text(encoded: str) -> str:
    """Return a text that was encoded as ``application/x-www-form-urlencoded`` (RFC 6749 appendix B).

    :raises UnicodeDecodeError: if it is not UTF-8.
    """
    return unquote_plus(encoded, errors="strict") if "%" in encoded or "+" in encoded else encoded


def reject_repeated(pairs: Iterable[tuple[str, str]]) -> Parameters:
    """Return name-value pairs as ``Parameters``; a pair with an empty value counts as omitted (RFC 6749 §3.1).

    :raises InvalidRequest: if a parameter that is not repeatable is sent twice.
    """
    values: dict[str, str] = {}
    repeated: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        if name in REPEATABLE_PARAMETERS:
            if value:
                repeated[name] = (*repeated.get(name, ()), value)
        elif name in values:
            raise InvalidRequest(f"parameter sent more than once: {_to_printable_ascii(name)}")
        else:
            values[name] = value
    return Parameters({name: value for name, value in values.items() if value}, repeated)


def _to_printable_ascii(name: str) -> str:
    # error_description is limited to printable ASCII without quote and backslash (RFC 6749 §5.2).
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in name[:40])
