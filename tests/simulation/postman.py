"""Webhooks: sent late, twice, in any order or never; retried; and some that Stripe never sent."""

from __future__ import annotations

from sandbox.webhooks import signature
from sandbox.work import Delivery
from tests.simulation.faults import Fault
from tests.simulation.fleet import Fleet
from tests.simulation.processes import PaymentProcess
from tests.simulation.stripe_side import WEBHOOK_SECRET
from tests.simulation.world import World

ATTEMPTS_MAX = 3
# Older than a signature may be by any clock: 300 s of tolerance, 299 s between the clocks, and some more.
STALE_S = 604


class Postman:
    def __init__(self, world: World, fleet: Fleet) -> None:
        self._world = world
        self._fleet = fleet

    @property
    def waiting(self) -> list[Delivery]:
        return self._world.stripe.webhooks.waiting

    def send(self) -> None:
        """Send one of the waiting webhooks: in order, out of order, twice or never, as the faults decide."""
        gates, waiting = self._world.gates, self.waiting
        index = 0
        if len(waiting) > 1 and gates.happens(Fault.WEBHOOK_OUT_OF_ORDER):
            index = self._world.chance.randrange(len(waiting))
        delivery = waiting.pop(index)
        if gates.happens(Fault.WEBHOOK_LOST):
            self._world.story.note(f"forgets the webhook {delivery.type}", "Stripe")
            return
        if gates.happens(Fault.WEBHOOK_DOUBLED):
            waiting.append(delivery)
        self._post(delivery)

    def send_next(self) -> None:
        """Send the first of the waiting webhooks."""
        self._post(self.waiting.pop(0))

    def _post(self, delivery: Delivery) -> None:
        world, receivers = self._world, self._fleet.alive(PaymentProcess)
        again = delivery._replace(attempts=delivery.attempts + 1)

        def answered(status: int) -> None:
            if status != 200 and again.attempts <= ATTEMPTS_MAX:
                self.waiting.append(again)

        if not receivers:
            answered(503)
            return
        process = world.chance.choice(receivers)
        payload = world.stripe.payload(delivery.event)
        header = signature(payload.encode(), WEBHOOK_SECRET, int(world.clock.time()))
        world.story.note(f"sends {delivery.type} {delivery.event} to {process.name}", "Stripe")
        process.receive(payload, header, answered)

    def forge(self) -> None:
        """Somebody without Stripe's secret claims that an intent was paid."""
        self._send_bad(Fault.WEBHOOK_FORGED)

    def repeat_late(self) -> None:
        """Somebody recorded a real webhook, and sends it again much later."""
        self._send_bad(Fault.WEBHOOK_STALE)

    def _send_bad(self, fault: Fault) -> None:
        world, receivers = self._world, self._fleet.alive(PaymentProcess)
        events = world.stripe.ledger.read("SELECT id FROM events ORDER BY seq").fetchall()
        if not receivers or not events:
            return
        world.coverage.strike(fault)
        payload = world.stripe.payload(world.chance.choice(events)[0])
        now = int(world.clock.time())
        header: str | None = signature(payload.encode(), WEBHOOK_SECRET, now - STALE_S)
        if fault is Fault.WEBHOOK_FORGED:
            payload = payload.replace('"requires_payment_method"', '"succeeded"').replace("evt_", "evt_forged")
            header = world.chance.choice((None, "", signature(payload.encode(), "whsec_guessed", now)))
        process = world.chance.choice(receivers)
        world.story.note(f"{fault.value} to {process.name}", "forger")

        def answered(status: int) -> None:
            if status != 400:
                world.story.violate("5 webhooks", f"{fault.value}, and was answered {status}")

        process.receive(payload, header, answered)
