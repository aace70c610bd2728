"""What is told of the API: made from its routes once, when somebody first asks. No Flask here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from valetkey.settings import Settings

from .reference import ApiReference, build_api_reference
from .well_known import API_CATALOG_CONTENT_TYPE, api_catalog, llms_txt


@dataclass(frozen=True, slots=True)
class Document:
    """Bytes to serve, with their tag (RFC 9110 §8.8.3)."""

    body: bytes
    content_type: str

    @property
    def etag(self) -> str:
        return sha256(self.body).hexdigest()[:32]


class PortalDocuments:
    """The documents of one app; its routes do not change once it answers.

    :param make: makes the OpenAPI document.
    """

    def __init__(self, settings: Settings, build_openapi: Callable[[], dict[str, Any]]) -> None:
        self._settings, self._build_openapi = settings, build_openapi

    @cached_property
    def openapi(self) -> Document:
        return Document(self._openapi_json.encode(), "application/json")

    @cached_property
    def _openapi_json(self) -> str:
        return json.dumps(self._build_openapi(), separators=(",", ":"), ensure_ascii=False)

    @cached_property
    def reference(self) -> ApiReference:
        return build_api_reference(json.loads(self._openapi_json))

    @cached_property
    def llms_txt(self) -> Document:
        return Document(llms_txt(self._settings, self.reference).encode(), "text/plain; charset=utf-8")

    @cached_property
    def api_catalog(self) -> Document:
        return Document(json.dumps(api_catalog(self._settings)).encode(), API_CATALOG_CONTENT_TYPE)
