"""Apps subscribe to plans; a plan that asks for it waits for the operator."""

from __future__ import annotations

from valetkey.activity.audit import audit_statement
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, subscriptions
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.subscriptions import Subscription


class SubscriptionRefused(Exception):
    """The app cannot have this plan; the message is a sentence for whoever asked."""


def get_subscription(runtime: Runtime, client_id: str) -> Subscription:
    """What the app has; the default plan, where it never subscribed or its plan is no more."""
    found = subscriptions.find(runtime.store, client_id)
    if found is None:
        return Subscription(client_id, runtime.settings.default_plan, None, 0.0)
    known = runtime.settings.plans
    plan = found.plan if found.plan in known else runtime.settings.default_plan
    return Subscription(client_id, plan, found.wanted if found.wanted in known else None, found.since)


def subscribe(runtime: Runtime, client_id: str, plan: str, *, approved: bool = False) -> Subscription:
    """Give an app a plan; one whose approval is manual waits, unless the operator says so at once.

    :raises SubscriptionRefused: where there is no such plan.
    """
    rules = runtime.settings.plans.get(plan)
    if rules is None:
        known = ", ".join(runtime.settings.plans) or "none: set plans={...}"
        raise SubscriptionRefused(f"there is no plan {plan} (there are: {known})")
    now, before = runtime.clock(), get_subscription(runtime, client_id)
    if rules.approval == "manual" and not approved and before.plan != plan:
        asked = Subscription(client_id, before.plan, plan, before.since)
        event = audit_statement("plan.asked", now, client_id=client_id, detail=plan)
        runtime.write(Transaction(rows=(subscriptions.upsert(asked), event)))
        return asked
    given = Subscription(client_id, plan, None, before.since if before.plan == plan and before.since else now)
    changed = change_feed.add("changed", client_id, now, runtime.revocation_expiry)
    event = audit_statement("plan.given", now, client_id=client_id, detail=plan)
    runtime.revoke(subscriptions.upsert(given), changed, event)
    return given


def approve(runtime: Runtime, client_id: str) -> Subscription:
    """Give an app the plan that it waits for.

    :raises SubscriptionRefused: where it waits for none.
    """
    now, waiting = runtime.clock(), get_subscription(runtime, client_id)
    if waiting.wanted is None:
        raise SubscriptionRefused(f"{client_id} waits for no plan; it has {waiting.plan}")
    changed = change_feed.add("changed", client_id, now, runtime.revocation_expiry)
    event = audit_statement("plan.given", now, client_id=client_id, detail=waiting.wanted)
    if not runtime.write(Transaction(subscriptions.approve(client_id, waiting.wanted, now), (changed, event))):
        raise SubscriptionRefused(f"{client_id} asked for something else meanwhile: look at `valetkey plans list`")
    runtime.feed.invalidate()
    return Subscription(client_id, waiting.wanted, None, now)
