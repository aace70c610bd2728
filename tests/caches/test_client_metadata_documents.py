"""How long a client metadata document is used if the clock is set back. The rest is in ``conformance/test_cimd.py``."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest

from tests.support.clock import NOW
from valetkey.caches.client_metadata_documents import ClientMetadataDocumentCache
from valetkey.outbound.http import FetchResponse

URL = "https://app.example/client.json"
DAY = 86_400.0


class Site:
    """A website with one document, which is served with a status."""

    def __init__(self) -> None:
        self.status, self.fetches = 200, 0

    def get(self, url: str, **_: object) -> FetchResponse:
        self.fetches += 1
        document = {
            "client_id": URL,
            "redirect_uris": ["https://app.example/back"],
            "token_endpoint_auth_method": "none",
        }
        return FetchResponse(
            self.status, {"content-type": "application/json"}, json.dumps(document).encode(), url, 3600
        )


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def documents(site: Site) -> ClientMetadataDocumentCache:
    return ClientMetadataDocumentCache(
        site,  # type: ignore[arg-type]
        set(),
        lambda *_: True,
        lambda _: nullcontext(),
        allow_http_loopback=False,
    )


@pytest.mark.parametrize("status", [404, 500], ids=["removed", "its host fails"])
def test_a_document_that_is_gone_does_not_stay_usable_because_the_clock_was_set_back(
    documents: ClientMetadataDocumentCache, site: Site, status: int
) -> None:
    assert documents.find(URL, NOW + DAY)
    site.status = status

    is_usable = [documents.find(URL, NOW + seconds) is not None for seconds in (0, 3661)]

    assert is_usable == ([False, False] if status == 404 else [True, False])
    site.status = 200
    assert documents.find(URL, NOW + 3662)


def test_a_document_is_fetched_once_if_a_request_began_before_the_one_that_fetched_it(
    documents: ClientMetadataDocumentCache, site: Site
) -> None:
    assert documents.find(URL, NOW)
    assert documents.find(URL, NOW - 5)

    assert site.fetches == 1
