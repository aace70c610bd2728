"""The audience of a token (RFC 8707 §2, RFC 9068 §4): identifiers are compared as the token endpoint compares them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.access_tokens import access_token_of
from tests.support.clock import NOW
from valetkey.protocol.errors import InvalidToken
from valetkey.resource_server.protection import build_protection, check_token

TOKEN = replace(access_token_of("app"), audience=("urn:photos", "[", "https://photos.example/"))


@pytest.mark.parametrize("resource", ["https://photos.example/", "https://photos.example", "HTTPS://Photos.Example"])
def test_one_resource_may_be_written_in_several_ways(resource: str) -> None:
    check_token(build_protection(None, bucket="view"), resource, TOKEN, NOW)


@pytest.mark.parametrize(
    "resource", ["https://photos.example/a", "https://photos.example:8443/", "https://a.photos.example/", "urn:photo"]
)
def test_another_resource_is_refused(resource: str) -> None:
    with pytest.raises(InvalidToken, match="another resource"):
        check_token(build_protection(None, bucket="view"), resource, TOKEN, NOW)
