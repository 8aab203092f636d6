"""The audit over real databases and the sandbox: it reads everything, and checks again before it judges."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from ops.audit import databases, ledger
from ops.audit.command import examine
from ops.audit.databases import CannotLook
from ops.audit.look import pauses
from tests.ops.books import Books, told


async def test_right_books_are_clean(books: Books) -> None:
    await books.event()
    for _ in range(3):
        await books.paid()
    outcome = await books.audit()
    assert outcome.clean
    assert outcome.once == []
    assert outcome.looked_at == {
        "ticket types": 1,
        "bookings": 3,
        "payments": 3,
        "refunds": 0,
        "intents": 3,
        "refunds at Stripe": 0,
        "intents of others": 0,
    }


async def test_empty_books_are_clean(books: Books) -> None:
    assert (await books.audit()).clean


Spoil = Callable[[Books, UUID], Awaitable[object]]

SPOILED: dict[str, tuple[Spoil, list[str]]] = {
    "counter": (lambda books, _: books.booking.execute("UPDATE ticket_types SET sold = sold - 1"), ["seats"]),
    "history": (
        lambda books, id: books.booking.execute("DELETE FROM booking_transitions WHERE version = 1"),
        ["history"],
    ),
    "items": (
        lambda books, id: books.change("bookings", id, "items = jsonb_set(items, '{0,unit_amount}', '1')"),
        ["items"],
    ),
    "summary": (lambda books, id: books.change("bookings", id, "intent_id = 'pi_other'"), ["summary"]),
    "payment's amount": (
        lambda books, id: books.change("payments", id, "amount_captured = amount_captured - 1"),
        ["summary", "intent"],
    ),
    "second intent": (lambda books, id: books.intent(id), ["intent", "one intent"]),
    "refund by hand, unheard of": (lambda books, id: books.refund(id, 100), ["refund"]),
    "stuck report": (
        lambda books, id: books.change("payments", id, "version = 3, report_after = now() - interval '5 minutes'"),
        ["stuck"],
    ),
}


@pytest.mark.parametrize("name", SPOILED)
async def test_what_was_spoiled_is_found(books: Books, name: str) -> None:
    spoil, rules = SPOILED[name]
    await books.event()
    await books.paid()
    id = await books.paid()
    await spoil(books, id)
    outcome = await books.audit(settle_s=30)
    assert {rule for rule, _ in told(outcome)} == set(rules)
    assert str(books.type_id if rules == ["seats"] else id) in {of for _, of in told(outcome)}
    assert not outcome.clean


async def test_refund_made_twice_is_found(books: Books) -> None:
    await books.event()
    id, refund_id = await books.paid(), uuid4()
    await books.refund(id, 100, refund_id)
    await books.refund(id, 100, refund_id)
    assert ("refund twice", str(id)) in told(await books.audit())


async def test_what_stripe_has_for_no_booking_is_found_and_what_is_of_others_is_not(books: Books) -> None:
    nobody = uuid4()
    await books.intent(nobody)
    await books.intent(None)
    outcome = await books.audit()
    assert told(outcome) == [("intent", str(nobody))]
    assert outcome.looked_at["intents of others"] == 1


async def test_payment_for_no_booking_is_found(books: Books) -> None:
    await books.event()
    id = await books.paid()
    await books.booking.execute("DELETE FROM bookings")
    await books.booking.execute("UPDATE ticket_types SET sold = 0")
    assert told(await books.audit()) == [("summary", str(id))]


async def test_payment_whose_intent_is_not_at_stripe_is_found(books: Books) -> None:
    await books.event()
    id = await books.paid()
    await books.change("bookings", id, "intent_id = 'pi_gone'")
    await books.change("payments", id, "intent_id = 'pi_gone'")
    assert ("intent", str(id)) in told(await books.audit(settle_s=30))


async def test_what_heals_between_two_looks_was_work_under_way(books: Books) -> None:
    await books.event()
    id = await books.paid()
    await books.change("payments", id, "status = 'processing', amount_captured = 0")
    waited: list[float] = []

    async def heal(seconds: float) -> None:
        waited.append(seconds)
        await books.change("payments", id, "status = 'succeeded', amount_captured = 500")

    outcome = await books.audit(settle_s=30, wait=heal)
    assert outcome.clean
    assert (outcome.once, outcome.looks, waited) == ([], 2, [2.0])
    assert (await books.audit(settle_s=30, wait=heal)).looks == 1


async def test_what_looks_wrong_in_another_way_at_the_last_look_is_told_and_is_no_mismatch(books: Books) -> None:
    await books.event()
    id = await books.paid()
    await books.change("bookings", id, "intent_id = 'pi_other'")

    async def move(_: float) -> None:
        await books.change("bookings", id, f"intent_id = '{await books.intent_of(id)}'")
        await books.booking.execute("DELETE FROM booking_transitions WHERE version = 1")

    outcome = await books.audit(settle_s=2, wait=move)
    assert outcome.clean
    assert [finding.rule for finding in outcome.once] == ["history"]


async def test_since_leaves_out_what_was_made_before(books: Books) -> None:
    await books.event()
    old = await books.paid(age=timedelta(days=2))
    new = await books.paid()
    for id in (old, new):
        await books.change("bookings", id, "intent_id = 'pi_other'")
    recent = datetime.now(UTC) - timedelta(days=1)
    outcome = await books.audit(since=recent)
    assert told(outcome) == [("summary", str(new))]
    assert outcome.looked_at["bookings"] == 1
    assert len(told(await books.audit())) == 2


async def test_everything_is_read_however_many_pages_it_takes(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "PAGE", 2)
    monkeypatch.setattr(ledger, "PAGE", 2)
    await books.event()
    ids = [await books.paid() for _ in range(5)]
    strays = [uuid4() for _ in range(5)]
    for stray in strays:
        await books.intent(stray)
    await books.change("bookings", ids[0], "intent_id = 'pi_other'")
    for since in (None, datetime.now(UTC) - timedelta(hours=1)):
        outcome = await books.audit(since=since)
        assert outcome.looked_at["bookings"] == 5
        assert sorted(told(outcome)) == sorted(
            [("summary", str(ids[0])), *(("intent", str(stray)) for stray in strays)]
        )


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ({"booking_url": "postgresql://nobody:no@127.0.0.1:1/booking"}, "database booking does not answer"),
        ({"payment_url": "postgresql://nobody:no@127.0.0.1:1/payment"}, "database payment does not answer"),
        ({"stripe_base": "http://127.0.0.1:1"}, "Stripe does not answer"),
        ({"stripe_key": "pk_test_wrong"}, "Stripe refuses the key"),
    ],
)
async def test_who_cannot_look_says_so_in_one_line(books: Books, where: dict[str, str], told: str) -> None:
    places = replace(books.places, **where)
    with pytest.raises(CannotLook, match=told) as raised:
        await examine(places, settle_s=0)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("settle_s", [0.0, 1.0, 3.0, 30.0, 100.0])
def test_pauses_grow_and_make_up_the_time(settle_s: float) -> None:
    found = list(pauses(settle_s))
    assert sum(found) == settle_s
    assert found == sorted(found)
