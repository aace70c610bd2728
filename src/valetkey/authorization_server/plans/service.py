"""Apps subscribe to plans; a plan that asks for it waits for the operator."""

from __future__ import annotations

from valetkey.activity.audit import audit
from valetkey.runtime import Runtime
from valetkey.storage import revocations, subscriptions
from valetkey.storage.engine.transaction import Write
from valetkey.storage.subscriptions import Subscription


class SubscriptionRefused(Exception):
    """The app cannot have this plan; the message is a sentence for whoever asked."""


def subscription_of(runtime: Runtime, client_id: str) -> Subscription:
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
    now, before = runtime.clock(), subscription_of(runtime, client_id)
    if rules.approval == "manual" and not approved and before.plan != plan:
        asked = Subscription(client_id, before.plan, plan, before.since)
        event = audit("plan.asked", now, client_id=client_id, detail=plan)
        runtime.write(Write(rows=(subscriptions.put(asked), event)))
        return asked
    given = Subscription(client_id, plan, None, before.since if before.plan == plan and before.since else now)
    changed = revocations.add("changed", client_id, now, runtime.revocation_ends)
    event = audit("plan.given", now, client_id=client_id, detail=plan)
    runtime.revoke(subscriptions.put(given), changed, event)
    return given


def approve(runtime: Runtime, client_id: str) -> Subscription:
    """Give an app the plan that it waits for.

    :raises SubscriptionRefused: where it waits for none.
    """
    now, waiting = runtime.clock(), subscription_of(runtime, client_id)
    if waiting.wanted is None:
        raise SubscriptionRefused(f"{client_id} waits for no plan; it has {waiting.plan}")
    changed = revocations.add("changed", client_id, now, runtime.revocation_ends)
    event = audit("plan.given", now, client_id=client_id, detail=waiting.wanted)
    if not runtime.write(Write(subscriptions.approve(client_id, waiting.wanted, now), (changed, event))):
        raise SubscriptionRefused(f"{client_id} asked for something else meanwhile: look at `valetkey plans list`")
    runtime.feed.expire()
    return Subscription(client_id, waiting.wanted, None, now)
