"""``valetkey plans``: list plans (rate limit, quota and scopes), set a client's plan, approve a requested plan."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from valetkey.authorization_server.plans import service
from valetkey.runtime import Runtime
from valetkey.service import is_app_named
from valetkey.storage import subscriptions
from valetkey.storage.subscriptions import Subscription

from .app_loading import NO_APP, with_runtime
from .clients_lookup import check_client_exists
from .printing import json_option, print_result


@click.group()
def plans() -> None:
    """Manage plans of apps: their rate limit, quota and scopes."""


@plans.command("list")
@json_option
@with_runtime
def list_plans(runtime: Runtime, as_json: bool) -> None:
    """List all plans, and the plan of each app that has chosen one."""
    all_plans, all_subscriptions = runtime.settings.plans, subscriptions.list_all(runtime.store)
    if as_json:
        default = runtime.settings.default_plan
        members = [{"name": name, "default": name == default, **asdict(plan)} for name, plan in all_plans.items()]
        click.echo(json.dumps({"plans": members, "subscriptions": [asdict(row) for row in all_subscriptions]}))
        return
    if not all_plans:
        definition = "Define them with Valetkey(app, plans={...}, default_plan=...)."
        click.echo(f"There are no plans. {definition if is_app_named() else NO_APP}")
    for name, plan in all_plans.items():
        words = [plan.limit or "no limit", plan.quota or "no quota", plan.scopes or "all scopes", plan.approval]
        mark = " (default)" if name == runtime.settings.default_plan else ""
        click.echo(f"{name + mark:<24} {', '.join(words)}")
    for subscription in all_subscriptions:
        pending = f", waits for {subscription.wanted}" if subscription.wanted else ""
        unknown = "" if subscription.plan in all_plans else " (unknown plan: the default applies)"
        click.echo(f"  {subscription.client_id:<22} {subscription.plan}{unknown}{pending}")


@plans.command("set")
@click.argument("client_id")
@click.argument("plan")
@json_option
@with_runtime
def set_plan(runtime: Runtime, client_id: str, plan: str, as_json: bool) -> None:
    """Set the plan of an app.

    It takes effect at once, also if the app did not request it or the plan needs approval.
    """
    check_client_exists(runtime, client_id)
    _print_subscription(service.subscribe(runtime, client_id, plan, runtime.clock(), approved=True), as_json)


@plans.command()
@click.argument("client_id")
@json_option
@with_runtime
def approve(runtime: Runtime, client_id: str, as_json: bool) -> None:
    """Approve the plan that an app requested."""
    check_client_exists(runtime, client_id)
    _print_subscription(service.approve(runtime, client_id, runtime.clock()), as_json)


def _print_subscription(subscription: Subscription, as_json: bool) -> None:
    members: dict[str, Any] = {"client_id": subscription.client_id, "plan": subscription.plan}
    if subscription.wanted:
        members["wanted"] = subscription.wanted
        if not as_json:
            members["approve it by"] = f"valetkey plans approve {subscription.client_id}"
    print_result(members, as_json)
