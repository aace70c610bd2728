"""``valetkey login``: a token for oneself, through the browser (RFC 8252: loopback redirect, PKCE)."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from urllib.parse import parse_qsl, urlencode, urlsplit

import click
import httpx

from valetkey.authorization_server.clients.service import CLI_CLIENT_ID
from valetkey.protocol.pkce import s256

from .app_loading import get_global_options
from .login_page import render_login_page
from .served_issuer import find_served_issuer

_SIGN_IN_TIMEOUT_S = 300


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--issuer", envvar="VALETKEY_ISSUER", help="The authorization server; the one served last here where left out."
)
@click.option("--client-id", default=CLI_CLIENT_ID, show_default=True)
@click.option("--scope", default="", help="Space-separated; all that the client may ask for where left out.")
@click.option(
    "--resource", "resources", multiple=True, help="The API that it is for (RFC 8707); the usual one where left out."
)
@click.option("--no-browser", is_flag=True, help="Print the address instead of opening it.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def login(
    context: click.Context,
    issuer: str | None,
    client_id: str,
    scope: str,
    resources: tuple[str, ...],
    no_browser: bool,
    command: tuple[str, ...],
) -> None:
    """Sign in through the browser and print an access token.

    After `--` stands a command to run with it instead.

    curl gets the token as its Authorization header, on standard input, so that no process list shows it. Any other
    command finds it in the environment variable VALETKEY_TOKEN.
    """
    issuer = issuer or find_served_issuer(get_global_options(context).get("data_dir")) or "http://127.0.0.1:8000"
    asked = [("scope", scope)] if scope else []
    asked += [("resource", one) for one in resources]
    token = _sign_in(issuer.rstrip("/"), client_id, asked, no_browser)
    if not command:
        click.echo(token)
        return
    raise SystemExit(_run_command(command, token))


def _sign_in(issuer: str, client_id: str, extra_parameters: list[tuple[str, str]], no_browser: bool) -> str:
    metadata = _fetch_metadata(issuer)
    answers: Queue[dict[str, str]] = Queue()
    server = _start_callback_server(answers)
    redirect_uri = f"http://127.0.0.1:{server.server_port}/callback"
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": s256(verifier),
        "code_challenge_method": "S256",
    }
    url = f"{metadata['authorization_endpoint']}?{urlencode([*asked.items(), *extra_parameters])}"
    if no_browser or not webbrowser.open(url):
        click.echo(f"Open this address in a browser:\n\n{url}\n", err=True)
        if sys.stdin.isatty():
            click.echo("If that browser is on another machine, paste the address it ends at here.", err=True)
            threading.Thread(target=_read_pasted_redirect, args=(answers,), daemon=True).start()
    else:
        click.echo("Waiting for the browser ...", err=True)
    try:
        answer = answers.get(timeout=_SIGN_IN_TIMEOUT_S)
    except Empty:
        raise click.ClickException(f"no answer within {_SIGN_IN_TIMEOUT_S // 60} minutes; try again") from None
    finally:
        server.shutdown()
    _check_authorization_response(
        answer, state, issuer, requires_iss=bool(metadata.get("authorization_response_iss_parameter_supported"))
    )
    return _redeem_code(metadata["token_endpoint"], answer["code"], verifier, client_id, redirect_uri)


def _check_authorization_response(response: dict[str, str], state: str, issuer: str, *, requires_iss: bool) -> None:
    named = response.get("iss") if requires_iss else response.get("iss", issuer)
    if response.get("state") != state or named != issuer:  # RFC 9207 §2.4
        raise click.ClickException("the answer was not for this sign-in; try again")
    if "error" in response:
        raise click.ClickException(f"not signed in: {response.get('error_description') or response['error']}")
    if "code" not in response:
        raise click.ClickException("the answer had no code; try again")


def _fetch_metadata(issuer: str) -> dict[str, str]:
    parts = urlsplit(issuer)
    url = f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{parts.path}"  # RFC 8414 §3.1
    try:
        found: dict[str, str] = httpx.get(url, timeout=10).raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as cause:
        why = str(cause).partition("\n")[0]
        raise click.ClickException(f"{issuer} does not answer as an authorization server: {why}") from cause
    if found.get("issuer") != issuer:
        raise click.ClickException(f"{url} is the metadata of {found.get('issuer')}; use --issuer with that")
    return found


def _redeem_code(token_endpoint: str, code: str, code_verifier: str, client_id: str, redirect_uri: str) -> str:
    sent = {
        "grant_type": "authorization_code",
        "code": code,
        "code_verifier": code_verifier,
        "client_id": client_id,
        "redirect_uri": redirect_uri,
    }
    try:
        answer = httpx.post(token_endpoint, data=sent, timeout=10).json()
    except (httpx.HTTPError, ValueError) as cause:
        raise click.ClickException(f"the token endpoint does not answer: {cause}") from cause
    if "access_token" not in answer:
        raise click.ClickException(f"no token: {answer.get('error_description') or answer.get('error')}")
    return str(answer["access_token"])


def _start_callback_server(responses: Queue[dict[str, str]]) -> ThreadingHTTPServer:
    class Callback(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path != "/callback":
                self.send_error(404)
                return
            answer = dict(parse_qsl(parts.query))
            headers, page = render_login_page(answer)
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(page)
            self.wfile.flush()
            responses.put(answer)  # last: the process may end as soon as it has the answer

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the path holds a code."""

    # In threads: a browser opens connections that it may never use, and one of them would hold up the answer.
    server = ThreadingHTTPServer(("127.0.0.1", 0), Callback)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _read_pasted_redirect(responses: Queue[dict[str, str]]) -> None:
    responses.put(dict(parse_qsl(urlsplit(sys.stdin.readline().strip()).query)))


def _run_command(command: tuple[str, ...], token: str) -> int:
    if os.path.basename(command[0]) == "curl":
        header = f'header = "Authorization: Bearer {token}"\n'
        return subprocess.run([command[0], "-K", "-", *command[1:]], input=header.encode()).returncode  # noqa: S603 - the caller's own command
    return subprocess.run(command, env={**os.environ, "VALETKEY_TOKEN": token}).returncode  # noqa: S603 - the same
