"""``valetkey outbox``: list background jobs (mail, logout tokens), and retry or drop those that are parked."""

from __future__ import annotations

from collections.abc import Callable

import click

from valetkey.protocol.printable import escape_unprintable
from valetkey.runtime import Runtime
from valetkey.storage import outbox as outbox_storage
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.outbox import Job

from .app_loading import with_runtime
from .printing import json_option, print_table

_MAX_LISTED = 1000
_COLUMNS = ("job_id", "kind", "recipient", "state", "attempts", "due_at", "parked_at", "problem")

_ids_argument = click.argument("job_ids", nargs=-1)
_all_option = click.option("--all", "all_parked", is_flag=True, help="All parked jobs.")


@click.group()
def outbox() -> None:
    """List, retry and drop background jobs: mail and logout tokens.

    A job that has failed seven times, or that can never succeed, is parked: it is not run again until you retry it. A
    parked job is deleted after 30 days.
    """


@outbox.command("list")
@json_option
@with_runtime
def list_jobs(runtime: Runtime, as_json: bool) -> None:
    """List the jobs that wait and those that are parked.

    What a job sends is not shown.
    """
    jobs = outbox_storage.list_all(runtime.store, _MAX_LISTED)
    print_table(map(_describe_job, jobs), _COLUMNS, as_json, empty_message="The outbox is empty.")
    if len(jobs) == _MAX_LISTED and not as_json:
        click.echo(f"These are the first {_MAX_LISTED} jobs.")


@outbox.command()
@_ids_argument
@_all_option
@with_runtime
def retry(runtime: Runtime, job_ids: tuple[str, ...], all_parked: bool) -> None:
    """Run jobs again, with seven more attempts.

    Name them by their ids, or take --all that are parked. A link that was requested too long ago is not mailed any
    more.
    """
    now = runtime.clock()
    count = _change_jobs(runtime.store, job_ids, all_parked, lambda job_id: outbox_storage.retry(job_id, now))
    click.echo(f"{_format_count(count)} will be run again.")


@outbox.command()
@_ids_argument
@_all_option
@with_runtime
def drop(runtime: Runtime, job_ids: tuple[str, ...], all_parked: bool) -> None:
    """Delete jobs without running them.

    Name them by their ids, or take --all that are parked.
    """
    count = _change_jobs(runtime.store, job_ids, all_parked, outbox_storage.remove)
    click.echo(f"{_format_count(count)} deleted.")


def _change_jobs(
    store: Store, job_ids: tuple[str, ...], all_parked: bool, make_statement: Callable[[str], BoundStatement]
) -> int:
    """Run an SQL statement for each job that the command names, in one transaction. Return the number of jobs.

    :raises click.UsageError: if the command names no jobs, or both jobs and ``--all``.
    :raises click.ClickException: if there is no job with one of the ids; then nothing is changed.
    """
    if bool(job_ids) == all_parked:
        raise click.UsageError("pass the ids of jobs, or --all for all parked jobs")
    for job_id in job_ids:
        if not outbox_storage.exists(store, job_id):
            raise click.ClickException(f"unknown job {job_id}; see `valetkey outbox list`")
    names = list(dict.fromkeys(job_ids)) or outbox_storage.list_parked_ids(store)
    if names:
        store.write(Transaction(rows=tuple(make_statement(job_id) for job_id in names)))
    return len(names)


def _describe_job(job: Job) -> dict[str, object]:
    """Return what is shown of a job: its payload is left out, except for the recipient."""
    values: dict[str, object] = {
        "job_id": job.job_id,
        "kind": job.kind,
        "recipient": job.recipient,
        "state": "waiting" if job.parked_at is None else "parked",
        "attempts": job.attempts,
        "due_at": job.due_at,
        "parked_at": job.parked_at,
        "problem": job.problem,
    }
    return {name: escape_unprintable(value) if isinstance(value, str) else value for name, value in values.items()}


def _format_count(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"
