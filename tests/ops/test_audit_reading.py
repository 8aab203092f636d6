"""The audit over real databases and the sandbox: it reads everything, and checks again before it reports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from ops.audit import databases, ledger
from ops.audit.command import examine
from ops.audit.databases import SourceUnavailable
from ops.audit.runner import pauses
from tests.ops.audited_system import AuditedSystem, mismatched


async def test_matching_rows_are_clean(system: AuditedSystem) -> None:
    await system.add_event()
    for _ in range(3):
        await system.add_paid_booking()
    result = await system.audit()
    assert result.clean
    assert result.seen_once == []
    assert result.checked == {
        "ticket types": 1,
        "buyers": 0,
        "check-ins": 0,
        "events": 1,
        "bookings": 3,
        "payments": 3,
        "refunds": 0,
        "intents": 3,
        "refunds at Stripe": 0,
        "intents of others": 0,
    }


async def test_a_check_in_of_a_sold_seat_is_clean(system: AuditedSystem) -> None:
    await system.add_event()
    await system.add_check_in(await system.add_paid_booking())
    result = await system.audit()
    assert (result.clean, result.checked["check-ins"]) == (True, 1)


async def test_empty_databases_are_clean(system: AuditedSystem) -> None:
    assert (await system.audit()).clean


Damage = Callable[[AuditedSystem, UUID], Awaitable[object]]

MAIL = "INSERT INTO mails (id, booking_id, kind, status, version, made_at, ended_at, send_after)"
DAMAGES: dict[str, tuple[Damage, list[str]]] = {
    "counter": (lambda system, _: system.booking.execute("UPDATE ticket_types SET sold = sold - 1"), ["seats"]),
    "buyer": (
        lambda system, _: system.booking.execute(
            "INSERT INTO buyers (key, event_id, seats, holds, updated_at) "
            "SELECT event_id || ':owner:' || owner, event_id, 1, 1, now() FROM bookings LIMIT 1"
        ),
        ["buyers"],
    ),
    "check-in of no seat": (
        lambda system, id: system.add_check_in(id, number=2),
        ["check-ins"],
    ),
    "check-in before the money came": (
        lambda system, id: system.add_check_in(id, booking_version=1),
        ["check-ins"],
    ),
    "mail given up": (
        lambda system, id: system.booking.execute(
            f"{MAIL} VALUES (gen_random_uuid(), $1, 'refund', 'given_up', 1, now(), now(), NULL)", id
        ),
        ["mails"],
    ),
    "mail that nobody sends": (
        lambda system, id: system.booking.execute(
            f"{MAIL} VALUES (gen_random_uuid(), $1, 'refund', 'owed', 1, now(), NULL, now() - interval '5 min')",
            id,
        ),
        ["mails"],
    ),
    "change that nobody announces": (
        lambda system, id: system.change(
            "bookings", id, "announce_from = version, updated_at = now() - interval '5 minutes'"
        ),
        ["announcements"],
    ),
    "history": (
        lambda system, id: system.booking.execute("DELETE FROM booking_transitions WHERE version = 1"),
        ["history"],
    ),
    "event history": (
        lambda system, _: system.booking.execute(
            "WITH lost AS (UPDATE event_changes SET version = 6) UPDATE events SET version = 8"
        ),
        ["event history"],
    ),
    "items": (
        lambda system, id: system.change("bookings", id, "items = jsonb_set(items, '{0,unit_amount}', '1')"),
        ["items"],
    ),
    "summary": (lambda system, id: system.change("bookings", id, "intent_id = 'pi_other'"), ["summary"]),
    "payment's amount": (
        lambda system, id: system.change("payments", id, "amount_captured = amount_captured - 1"),
        ["summary", "intent"],
    ),
    "second intent": (lambda system, id: system.add_intent(id), ["intent", "one intent"]),
    "refund by hand, not reported": (lambda system, id: system.add_refund(id, 100), ["refund"]),
    "stuck report": (
        lambda system, id: system.change(
            "payments", id, "version = 3, report_after = now() - interval '5 minutes'"
        ),
        ["stuck"],
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
async def test_what_was_changed_in_one_source_is_found(system: AuditedSystem, name: str) -> None:
    damage, rules = DAMAGES[name]
    await system.add_event()
    await system.add_paid_booking()
    id = await system.add_paid_booking()
    await damage(system, id)
    result = await system.audit(wait_seconds=30)
    assert {rule for rule, _ in mismatched(result)} == set(rules)
    found = {of for _, of in mismatched(result)}
    other = {"seats": system.type_id, "event history": system.event_id}.get(rules[0], id)
    assert rules[0] in ("buyers", "check-ins") or str(other) in found
    assert not result.clean


async def test_refund_made_twice_is_found(system: AuditedSystem) -> None:
    await system.add_event()
    id, refund_id = await system.add_paid_booking(), uuid4()
    await system.add_refund(id, 100, refund_id)
    await system.add_refund(id, 100, refund_id)
    assert ("refund twice", str(id)) in mismatched(await system.audit())


async def test_an_intent_of_a_missing_booking_is_found_and_an_intent_of_others_is_not(
    system: AuditedSystem,
) -> None:
    nobody = uuid4()
    await system.add_intent(nobody)
    await system.add_intent(None)
    result = await system.audit()
    assert mismatched(result) == [("intent", str(nobody))]
    assert result.checked["intents of others"] == 1


async def test_payment_for_no_booking_is_found(system: AuditedSystem) -> None:
    await system.add_event()
    id = await system.add_paid_booking()
    await system.booking.execute("DELETE FROM bookings")
    await system.booking.execute("UPDATE ticket_types SET sold = 0")
    assert mismatched(await system.audit()) == [("summary", str(id))]


async def test_payment_whose_intent_is_not_at_stripe_is_found(system: AuditedSystem) -> None:
    await system.add_event()
    id = await system.add_paid_booking()
    await system.change("bookings", id, "intent_id = 'pi_gone'")
    await system.change("payments", id, "intent_id = 'pi_gone'")
    assert ("intent", str(id)) in mismatched(await system.audit(wait_seconds=30))


async def test_what_matches_at_the_second_check_was_work_under_way(system: AuditedSystem) -> None:
    await system.add_event()
    id = await system.add_paid_booking()
    await system.change("payments", id, "status = 'processing', amount_captured = 0")
    waited: list[float] = []

    async def heal(seconds: float) -> None:
        waited.append(seconds)
        await system.change("payments", id, "status = 'succeeded', amount_captured = 500")

    result = await system.audit(wait_seconds=30, wait=heal)
    assert result.clean
    assert (result.seen_once, result.checks, waited) == ([], 2, [2.0])
    assert (await system.audit(wait_seconds=30, wait=heal)).checks == 1


async def test_what_only_the_last_check_finds_is_reported_and_is_no_mismatch(system: AuditedSystem) -> None:
    await system.add_event()
    id = await system.add_paid_booking()
    await system.change("bookings", id, "intent_id = 'pi_other'")

    async def move(_: float) -> None:
        await system.change("bookings", id, f"intent_id = '{await system.intent_of(id)}'")
        await system.booking.execute("DELETE FROM booking_transitions WHERE version = 1")

    result = await system.audit(wait_seconds=2, wait=move)
    assert result.clean
    assert [finding.rule for finding in result.seen_once] == ["history"]


async def test_since_leaves_out_what_was_made_before(system: AuditedSystem) -> None:
    await system.add_event()
    old = await system.add_paid_booking(age=timedelta(days=2))
    new = await system.add_paid_booking()
    for id in (old, new):
        await system.change("bookings", id, "intent_id = 'pi_other'")
    recent = datetime.now(UTC) - timedelta(days=1)
    result = await system.audit(since=recent)
    assert mismatched(result) == [("summary", str(new))]
    assert result.checked["bookings"] == 1
    assert len(mismatched(await system.audit())) == 2


async def test_everything_is_read_however_many_pages_it_takes(
    system: AuditedSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "PAGE", 2)
    monkeypatch.setattr(ledger, "PAGE", 2)
    await system.add_event()
    ids = [await system.add_paid_booking() for _ in range(5)]
    strays = [uuid4() for _ in range(5)]
    for stray in strays:
        await system.add_intent(stray)
    await system.change("bookings", ids[0], "intent_id = 'pi_other'")
    for since in (None, datetime.now(UTC) - timedelta(hours=1)):
        result = await system.audit(since=since)
        assert result.checked["bookings"] == 5
        assert sorted(mismatched(result)) == sorted(
            [("summary", str(ids[0])), *(("intent", str(stray)) for stray in strays)]
        )


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"booking_url": "postgresql://nobody:no@127.0.0.1:1/booking"}, "database booking does not answer"),
        ({"payment_url": "postgresql://nobody:no@127.0.0.1:1/payment"}, "database payment does not answer"),
        ({"stripe_base": "http://127.0.0.1:1"}, "Stripe does not answer"),
        ({"stripe_key": "pk_test_wrong"}, "Stripe refuses the key"),
    ],
)
async def test_a_source_that_cannot_be_read_is_reported_in_one_line(
    system: AuditedSystem, sources: dict[str, str], message: str
) -> None:
    changed = replace(system.sources, **sources)
    with pytest.raises(SourceUnavailable, match=message) as raised:
        await examine(changed, wait_seconds=0)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("wait_seconds", [0.0, 1.0, 3.0, 30.0, 100.0])
def test_pauses_grow_and_make_up_the_time(wait_seconds: float) -> None:
    found = list(pauses(wait_seconds))
    assert sum(found) == wait_seconds
    assert found == sorted(found)
