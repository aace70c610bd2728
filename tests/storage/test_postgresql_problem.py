"""An error message says why PostgreSQL cannot be reached, without the URL or parts of its password."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from threading import Thread

import pytest

from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.storage.schema import schema_version


@pytest.fixture
def tls_port() -> Iterator[int]:
    """Port of a server that accepts the request for TLS, and then ends the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(8)
                connection.sendall(b"S")

        Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]


def problem_of(url: str) -> str:
    store = open_store(url)
    with pytest.raises(StoreUnavailable) as refusal:
        schema_version(store)
    store.close()
    return str(refusal.value)


def test_a_server_without_tls_is_named(postgresql_url: str) -> None:
    assert "server does not support SSL, but SSL was required" in problem_of(f"{postgresql_url}?sslmode=require")


def test_a_missing_certificate_file_is_named(tls_port: int) -> None:
    url = f"postgresql://shop:hunter2@127.0.0.1:{tls_port}/shop?sslmode=verify-full&sslrootcert=/missing.pem"
    assert '"/missing.pem" does not exist' in problem_of(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://shop:hunter2@db.invalid/shop", "its host name cannot be resolved"),
        ("postgresql://shop:hun@ter2@127.0.0.1/shop", "its host name cannot be resolved"),
        ("postgresql://shop:hunter2@127.0.0.1:1/shop", "Connection refused"),
        ("postgresql://shop:hunter2@/shop?host=/missing", "No such file or directory"),
        (
            "postgresql://shop:hunter2@127.0.0.1/shop?port=hunter2",
            'invalid integer value ... for connection option "port"',
        ),
        ("postgresql://shop:hunter2@127.0.0.1/shop?sslmode=hunter2", "invalid sslmode value: ..."),
        ("postgresql://shop:hunter2@db/shop?sslmod=require", "an unknown parameter; did you mean sslmode?"),
        ("postgresql://shop@db/shop?hunter2=b", "an unknown parameter: percent-encode a ? in the password"),
        ("postgresql://shop:hunter2%zz@db/shop", "percent-encode the user and the password"),
    ],
)
def test_the_reason_is_named_without_the_url(url: str, words: str) -> None:
    problem = problem_of(url)

    assert words in problem
    assert "hunter2" not in problem and "ter2" not in problem and "shop" not in problem
