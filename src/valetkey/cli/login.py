"""``valetkey login``: sign in through the browser to get an access token (RFC 8252: loopback redirect, PKCE)."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import click
import httpx

from valetkey.authorization_server.clients.service import CLI_CLIENT_ID
from valetkey.protocol.pkce import s256
from valetkey.protocol.printable import escape_unprintable
from valetkey.protocol.request_body import parse_json_object
from valetkey.protocol.uri import endpoint_uri_problem, insert_metadata_path

from .app_loading import get_global_options
from .login_page import render_login_page
from .option_values import refuse_empty
from .served_issuer import find_served_issuer

_SIGN_IN_TIMEOUT_S = 300
_UNKNOWN_COMMAND_STATUS = 127  # as that of a shell


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--issuer",
    envvar="VALETKEY_ISSUER",
    callback=refuse_empty,
    help="URL of the authorization server. [default: the last served]",
)
@click.option("--client-id", default=CLI_CLIENT_ID, show_default=True, callback=refuse_empty)
@click.option(
    "--scope", "scopes", multiple=True, callback=refuse_empty, help="Scope; repeatable. [default: all of the client]"
)
@click.option(
    "--resource",
    "resources",
    multiple=True,
    callback=refuse_empty,
    help="The API that the token is for (RFC 8707). [default: the server's own]",
)
@click.option("--no-browser", is_flag=True, help="Print the URL instead of opening it.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def login(
    context: click.Context,
    issuer: str | None,
    client_id: str,
    scopes: tuple[str, ...],
    resources: tuple[str, ...],
    no_browser: bool,
    command: tuple[str, ...],
) -> None:
    """Sign in through the browser and print an access token.

    With a command after `--`, run that command with the token instead of printing the token.

    If the command is curl, it sends the token in the Authorization header; curl reads the token from standard input, so
    that no process list shows it. Any other command finds the token in the environment variable VALETKEY_TOKEN.
    """
    if command and shutil.which(command[0]) is None:  # before the sign-in, which would be in vain
        click.echo(f"Error: unknown command {escape_unprintable(command[0])}", err=True)
        raise SystemExit(_UNKNOWN_COMMAND_STATUS)
    issuer = issuer or find_served_issuer(get_global_options(context).get("data_dir")) or "http://127.0.0.1:8000"
    parameters = [("scope", " ".join(scopes))] if scopes else []
    parameters += [("resource", resource) for resource in resources]
    token = _sign_in(issuer.rstrip("/"), client_id, parameters, no_browser)
    if not command:
        click.echo(token)
        return
    raise SystemExit(_run_command(command, token))


def _sign_in(issuer: str, client_id: str, extra_parameters: list[tuple[str, str]], no_browser: bool) -> str:
    """Sign in through the browser and return an access token (authorization code grant with PKCE).

    :param extra_parameters: more parameters of the authorization request, such as ``scope``.
    :param no_browser: whether to print the URL to open instead of opening a browser.
    :raises click.ClickException: if signing in fails, or takes more than 5 minutes.
    """
    metadata = _fetch_metadata(issuer)
    responses: Queue[dict[str, str]] = Queue()
    server = _start_callback_server(responses)
    redirect_uri = f"http://127.0.0.1:{server.server_port}/callback"
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
    parameters = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": s256(verifier),
        "code_challenge_method": "S256",
    }
    url = f"{metadata['authorization_endpoint']}?{urlencode([*parameters.items(), *extra_parameters])}"
    if no_browser or not webbrowser.open(url):
        click.echo(f"Open this URL in a browser:\n\n{url}\n", err=True)
        if sys.stdin.isatty():
            click.echo("If the browser is on another machine, paste the URL that it shows at the end.", err=True)
            threading.Thread(target=_read_pasted_redirect, args=(responses,), daemon=True).start()
    else:
        click.echo("Waiting for the browser ...", err=True)
    try:
        response = responses.get(timeout=_SIGN_IN_TIMEOUT_S)
    except Empty:
        raise click.ClickException(f"no response within {_SIGN_IN_TIMEOUT_S // 60} minutes; try again") from None
    finally:
        server.shutdown()
        server.server_close()
    _check_authorization_response(
        response, state, issuer, requires_iss=bool(metadata.get("authorization_response_iss_parameter_supported"))
    )
    return _redeem_code(metadata["token_endpoint"], response["code"], verifier, client_id, redirect_uri)


def _check_authorization_response(response: dict[str, str], state: str, issuer: str, *, requires_iss: bool) -> None:
    """Check that an authorization response has a code, and that ``state`` and ``iss`` match this sign-in.

    :param response: the parameters of the response.
    :param state: the ``state`` of the authorization request.
    :param requires_iss: whether the server's metadata promises ``iss`` in every response (RFC 9207 §2.3).
    :raises click.ClickException: if a check fails, or the response is an error.
    """
    response_issuer = response.get("iss") if requires_iss else response.get("iss", issuer)
    if response.get("state") != state or response_issuer != issuer:  # RFC 9207 §2.4
        raise click.ClickException("the response does not belong to this sign-in; try again")
    if "error" in response:
        raise click.ClickException(f"not signed in: {_describe_error(response)}")
    if "code" not in response:
        raise click.ClickException("the response has no code; try again")


def _describe_error(response: Mapping[str, object]) -> str:
    """Return the error description or code of another server's response, without commands for the terminal."""
    return escape_unprintable(str(response.get("error_description") or response.get("error")))


