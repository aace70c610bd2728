"""Subscriptions of clients to plans. A plan with ``approval="manual"`` must be approved by the operator."""

from __future__ import annotations

from valetkey.activity.audit import audit_statement
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, subscriptions
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.subscriptions import Subscription


class SubscriptionRefused(Exception):
    """The client cannot be subscribed to the requested plan; the message says why."""


def get_subscription(runtime: Runtime, client_id: str) -> Subscription:
    """Return a client's subscription, i.e. its plan and the plan that it has requested.

    It is a subscription to the default plan if the client never subscribed, or its plan is no longer in the settings.
    """
    stored = subscriptions.find(runtime.store, client_id)
    if stored is None:
        return Subscription(client_id, runtime.settings.default_plan, None, 0.0)
    plans = runtime.settings.plans
    plan = stored.plan if stored.plan in plans else runtime.settings.default_plan
    return Subscription(client_id, plan, stored.wanted if stored.wanted in plans else None, stored.since)


def subscribe(runtime: Runtime, client_id: str, plan: str, now: float, *, approved: bool = False) -> Subscription:
    """Subscribe a client to a plan, or record that it requests the plan if the plan needs manual approval.

    :param approved: whether the operator approves the plan with this call.
    :returns: the client's subscription after the call.
    :raises SubscriptionRefused: if the plan does not exist.
    """
    rules = runtime.settings.plans.get(plan)
    if rules is None:
        available = ", ".join(runtime.settings.plans) or "none: set plans={...}"
        raise SubscriptionRefused(f"there is no plan {plan} (available: {available})")
    before = get_subscription(runtime, client_id)
    if rules.approval == "manual" and not approved and before.plan != plan:
        pending = Subscription(client_id, before.plan, plan, before.since)
        event = audit_statement("plan.requested", now, client_id=client_id, detail=plan)
        runtime.store.write(Transaction(rows=(subscriptions.request(pending), event)))
        return pending
    granted = Subscription(client_id, plan, None, before.since if before.plan == plan and before.since else now)
    changed = change_feed.add("changed", client_id)
    event = audit_statement("plan.changed", now, client_id=client_id, detail=plan)
    runtime.store.write_all(subscriptions.upsert(granted), changed, event)
    return granted


def approve(runtime: Runtime, client_id: str, now: float) -> Subscription:
    """Subscribe a client to the plan that it requested.

    :returns: the new subscription.
    :raises SubscriptionRefused: if the client has not requested a plan, or requested another plan meanwhile.
    """
    pending = get_subscription(runtime, client_id)
    if pending.wanted is None:
        raise SubscriptionRefused(f"{client_id} has no pending request for a plan; its plan is {pending.plan}")
    changed = change_feed.add("changed", client_id)
    event = audit_statement("plan.changed", now, client_id=client_id, detail=pending.wanted)
    if not runtime.store.write(Transaction(subscriptions.approve(client_id, pending.wanted, now), (changed, event))):
        raise SubscriptionRefused(f"{client_id} requested another plan meanwhile; see `valetkey plans list`")
    return Subscription(client_id, pending.wanted, None, now)
