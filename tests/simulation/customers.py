"""What others do at Stripe: customers pay or dispute, banks decide, and somebody works in the dashboard."""

from __future__ import annotations

import random
from collections.abc import Callable

from sandbox import disputes, intents, payments, refunds
from sandbox.objects import Object
from sandbox.work import Work
from tests.simulation.stripe_side import Stripe

CARDS = {
    "pm_card_visa": 14,
    "pm_card_visa_chargeDeclined": 3,
    "pm_card_authenticationRequired": 3,
    "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds": 1,
    "pm_sepaDebit_success": 3,
    "pm_sepaDebit_failed": 1,
    "pm_sepaDebit_processing": 1,
    "pm_card_pendingRefund": 2,
    "pm_card_refundFail": 3,
    "pm_card_createDispute": 1,
    "pm_card_createDisputeInquiry": 1,
}
# Declined each time, for the same reason.
INSISTS_WITH = "pm_card_visa_chargeDeclined"
PAYABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
CANCELABLE = (*PAYABLE, "processing", "requires_capture")
OPEN = disputes.OPEN


class Customers:
    """Each act picks an object that it fits at random, and returns whether it did something."""

    def __init__(self, chance: random.Random, stripe: Stripe, payable: list[str]) -> None:
        self._chance = chance
        self._stripe = stripe
        # Intents whose client secret a client was given; no other intent can be paid.
        self._payable = payable
        # In each schedule one payment method is common, so that several of its payments meet.
        self._favourite = chance.choice(list(CARDS))
        # Intents whose amount or currency somebody changed by hand.
        self.tampered: set[str] = set()

    def _intents(self, *statuses: str) -> list[Object]:
        return [each for each in self._stripe.objects("payment_intent") if each["status"] in statuses]

    async def _do(self, who: str, what: str, step: Callable[[Work], object]) -> bool:
        return await self._stripe.do(who, what, step)

    # --- customers

    async def pay(self) -> bool:
        waiting = [each for each in self._intents(*PAYABLE) if each["id"] in self._payable]
        if not waiting:
            return False
        intent = self._chance.choice(waiting)
        if intent["status"] == "requires_action" and self._chance.random() < 0.8:
            return await self._authenticate(intent)
        card = self._favourite
        if self._chance.random() < 0.6:
            (card,) = self._chance.choices(list(CARDS), list(CARDS.values()))
        params = {"payment_method": card, "use_stripe_sdk": True}
        what = f"pays {intent['id']} with {card}"
        return await self._do("customer", what, lambda work: intents.confirm(work, dict(params), intent["id"]))

    async def insist(self) -> bool:
        """Every customer who can still pay tries, with a card that is declined each time."""
        waiting = [each["id"] for each in self._intents("requires_payment_method") if each["id"] in self._payable]
        for id in waiting:
            await self._insist_on(id)
        return bool(waiting)

    async def _insist_on(self, id: str) -> None:
        params = {"payment_method": INSISTS_WITH, "use_stripe_sdk": True}
        await self._do("customer", f"insists on {id}", lambda work: intents.confirm(work, params, id))

    async def _authenticate(self, intent: Object) -> bool:
        passed = self._chance.random() < 0.7

        def step(work: Work) -> Object:
            return payments.authenticate(work, work.get("payment_intent", intent["id"]), passed=passed)

        return await self._do("customer", f"authenticates {intent['id']}: {passed}", step)

    async def dispute(self) -> bool:
        paid = self._intents("succeeded")
        if not paid:
            return False
        intent, inquiry = self._chance.choice(paid), self._chance.random() < 0.3
        amount = self._chance.choice((None, 100, 500))
        what = f"disputes {amount or 'all'} of {intent['id']}{' (an inquiry)' if inquiry else ''}"
        charge = intent["latest_charge"]
        return await self._do(
            "customer",
            what,
            lambda work: disputes.open_dispute(work, charge, "fraudulent", inquiry=inquiry, amount=amount),
        )

    # --- banks

    async def decide(self) -> bool:
        """A processing payment succeeds or fails, a dispute ends, a refund fails late, or one gets its balance."""
        acts = [self._decide_payment, self._close_dispute, self._fail_refund, self._pay_in]
        self._chance.shuffle(acts)
        for act in acts:
            if await act():
                return True
        return False

    async def _decide_payment(self) -> bool:
        waiting = self._intents("processing")
        if not waiting:
            return False
        intent, succeeded = self._chance.choice(waiting), self._chance.random() < 0.6

        def step(work: Work) -> Object:
            return payments.settle(work, work.get("payment_intent", intent["id"]), succeeded=succeeded)

        return await self._do("bank", f"settles {intent['id']}: {succeeded}", step)

    async def _close_dispute(self) -> bool:
        waiting = [each for each in self._stripe.objects("dispute") if each["status"] in OPEN]
        if not waiting:
            return False
        dispute, won = self._chance.choice(waiting), self._chance.random() < 0.5
        what = f"closes the dispute of {dispute['payment_intent']}: {'won' if won else 'lost'}"
        return await self._do("bank", what, lambda work: disputes.close(work, dispute["id"], won=won))

    async def _fail_refund(self) -> bool:
        made = [each for each in self._stripe.objects("refund") if each["status"] in ("succeeded", "pending")]
        if not made or self._chance.random() < 0.7:
            return False
        refund = self._chance.choice(made)
        what = f"fails the refund {refund['id']} of {refund['payment_intent']}"
        return await self._do("bank", what, lambda work: refunds.fail(work, refund["id"]))

    async def _pay_in(self) -> bool:
        """The balance is enough again for a refund that waits for it."""
        waiting = [
            each for each in self._stripe.objects("refund") if each.get("pending_reason") == "insufficient_funds"
        ]
        if not waiting:
            return False
        refund = self._chance.choice(waiting)
        what = f"pays in for the refund {refund['id']} of {refund['payment_intent']}"
        return await self._do("dashboard", what, lambda work: refunds.succeed(work, refund["id"]))

    # --- the dashboard

    async def by_hand(self) -> bool:
        acts = (self._refund, self._refund, self._cancel, self._change, self._hold_only, self._capture)
        return await self._chance.choice(acts)()

    async def _refund(self) -> bool:
        paid = self._intents("succeeded")
        if not paid:
            return False
        intent = self._chance.choice(paid)
        params: Object = {"payment_intent": intent["id"]}
        if self._chance.random() < 0.6:
            params["amount"] = self._chance.choice((100, 500, 1000, intent["amount_received"]))
        what = f"refunds {params.get('amount', 'all')} of {intent['id']}"
        return await self._do("dashboard", what, lambda work: refunds.create(work, dict(params)))

    async def _cancel(self) -> bool:
        waiting = self._intents(*CANCELABLE)
        if not waiting:
            return False
        id = self._chance.choice(waiting)["id"]
        return await self._do("dashboard", f"cancels {id}", lambda work: payments.cancel(work, {}, id))

    async def _change(self) -> bool:
        """Change the amount or the currency of an intent."""
        waiting = self._intents(*PAYABLE)
        if not waiting:
            return False
        intent = self._chance.choice(waiting)
        change: Object = {"amount": intent["amount"] + self._chance.choice((-100, 100, 5000))}
        if self._chance.random() < 0.3:
            change = {"currency": "usd"}
        self.tampered.add(intent["id"])
        what = f"changes {intent['id']}: {change}"
        return await self._do("dashboard", what, lambda work: intents.update(work, dict(change), intent["id"]))

    async def _hold_only(self) -> bool:
        """Set an intent to manual capture: its payment is only authorized until somebody captures it by hand."""
        waiting = self._intents("requires_payment_method")
        if not waiting:
            return False
        id = self._chance.choice(waiting)["id"]
        change = {"capture_method": "manual"}
        return await self._do(
            "dashboard", f"sets {id} to manual capture", lambda work: intents.update(work, dict(change), id)
        )

    async def _capture(self) -> bool:
        held = self._intents("requires_capture")
        if not held:
            return False
        intent = self._chance.choice(held)
        params: Object = {}
        if self._chance.random() < 0.5:
            params["amount_to_capture"] = max(intent["amount_capturable"] - 100, 1)
        what = f"captures {params.get('amount_to_capture', 'all')} of {intent['id']}"
        return await self._do("dashboard", what, lambda work: payments.capture(work, dict(params), intent["id"]))

    async def finish(self) -> bool:
        """Do what would else wait for a person for ever: capture authorized money, decide a processing payment, pay
        in for a refund that waits for balance."""
        return await self._capture() or await self._decide_payment() or await self._pay_in()
