"""``valetkey plans``: which app has which plan."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from valetkey.authorization_server.plans import service as subscribing
from valetkey.authorization_server.plans.service import SubscriptionRefused
from valetkey.runtime import Runtime
from valetkey.storage import clients, subscriptions
from valetkey.storage.subscriptions import Subscription

from .app_loading import json_option, print_result, with_runtime


@click.group()
def plans() -> None:
    """What apps may call: their plans, and who waits for one."""


@plans.command("list")
@json_option
@with_runtime
def list_plans(runtime: Runtime, as_json: bool) -> None:
    """Show all plans, and the apps that chose one."""
    known, subscribed = runtime.settings.plans, subscriptions.list_all(runtime.store)
    if as_json:
        default = runtime.settings.default_plan
        told = [{"name": name, "default": name == default, **asdict(plan)} for name, plan in known.items()]
        click.echo(json.dumps({"plans": told, "subscriptions": [asdict(one) for one in subscribed]}))
        return
    if not known:
        click.echo("There are no plans: Valetkey(app, plans={...}, default_plan=...) makes some.")
    for name, plan in known.items():
        words = [plan.limit or "no limit", plan.quota or "no quota", plan.scopes or "all scopes", plan.approval]
        mark = " (default)" if name == runtime.settings.default_plan else ""
        click.echo(f"{name + mark:<24} {', '.join(words)}")
    for one in subscribed:
        waits = f", waits for {one.wanted}" if one.wanted else ""
        gone = "" if one.plan in known else " (there is no such plan: the default counts)"
        click.echo(f"  {one.client_id:<22} {one.plan}{gone}{waits}")


@plans.command("set")
@click.argument("client_id")
@click.argument("plan")
@click.option("--approved", is_flag=True, help="At once, also where the plan waits for approval.")
@json_option
@with_runtime
def set_plan(runtime: Runtime, client_id: str, plan: str, approved: bool, as_json: bool) -> None:
    """Give an app a plan.

    One with manual approval waits until it is approved.
    """
    check_client_exists(runtime, client_id)
    try:
        _print_subscription(subscribing.subscribe(runtime, client_id, plan, approved=approved), as_json)
    except SubscriptionRefused as refused:
        raise click.ClickException(str(refused)) from refused


@plans.command()
@click.argument("client_id")
@json_option
@with_runtime
def approve(runtime: Runtime, client_id: str, as_json: bool) -> None:
    """Give an app the plan that it waits for."""
    check_client_exists(runtime, client_id)
    try:
        _print_subscription(subscribing.approve(runtime, client_id), as_json)
    except SubscriptionRefused as refused:
        raise click.ClickException(str(refused)) from refused


def check_client_exists(runtime: Runtime, client_id: str) -> None:
    """:raises click.ClickException: where there is no such app, of either kind."""
    if clients.find(
        runtime.store, client_id, runtime.clock()
    ) is None and not runtime.client_metadata_documents.is_document_url(client_id):
        raise click.ClickException(f"there is no client {client_id}")


def _print_subscription(subscription: Subscription, as_json: bool) -> None:
    told: dict[str, Any] = {"client_id": subscription.client_id, "plan": subscription.plan}
    if subscription.wanted:
        told["wanted"] = subscription.wanted
        if not as_json:
            told["approve it by"] = f"valetkey plans approve {subscription.client_id}"
    print_result(told, as_json)
