"""The payment methods of an intent are requested in its first call, and the same each time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, get_args
from uuid import UUID

import pytest
from stripe.params import PaymentIntentCreateParams

from booking.state import SLOW_PAYMENTS_END, Event
from common.contracts.statuses import PaymentMethods
from payment.methods import INSTANT, offered
from tests.booking.samples import NOW
from tests.payment.stage import Stage, booking, wanted

SLOW = {"us_bank_account", "sepa_debit", "bacs_debit", "acss_debit", "au_becs_debit", "boleto", "konbini", "oxxo"}
EVENT = Event(UUID(int=2), "Concert", NOW, "eur", True, 6, {}, payment_methods=PaymentMethods.ALL)
MOMENT = timedelta(microseconds=1)


def test_instant_methods_have_the_sdks_names() -> None:
    """No method that takes days is among them."""
    (hint,) = get_args(PaymentIntentCreateParams.__annotations__["allowed_payment_method_types"])
    (element,) = get_args(hint)
    assert set(INSTANT) <= set(get_args(get_args(element)[0]))
    assert not SLOW & set(INSTANT)
    for methods in PaymentMethods:
        assert offered(methods).keys() <= PaymentIntentCreateParams.__annotations__.keys()
        assert len(offered(methods)) == 1


@pytest.mark.parametrize("until", [None, NOW - timedelta(days=2), NOW])
def test_slow_methods_are_offered_until_their_time(until: Any) -> None:
    """Null stands for three weeks before the start; an event without slow methods never offers them."""
    end = until or NOW - SLOW_PAYMENTS_END
    event = EVENT._replace(slow_payments_until=until)
    assert event.methods_offered(end - MOMENT) is PaymentMethods.ALL
    assert event.methods_offered(end) is PaymentMethods.INSTANT
    instant = event._replace(payment_methods=PaymentMethods.INSTANT)
    assert instant.methods_offered(end - MOMENT) is PaymentMethods.INSTANT


@pytest.mark.parametrize(
    ("methods", "kinds"), [(PaymentMethods.INSTANT, ["card"]), (PaymentMethods.ALL, ["card", "sepa_debit"])]
)
async def test_an_intent_is_asked_for_with_the_same_methods_each_time(
    stage: Stage, methods: PaymentMethods, kinds: list[str]
) -> None:
    """The first row decides: the request is repeated under its key, with the methods of that row."""
    of = booking()
    other = next(each for each in PaymentMethods if each is not methods)
    async with stage.store.statement() as rows:
        await rows.insert([wanted(of, stage.clock())._replace(payment_methods=methods)])
    (report,) = await stage.do(of.create.model_copy(update={"payment_methods": other}))
    intent = await stage.call("GET", f"/v1/payment_intents/{report.payment.intent_id}")
    assert intent["payment_method_types"] == kinds
    assert (await stage.row(of))["payment_methods"] == methods
