"""``valetkey work``: a process that sends queued mail and runs hourly tasks, if another WSGI server serves the app."""

from __future__ import annotations

import signal
import threading

import click

from valetkey.runtime import Runtime

from .app_loading import with_runtime


@click.command()
@click.option("--once", is_flag=True, help="Run the jobs that are due, then exit.")
@with_runtime
def work(runtime: Runtime, once: bool) -> None:
    """Send queued mail, and run hourly tasks.

    Queued logout tokens are sent, too; hourly tasks delete expired rows. Run this command if another WSGI server serves
    the app; `valetkey serve` does all of this by itself.
    """
    worker = runtime.make_worker()
    if once:
        click.echo(f"{worker.run_once()} jobs done")
        return
    stop = threading.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda *_: stop.set())
    click.echo("The worker is running. Press Ctrl-C to stop it.")
    worker.run(stop)
