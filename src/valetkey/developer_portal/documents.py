"""What is told of the API: made from its routes once, when somebody first asks. No Flask here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from valetkey.settings import Settings

from .reference import Reference, reference
from .well_known import CATALOG_TYPE, api_catalog, llms_txt


@dataclass(frozen=True, slots=True)
class Document:
    """Bytes to serve, with their tag (RFC 9110 §8.8.3)."""

    body: bytes
    content_type: str

    @property
    def etag(self) -> str:
        return sha256(self.body).hexdigest()[:32]


class Documents:
    """The documents of one app; its routes do not change once it answers.

    :param make: makes the OpenAPI document.
    """

    def __init__(self, settings: Settings, make: Callable[[], dict[str, Any]]) -> None:
        self._settings, self._make = settings, make

    @cached_property
    def openapi(self) -> Document:
        return Document(self._json.encode(), "application/json")

    @cached_property
    def _json(self) -> str:
        return json.dumps(self._make(), separators=(",", ":"), ensure_ascii=False)

    @cached_property
    def reference(self) -> Reference:
        return reference(json.loads(self._json))

    @cached_property
    def llms(self) -> Document:
        return Document(llms_txt(self._settings, self.reference).encode(), "text/plain; charset=utf-8")

    @cached_property
    def catalog(self) -> Document:
        return Document(json.dumps(api_catalog(self._settings)).encode(), CATALOG_TYPE)
