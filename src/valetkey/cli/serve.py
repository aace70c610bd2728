"""``valetkey serve``: serve a Flask app, or only an authorization server, with the WSGI server Granian."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import secrets
import signal
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from flask import Flask
from flask.cli import ScriptInfo

from valetkey.protocol.uri import is_loopback_host
from valetkey.resource_server.standalone_context import StandaloneContext
from valetkey.resource_server.start_checks import route_problems
from valetkey.runtime import Runtime
from valetkey.service import DRAIN_TIMEOUT_S, THREADS_VARIABLE
from valetkey.settings import Settings, SettingsError
from valetkey.web.context import EXTENSION

from .app_loading import get_global_options, load_app
from .banner import banner_lines, example_call_lines, resource_server_banner_lines
from .bind import check_certificate, resolve_bind_address
from .certificate import ensure_self_signed_certificate
from .init import check_demo_allowed, create_demo_data
from .option_values import refuse_empty
from .served_issuer import find_served_issuer, save_served_issuer

DEFAULT_THREADS = 64
_GENERATED_KEY_WARNING = (
    "warning: the app reads its secret key from SECRET_KEY, which is not set. A new one was generated. It ends "
    "the sessions of the app's users at each restart: set SECRET_KEY to a random text that stays the same"
)
_OTHER_ISSUER_NOTE = (
    "Note: this database was served as {issuer} before. Tokens of that server are not valid here. If that is another "
    "app, give this one a database of its own: set VALETKEY_DATA_DIR."
)
_MALLOC_OPTIONS = {-8: 2, -3: 1 << 20}  # M_ARENA_MAX and M_MMAP_THRESHOLD, as glibc's malloc.h numbers them


@click.command()
@click.argument("app", required=False, callback=refuse_empty)
@click.option("--host", default="127.0.0.1", show_default=True, callback=refuse_empty)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Server processes.")
@click.option(
    "--threads",
    # Most of them wait for their write to be committed: the more, the more writes share a commit. As long as there are
    # not more connections than threads, no thread takes the interpreter lock twice while another one waits for it.
    default=DEFAULT_THREADS,
    show_default=True,
    type=click.IntRange(4, 512),
    help="Requests that a worker handles at once; the views of the app hold at most half of them.",
)
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False), help="Certificate chain (PEM).")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False), help="Its private key (PEM).")
@click.option("--tls-self-signed", is_flag=True, help="Generate a certificate, for trying out TLS.")
@click.option("--data-dir", callback=refuse_empty, help="Folder of the SQLite database and of generated keys.")
@click.option("--demo", is_flag=True, help="Create a demo user and app, if there are none.")
@click.pass_context
def serve(context: click.Context, /, **options: Any) -> None:
    """Serve a Flask app, or only an authorization server.

    APP is module:app or path/to/app.py. Without APP, the server is only an authorization server.
    """
    root = get_global_options(context)
    script = context.find_object(ScriptInfo)  # called as `flask valetkey serve`
    root["app"] = options["app"] or root["app"]
    if script is not None and script.create_app is not None and not root["app"]:
        raise click.UsageError("the workers cannot load this app: pass it as in `serve module:app`")
    root["data_dir"] = options["data_dir"] or root["data_dir"]
    tls = _uses_tls(options)
    host = f"[{options['host']}]" if ":" in options["host"] else options["host"]
    address = f"{'https' if tls else 'http'}://{host}:{options['port']}"
    listen = resolve_bind_address(options["host"], options["port"])
    if is_loopback_host(options["host"]) and not ip_address(listen).is_loopback:
        raise click.UsageError(f"{options['host']} is {listen} on this machine: use --host 127.0.0.1")
    generated_key = _set_secret_key()
    os.environ[THREADS_VARIABLE] = str(options["threads"])
    certificate = _prepare(context, options, address, generated_key)
    gc.collect()  # frees the app of this process, which has reference cycles: the workers are forked and load their own
    _run_server(options, listen, certificate)


def _prepare(
    context: click.Context, options: dict[str, Any], address: str, generated_key: str
) -> tuple[Path, Path] | None:
    """Load the app, check it, prepare what it needs, and print what ``valetkey serve`` prints first.

    :param options: the options of ``valetkey serve`` by name.
    :param address: URL on which the server listens.
    :param generated_key: the generated ``SECRET_KEY``.
    :return: files with the TLS certificate chain and its private key, or ``None`` for plain HTTP.
    """
    app = load_app(
        context, allow_resource_server=True, issuer=address, health_path="/healthz", readiness_path="/readyz"
    )
    extension: Runtime | StandaloneContext = app.extensions[EXTENSION]
    if app.secret_key == generated_key and extension.settings.is_production:
        click.echo(_GENERATED_KEY_WARNING, err=True)
    _check_routes(app, extension)
    certificate = _prepare_certificate(options, extension.settings)
    if isinstance(extension, Runtime):
        _prepare_authorization_server(app, extension, address, demo=options["demo"])
    elif options["demo"]:
        raise click.UsageError("--demo needs an app with a Valetkey: this one has a ResourceServer")
    else:
        for line in resource_server_banner_lines(extension, address):
            click.echo(line)
    extension.close()  # the workers must not inherit threads or connections of this process
    return certificate


def _set_secret_key() -> str:
    """Set ``SECRET_KEY`` for apps that read it for their own sessions, unless it has a value; return the new key."""
    generated_key = secrets.token_hex()
    if not os.environ.get("SECRET_KEY"):  # Flask takes an empty key for none
        os.environ["SECRET_KEY"] = generated_key
    return generated_key


def _check_routes(app: Flask, extension: Runtime | StandaloneContext) -> None:
    """Check the routes of the app, with their scopes and limits.

    :raises SettingsError: if a route is not protected as it declares; the message has all problems.
    """
    budgets = extension.plan_budgets if isinstance(extension, Runtime) else None
    problems = route_problems(app, extension.settings, budgets, extension.admission.user_limit)
    if problems:
        raise SettingsError("\n".join(problems))


def _prepare_authorization_server(app: Flask, runtime: Runtime, address: str, *, demo: bool) -> None:
    """Prepare database and keys of an app with a ``Valetkey``, and print what ``valetkey serve`` prints first.

    :param address: URL on which the server listens.
    :param demo: whether to create a demo user and app, if there are none.
    """
    if demo:
        check_demo_allowed(runtime)
    runtime.get_ready()
    runtime.keys.get_signing_key("ES256", runtime.clock())  # fails if there are no keys or they cannot be decrypted
    credentials = create_demo_data(runtime) if demo else None
    last_issuer, issuer = find_served_issuer(runtime.settings.data_dir), runtime.settings.issuer
    for line in banner_lines(runtime, address) + (example_call_lines(app, runtime, credentials) if demo else []):
        click.echo(line)
    if last_issuer not in {None, issuer}:
        click.echo(_OTHER_ISSUER_NOTE.format(issuer=last_issuer))
    save_served_issuer(runtime.settings.data_dir, issuer)
    runtime.save_served_as()  # before the first request


def _run_server(options: dict[str, Any], address: str, certificate: tuple[Path, Path] | None) -> None:
    """Run the server processes until they are stopped.

    :param options: the options of ``valetkey serve`` by name.
    :param address: IP address to listen on.
    :param certificate: files with the certificate chain and its key; ``None`` for plain HTTP.
    """
    from granian.constants import Interfaces, Loops
    from granian.log import LogLevels
    from granian.server import Server

    _tune_process()
    cert, key = certificate or (None, None)
    server = Server(
        "valetkey.service:load_app_with_worker",
        factory=True,
        address=address,
        port=options["port"],
        interface=Interfaces.WSGI,
        loop=Loops.asyncio,
        workers=options["workers"],
        blocking_threads=options["threads"],
        backlog=2048,
        websockets=False,
        ssl_cert=cert,
        ssl_key=key,
        respawn_failed_workers=True,
        workers_kill_timeout=DRAIN_TIMEOUT_S,
        log_level=LogLevels.error,
    )
    _end_at_second_interrupt(server)
    server.serve()


def _tune_process() -> None:
    """Set what makes the server processes faster or smaller. The server also runs if the system refuses it."""
    with contextlib.suppress(OSError, AttributeError):  # gVisor and seccomp filters refuse it; macOS does not have it
        # A worker's Python thread is slowed by its own network thread under the default scheduler.
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with contextlib.suppress(OSError, AttributeError):  # other C libraries have no mallopt()
        # By default glibc keeps a heap for each thread, and never returns the 7 MB that hashing a password needs: a
        # worker has 104 MB under load, with these options 92 MB. Allocating the 7 MB each time adds 4 ms to the 19 ms
        # of a password hash (decision 84).
        for option, value in _MALLOC_OPTIONS.items():
            ctypes.CDLL(None).mallopt(option, value)


def _end_at_second_interrupt(server: Any) -> None:
    """Make a second Ctrl-C end all processes of a granian server at once; the first one lets requests end."""
    stop = server.signal_handler_interrupt

    def interrupt(signal_number: int, *arguments: Any) -> None:
        if server.interrupt_signal and signal_number == signal.SIGINT:
            for worker in server.wrks:
                worker.kill()
            os._exit(130)
        stop(signal_number, *arguments)

    server.signal_handler_interrupt = interrupt


def _uses_tls(options: dict[str, Any]) -> bool:
    """Return whether the options of ``valetkey serve`` make the server use TLS.

    :raises click.UsageError: if the options for TLS contradict each other.
    """
    if bool(options["tls_cert"]) != bool(options["tls_key"]):
        raise click.UsageError("--tls-cert and --tls-key belong together")
    if options["tls_cert"] and options["tls_self_signed"]:
        raise click.UsageError("choose --tls-cert with --tls-key, or --tls-self-signed")
    return bool(options["tls_cert"]) or bool(options["tls_self_signed"])


def _prepare_certificate(options: dict[str, Any], settings: Settings) -> tuple[Path, Path] | None:
    """Return the files with the TLS certificate chain and its private key, or ``None`` for plain HTTP.

    With ``--tls-self-signed``, a certificate is generated if needed.

    :raises click.ClickException: if the files cannot be used.
    """
    if not _uses_tls(options):
        return None
    if options["tls_self_signed"]:
        names = [options["host"], urlsplit(settings.issuer).hostname or ""]
        try:
            pair = ensure_self_signed_certificate(Path(settings.data_dir), names)
        except OSError as cause:
            raise click.ClickException(
                f"the folder {settings.data_dir} cannot be written ({cause.strerror}): run this as the user of the "
                "server, or set data_dir to a writable folder"
            ) from cause
    else:
        pair = Path(options["tls_cert"]), Path(options["tls_key"])
    check_certificate(*pair)
    return pair
