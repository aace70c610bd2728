"""``valetkey work``: a process that sends queued mail and runs hourly tasks, if another WSGI server serves the app."""

from __future__ import annotations

import signal
import threading

import click

from valetkey.outbound.worker import JobCounts
from valetkey.runtime import Runtime

from .app_loading import with_server_settings

# Settings on which background jobs and hourly tasks depend. A test records which ones they read.
SETTINGS_OF_TASKS = (
    *("issuer", "resource_owner", "site_name", "oauth_path", "account_path", "personal_access_tokens_path"),
    *("mail_url", "mail_from", "mail_link_lifetime", "outbound_ca_file", "outbound_allowed_networks"),
    *("metadata_document_clients", "private_use_schemes", "baseline", "redis_url"),
    *("audit_retention_days", "unused_registration_days"),
)
_END_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@click.command()
@click.option("--once", is_flag=True, help="Run the jobs that are due, then exit: with status 1 if one failed.")
@with_server_settings(*SETTINGS_OF_TASKS)
def work(runtime: Runtime, once: bool) -> None:
    """Send queued mail, and run hourly tasks.

    Queued logout tokens are sent, too; hourly tasks delete expired rows. Run this command if another WSGI server serves
    the app; `valetkey serve` does all of this too.

    After Ctrl-C or SIGTERM, the worker finishes the jobs that it has begun. A second one stops it at once: the jobs
    that it did not finish are run again, a minute later at the earliest.
    """
    worker = runtime.make_worker()
    if once:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a KeyboardInterrupt would end only when all jobs have
        _print_counts(worker.run_all_due())
        return
    stop = threading.Event()

    def end(*_: object) -> None:
        stop.set()
        for signal_number in _END_SIGNALS:
            signal.signal(signal_number, signal.SIG_DFL)  # a second one ends the process at once

    for signal_number in _END_SIGNALS:
        signal.signal(signal_number, end)
    click.echo("The worker is running. Press Ctrl-C to stop it, and again to stop it without finishing its jobs.")
    worker.run(stop)


def _print_counts(counts: JobCounts | None) -> None:
    """Print the result of ``work --once``.

    :param counts: how many attempts to run a job succeeded and failed; ``None`` if another worker runs the jobs.
    :raises click.ClickException: if an attempt failed.
    """
    if counts is None:
        click.echo("0 jobs done: another worker is running, and runs the jobs that are due")
        return
    click.echo(f"{counts.succeeded} jobs done")
    if counts.failed:
        raise click.ClickException(
            f"attempts that failed and are repeated later: {counts.failed}; see `valetkey outbox list`"
        )
