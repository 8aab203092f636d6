"""The links in mails: each lets in the guest of the booking that it was mailed about, while that is right."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from uuid import UUID, uuid4

import pytest

from booking.links import Link, Links
from common.contracts.codes import reference_of
from common.contracts.ids import new_guest
from common.contracts.messages import FindGuest, SetCustomer
from common.contracts.resources import Booking
from common.contracts.values import Customer
from tests.booking import samples
from tests.booking.stage import LINKS, Show, Stage
from tests.booking.test_erasures import asked, erasing
from tests.booking.test_revocations import revoke, revoking

ADA = Customer("Ada Lovelace", "Ada@example.com", "en")
GUEST, OTHER = new_guest(), new_guest()
REFUSED = "link_invalid"
OLD, NEW = "an-old-secret-of-the-links-of-32-bytes", "a-new-secret-of-the-links-of-32-bytes"


@pytest.fixture
async def show(stage: Stage) -> Show:
    return await stage.show(10)


async def booked(stage: Stage, show: Show, owner: str = GUEST, id: UUID | None = None) -> Booking:
    (booking,) = await stage.book(show.order(owner=owner, id=id).model_copy(update={"customer": ADA}))
    return booking


async def mailed(stage: Stage, booking: Booking, links: Links = LINKS, email: str = ADA.email) -> Link:
    """The link of a mail about the booking to this address."""
    async with stage.store.reading() as rows:
        link = links.make((await rows.bookings.load([booking.id]))[booking.id], email)
    assert link is not None
    return link


def finding(link: Link, reference: str | None = None) -> FindGuest:
    page, _, token = link.url.partition("#link=")
    return FindGuest(reference=reference or page[-12:], link_hash=sha256(token.encode()).hexdigest())


async def outcomes(stage: Stage, *messages: FindGuest) -> list[str]:
    """Who is let in, or the code of the error."""
    return [reply.error or reply.result["owner"] for reply in await stage.call(*messages)]


async def test_a_link_lets_its_guest_in_as_often_as_it_is_used(stage: Stage, show: Show) -> None:
    booking, other = await booked(stage, show), await booked(stage, show, OTHER)
    link, second = await mailed(stage, booking), await mailed(stage, other)
    page, _, token = link.url.partition("#link=")
    assert (page, len(token), link.opens) == (f"https://tickets.example/b/{reference_of(booking.id)}", 22, True)
    wrong = [finding(link, each) for each in (reference_of(other.id), "HF-0000-0000", "no reference")]
    assert await outcomes(stage, finding(link), *wrong, finding(second), finding(link)) == [
        *(GUEST, REFUSED, REFUSED, REFUSED, OTHER, GUEST),
    ]
    assert await outcomes(stage, finding(link, reference_of(booking.id).lower().replace("-", " "))) == [GUEST]


async def test_of_bookings_with_one_reference_the_token_says_which(stage: Stage, show: Show) -> None:
    first = uuid4()
    one, other = await booked(stage, show, id=first), await booked(stage, show, OTHER, UUID(int=first.int ^ 1))
    assert reference_of(one.id) == reference_of(other.id)
    found = [finding(await mailed(stage, each)) for each in (one, other)]
    assert await outcomes(stage, *found) == [GUEST, OTHER]


async def test_a_link_ends_some_days_after_the_event_has_begun(stage: Stage) -> None:
    show = await stage.show(10, starts_at=stage.clock() + timedelta(hours=1))
    link = await mailed(stage, await booked(stage, show))
    for ahead, outcome in ((LINKS.last, GUEST), (LINKS.last + timedelta(hours=2), REFUSED)):
        stage.clock.ahead = ahead
        assert await outcomes(stage, finding(link)) == [outcome]


async def test_a_link_is_good_for_the_present_address_alone(stage: Stage, show: Show) -> None:
    booking = await booked(stage, show)
    before, late = await mailed(stage, booking), await mailed(stage, booking, email="byron@example.com")
    for email, expected in (
        ("ada@EXAMPLE.com", [GUEST, REFUSED]),
        ("byron@example.com", [REFUSED, GUEST]),
        ("ada@example.com", [GUEST, REFUSED]),
    ):
        await stage.give(SetCustomer(booking_id=booking.id, owner=GUEST, customer=Customer("Ada", email, "en")))
        assert await outcomes(stage, finding(before), finding(late)) == expected


async def test_after_an_erasure_links_are_worth_nothing(stage: Stage, show: Show) -> None:
    link = await mailed(stage, await booked(stage, show))
    await asked(stage, erasing(email=ADA.email))
    await stage.reconciler.run_once()
    assert await outcomes(stage, finding(link)) == [REFUSED]


async def test_who_is_revoked_is_not_let_in_by_a_link(stage: Stage, show: Show) -> None:
    link, other = [await mailed(stage, await booked(stage, show, owner)) for owner in (GUEST, OTHER)]
    await revoke(stage, revoking("sub", GUEST))
    assert await outcomes(stage, finding(link), finding(other)) == [REFUSED, OTHER]


async def test_only_a_guest_is_let_in(stage: Stage, show: Show) -> None:
    """Who else issues tokens signs owners in by itself: their links lead to the page alone."""
    booking = await booked(stage, show, "alice")
    assert await mailed(stage, booking) == (f"https://tickets.example/b/{reference_of(booking.id)}", False)
    guests = await mailed(stage, await booked(stage, show, GUEST))
    await stage.rows("UPDATE bookings SET owner = 'alice' WHERE owner = $1", GUEST)
    assert await outcomes(stage, finding(guests)) == [REFUSED]


def test_secrets_rotate_and_without_one_nobody_is_let_in() -> None:
    row = samples.booking("pending", owner=GUEST)
    by_old, by_new = Links([OLD], "https://tickets.example"), Links([NEW, OLD], "https://tickets.example")
    sent = [finding(link).link_hash for each in (by_old, by_new) if (link := each.make(row, ADA.email))]
    for secrets, expected in (([OLD], [True, False]), ([NEW, OLD], [True, True]), ([], [False, False])):
        assert [Links(secrets).opens(row.id, ADA.email, each) for each in sent] == expected
    assert Links([OLD]).make(row, ADA.email) is None
    unsigned = Links(url="https://tickets.example").make(row, ADA.email)
    assert unsigned == (f"https://tickets.example/b/{reference_of(row.id)}", False)