def _fetch_metadata(issuer: str) -> dict[str, Any]:
    """Return the metadata of an authorization server (RFC 8414).

    :raises click.ClickException: if there is no metadata, or its ``issuer`` is another (RFC 8414 §3.3).
    """
    if problem := endpoint_uri_problem(issuer):
        raise click.ClickException(f"the issuer {escape_unprintable(issuer)} cannot be used: {problem}")
    url = insert_metadata_path(issuer, "/.well-known/oauth-authorization-server")
    try:
        metadata = parse_json_object(httpx.get(url, timeout=10).raise_for_status().content)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as cause:
        reason = str(cause).partition("\n")[0]
        raise click.ClickException(f"{issuer} does not respond like an authorization server: {reason}") from cause
    for name in ("authorization_endpoint", "token_endpoint"):
        problem = endpoint_uri_problem(str(metadata.get(name, "")))
        if problem:
            shown = escape_unprintable(str(metadata.get(name)))
            raise click.ClickException(f"{url}: {name} {shown} is not opened: {problem}")
    if metadata.get("issuer") != issuer:
        raise click.ClickException(
            f"{url} is the metadata of {escape_unprintable(str(metadata.get('issuer')))}; use --issuer with that"
        )
    return metadata


def _redeem_code(token_endpoint: str, code: str, code_verifier: str, client_id: str, redirect_uri: str) -> str:
    """Exchange an authorization code for an access token, and return the token.

    :raises click.ClickException: if the token endpoint does not respond, or refuses the request.
    """
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "code_verifier": code_verifier,
        "client_id": client_id,
        "redirect_uri": redirect_uri,
    }
    try:
        response = parse_json_object(httpx.post(token_endpoint, data=form, timeout=10).content)
    except (httpx.HTTPError, ValueError) as cause:
        raise click.ClickException(f"the token endpoint does not respond: {cause}") from cause
    if "access_token" not in response:
        raise click.ClickException(f"no token: {_describe_error(response)}")
    return str(response["access_token"])


def _start_callback_server(responses: Queue[dict[str, str]]) -> ThreadingHTTPServer:
    """Start an HTTP server on a free loopback port, to which the browser is redirected (RFC 8252 §7.3).

    The server puts the parameters of each request to ``/callback`` into ``responses``.
    """

    class Callback(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path != "/callback":
                self.send_error(404)
                return
            response = dict(parse_qsl(parts.query))
            headers, page = render_login_page(response)
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(page)
            self.wfile.flush()
            responses.put(response)  # last: the process may exit as soon as it has the response

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing: the request's path contains an authorization code."""

    # One thread for each connection: browsers open some that they never use, which would block the response.
    server = ThreadingHTTPServer(("127.0.0.1", 0), Callback)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _read_pasted_redirect(responses: Queue[dict[str, str]]) -> None:
    """Read the URL of the authorization response from the terminal and put its parameters into ``responses``."""
    responses.put(dict(parse_qsl(urlsplit(sys.stdin.readline().strip()).query)))


def _run_command(command: tuple[str, ...], token: str) -> int:
    """Run a command with an access token, and return the exit status of the command.

    curl gets the token as its ``Authorization`` header, other commands in the variable ``VALETKEY_TOKEN``.
    """
    if os.path.basename(command[0]) == "curl":
        header = f'header = "Authorization: Bearer {token}"\n'
        return subprocess.run([command[0], "-K", "-", *command[1:]], input=header.encode()).returncode  # noqa: S603 - the user's own command
    return subprocess.run(command, env={**os.environ, "VALETKEY_TOKEN": token}).returncode  # noqa: S603 - the same
