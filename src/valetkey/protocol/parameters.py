"""Request parameters as RFC 6749 §3.1 and §3.2 want them read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from .errors import InvalidRequest

REPEATABLE_PARAMETERS = frozenset({"resource"})  # RFC 8707 §2
_MAX_FIELDS = 60


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters of which none came twice (``resource`` excepted) and none is empty."""

    values: Mapping[str, str]
    repeated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        return self.values.get(name)

    def require(self, name: str) -> str:
        value = self.values.get(name)
        if value is None:
            raise InvalidRequest(f"missing parameter: {name}")
        return value

    def getlist(self, name: str) -> tuple[str, ...]:
        """All values of a parameter that may repeat."""
        return self.repeated.get(name, ())


def parse_parameters(encoded: str) -> Parameters:
    """Parameters of a query string or an ``application/x-www-form-urlencoded`` body."""
    return reject_repeated(decode_pairs(encoded))


def decode_pairs(encoded: str) -> list[tuple[str, str]]:
    """The decoded pairs, in order.

    :raises InvalidRequest: on text that is not UTF-8, on NUL (which no database keeps) and on too many fields.
    """
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as cause:
        raise InvalidRequest("the parameters are not form-encoded UTF-8, or too many") from cause
    if "%00" in encoded or "\0" in encoded:
        raise InvalidRequest("a parameter contains a NUL character")
    return pairs


def reject_repeated(pairs: Iterable[tuple[str, str]]) -> Parameters:
    """A parameter sent twice is an error; one sent empty counts as left out (RFC 6749 §3.1)."""
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
