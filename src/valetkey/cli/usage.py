"""``valetkey usage``: who called what, how often, and what is left of quotas."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click

from valetkey.protocol.access_token import PERSONAL_TOKEN_CLIENT_ID
from valetkey.runtime import Runtime
from valetkey.storage import usage as stored

from .app_loading import json_option, with_runtime
from .plans import check_client_exists
from .printing import print_table

_DAY_S = 86400


@click.command()
@click.option("--client", "client_id", help="Of this app only, with its plan and quota.")
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True, help="Of so many days until now.")
@json_option
@with_runtime
def usage(runtime: Runtime, client_id: str | None, days: int, as_json: bool) -> None:
    """Show how often apps called each route, by status.

    Quotas are counted apart from this, and exactly.
    """
    now = runtime.clock()
    if client_id is not None and client_id != PERSONAL_TOKEN_CLIENT_ID:
        check_client_exists(runtime, client_id)
    found = _count_calls(runtime, client_id, now - days * _DAY_S, now)
    quota = _quota_status(runtime, client_id, now) if client_id else None
    columns = ("client_id", "route", "status", "calls")
    rows = [dict(zip(columns, row, strict=True)) for row in found]
    if as_json:
        told: dict[str, Any] = {"days": days, "usage": rows}
        click.echo(json.dumps(told | ({"client_id": client_id, **quota} if quota else {})))
        return
    print_table(rows, columns, as_json=False, empty_message=f"No calls in the last {days} days.")
    if quota is not None and quota["quota"]:
        click.echo(f"Plan {quota['plan']}: {quota['used']} of {quota['quota']} are used.")


def _count_calls(
    runtime: Runtime, client_id: str | None, since: float, until: float
) -> list[tuple[str, str, int, int]]:
    if client_id is None:
        return stored.list_totals(runtime.store, since, until)
    summed: Counter[tuple[str, str, int]] = Counter()
    for one in stored.list_between(runtime.store, since, until, client_id):
        summed[one.client_id, one.route, one.status] += one.calls
    return [(*key, calls) for key, calls in sorted(summed.items())]


def _quota_status(runtime: Runtime, client_id: str, now: float) -> dict[str, Any] | None:
    plans = runtime.admission.plans
    if plans is None:
        return None
    plan = plans.find_plan(client_id, now)
    quota = plans.budgets[plan].quota
    if quota is None:
        return {"plan": plan, "quota": None}
    left = runtime.quotas.peek(client_id, quota, now)
    return {"plan": plan, "quota": str(quota), "used": quota.max_calls - left.remaining, "remaining": left.remaining}
