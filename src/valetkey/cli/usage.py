"""``valetkey usage``: show how often clients called each route, and how much of a client's quota is used."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click

from valetkey.protocol.access_token import PERSONAL_TOKEN_CLIENT_ID
from valetkey.runtime import Runtime
from valetkey.storage import usage as usage_storage
from valetkey.storage.engine.store import Store

from .app_loading import with_runtime
from .clients_lookup import check_client_exists
from .option_values import refuse_empty
from .printing import json_option, print_table

_DAY_S = 86400


@click.command()
@click.option("--client", "client_id", callback=refuse_empty, help="Only of this app, with its plan and quota.")
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True, help="Number of days to show.")
@json_option
@with_runtime
def usage(runtime: Runtime, client_id: str | None, days: int, as_json: bool) -> None:
    """Show how often apps called each route, by HTTP status.

    With --client, also show how much of the app's quota is used. Quotas are counted separately, and exactly.
    """
    now = runtime.clock()
    if client_id is not None and client_id != PERSONAL_TOKEN_CLIENT_ID:
        check_client_exists(runtime, client_id)
    counts = _count_calls(runtime.store, client_id, now - days * _DAY_S, now)
    quota = _quota_status(runtime, client_id, now) if client_id else None
    columns = ("client_id", "route", "status", "calls")
    rows = [dict(zip(columns, row, strict=True)) for row in counts]
    if as_json:
        members: dict[str, Any] = {"days": days, "usage": rows}
        click.echo(json.dumps(members | ({"client_id": client_id, **quota} if quota else {})))
        return
    print_table(rows, columns, as_json=False, empty_message=f"No calls in the last {days} days.")
    if quota is not None and quota["quota"]:
        click.echo(f"Plan {quota['plan']}: {quota['used']} of {quota['quota']} are used.")


def _count_calls(store: Store, client_id: str | None, since: float, until: float) -> list[tuple[str, str, int, int]]:
    """Return rows of client_id, route, HTTP status and number of calls.

    :param client_id: the client whose calls are returned; ``None`` for all clients.
    :param since: start of the period, in seconds since 1970.
    :param until: end of the period, in seconds since 1970.
    """
    if client_id is None:
        return usage_storage.list_totals(store, since, until)
    totals: Counter[tuple[str, str, int]] = Counter()
    for row in usage_storage.list_between(store, since, until, client_id):
        totals[row.client_id, row.route, row.status] += row.calls
    return [(*key, calls) for key, calls in sorted(totals.items())]


def _quota_status(runtime: Runtime, client_id: str, now: float) -> dict[str, Any] | None:
    """Return a client's plan and quota, and its used and remaining calls; ``None`` if the app has no plans.

    If the plan has no quota, return only ``plan``, and ``quota`` as ``None``.
    """
    plans = runtime.admission.plans
    if plans is None:
        return None
    plan = plans.find_plan(client_id, now)
    quota = plans.budgets[plan].quota
    if quota is None:
        return {"plan": plan, "quota": None}
    remaining = runtime.quotas.peek(client_id, quota, now).remaining
    return {"plan": plan, "quota": str(quota), "used": quota.max_calls - remaining, "remaining": remaining}
