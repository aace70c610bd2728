"""The OpenAPI document and the files made from it, each built once, at its first request. Does not import Flask."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from valetkey.protocol.etag import etag_of
from valetkey.protocol.json_encoding import encode_json
from valetkey.settings import Settings

from .reference import ApiReference, build_api_reference
from .well_known import API_CATALOG_CONTENT_TYPE, api_catalog, llms_txt


@dataclass(frozen=True, slots=True)
class Document:
    """A file that the developer portal serves, such as llms.txt: its bytes, its content type and its ETag."""

    body: bytes
    content_type: str

    @property
    def etag(self) -> str:
        """The value of the ``ETag`` header (RFC 9110 §8.8.3)."""
        return etag_of(self.body)


class PortalDocuments:
    """Builds and caches an app's OpenAPI document, API reference, llms.txt and API catalog.

    They are never built again, because the routes of a Flask app do not change after the first request.

    :param build_openapi: function that returns the app's OpenAPI document as a dict.
    :param render_operations: function that returns the HTML of the operations on the page of the API reference.
    """

    def __init__(
        self,
        settings: Settings,
        build_openapi: Callable[[], dict[str, Any]],
        render_operations: Callable[[ApiReference, Settings], str],
    ) -> None:
        self._settings, self._build_openapi, self._render_operations = settings, build_openapi, render_operations

    @cached_property
    def openapi(self) -> Document:
        return Document(self._openapi_json, "application/json")

    @cached_property
    def _openapi_json(self) -> bytes:
        return encode_json(self._build_openapi())

    @cached_property
    def reference(self) -> ApiReference:
        return build_api_reference(json.loads(self._openapi_json), str(self._settings.issuer))

    @cached_property
    def operations_html(self) -> str:
        return self._render_operations(self.reference, self._settings)

    @cached_property
    def llms_txt(self) -> Document:
        return Document(llms_txt(self._settings, self.reference).encode(), "text/plain; charset=utf-8")

    @cached_property
    def api_catalog(self) -> Document:
        return Document(encode_json(api_catalog(self._settings)), API_CATALOG_CONTENT_TYPE)
