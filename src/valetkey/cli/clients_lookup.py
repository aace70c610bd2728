"""Find the client that a command names by its ``client_id``."""

from __future__ import annotations

import click

from valetkey.authorization_server.clients import service
from valetkey.runtime import Runtime
from valetkey.storage import clients
from valetkey.storage.clients import Client
from valetkey.storage.engine.store import Store


def require_client(store: Store, client_id: str, now: float) -> Client:
    """Return the client with a ``client_id``, disabled or not.

    :raises click.ClickException: if there is no such client.
    """
    client = clients.find(store, client_id, now)
    if client is None:
        raise _unknown_client(client_id)
    return client


def require_or_create_client(runtime: Runtime, client_id: str, now: float) -> Client:
    """Return the client with a ``client_id``, disabled or not.

    If the ``client_id`` is the URL of a client metadata document, the client is created if it does not exist.

    :raises click.ClickException: if there is no such client.
    """
    client = service.find_or_create_client(runtime, client_id, now)
    if client is None:
        raise _unknown_client(client_id)
    return client


def check_client_exists(runtime: Runtime, client_id: str) -> None:
    """Check that a client is registered, or that its id is the URL of a client metadata document.

    :raises click.ClickException: if it is neither.
    """
    if not runtime.client_metadata_documents.is_document_url(client_id):
        require_client(runtime.store, client_id, runtime.clock())


def _unknown_client(client_id: str) -> click.ClickException:
    return click.ClickException(f"unknown client {client_id}; see `valetkey clients list`")
