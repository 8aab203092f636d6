"""Mails over a real mail server: what is written, once for each change, and what is done about each answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from redis.asyncio import Redis

from booking.mail_attachments import Tickets, calendar_entry
from booking.mail_sender import MailSender, announces_mail
from booking.mail_texts import Attachment, Letter, MailTexts
from booking.mails import GATHERED_LATER, GATHERED_OVER, MailPolicy
from booking.smtp import MailServer
from booking.ticket_codes import TicketCodes
from booking.tickets import Ticket
from booking.webhook_rows import Finished, WebhookRows
from booking.webhooks import Owed
from common.contracts.ids import ticket_id
from common.contracts.messages import (
    EraseCustomers,
    ListMails,
    OperatorRequest,
    RefundTickets,
    ResendMail,
    SetCustomer,
)
from common.contracts.resources import Booking
from common.contracts.statuses import CancelReason, IntentStatus, MailKind
from common.contracts.values import Customer, Venue
from common.contracts.webhooks import DisabledReason
from common.postgres.database import Database
from common.runtime.health import Gate
from common.runtime.urls import smtp_options
from tests.acceptance.polling import eventually
from tests.booking.mail_server import MailServerInTests, mail_server
from tests.booking.stage import SIGNING_KEY, Clock, Show, Stage, report
from tests.booking.test_box_office import refund, sale, sold
from tests.booking.test_waiting_list import end, join, offered, wish
from tests.booking.test_webhook_endpoints import changed, creating, done
from tests.qr_reader import read_png

ADA = Customer("Ada Lovelace", "ada@example.com", "en-GB")
SENDER, OPERATORS = "Tickets <tickets@shop.example>", "desk@shop.example"
CODES = TicketCodes([SIGNING_KEY])
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass
class Post:
    """A stage whose changes are mailed."""

    stage: Stage
    server: MailServerInTests
    database: Database

    def sender(self, texts: MailTexts | None = None, **policy: Any) -> MailSender:
        values: dict[str, Any] = {"operators": OPERATORS, "connections": 1, **policy}
        return MailSender(
            self.database,
            MailServer(smtp_options(f"smtp://127.0.0.1:{self.server.port}?starttls=no"), 5.0),
            texts or MailTexts(SENDER),
            MailPolicy(**values),
            self.stage.clock,
            self.stage.metrics,
        )

    async def run(self, sender: MailSender | None = None, after: timedelta = timedelta()) -> list[EmailMessage]:
        """The mails that have come when `after` this time what is due was announced and sent once."""
        self.stage.clock.ahead += after
        before = len(self.server.received)
        await self.stage.announcer.run_once()
        await (sender or self.sender()).run_once()
        return self.server.received[before:]

    async def confirmed(self, show: Show, customer: Customer | None = ADA, quantity: int = 1) -> Booking:
        order = show.order(quantity).model_copy(update={"customer": customer})
        (booking,) = await self.stage.book(order)
        await self.stage.apply(report(booking, IntentStatus.REQUIRES_PAYMENT_METHOD, 1))
        (changed,) = await self.stage.apply(report(booking, IntentStatus.SUCCEEDED, 2))
        return changed

    async def rows(self) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.stage.rows("SELECT * FROM mails ORDER BY made_at, id")]

    async def statuses(self) -> list[str]:
        return [row["status"] for row in await self.rows()]


async def refund_tickets(stage: Stage, booking: Booking, *ids: UUID) -> None:
    asked = OperatorRequest(subject="desk", operation="refund", content_hash="")
    (reply,) = await stage.call(
        RefundTickets(booking_id=booking.id, refund_id=uuid4(), ticket_ids=ids, request=asked)
    )
    assert reply.error is None, reply


async def fail_for_days(stage: Stage, endpoint_id: UUID) -> None:
    """The last attempt of a delivery fails, with which its endpoint has failed for too long."""
    now = stage.clock()
    async with stage.database.transaction() as connection:
        rows = WebhookRows(connection)
        await rows.owe([Owed(uuid4(), "booking.confirmed", uuid4(), 1, now)], now, now)
        claimed = {each.endpoint_id: each for each in await rows.claim({}, 1, now, now + DAY)}[endpoint_id]
        finished = Finished(claimed.id, 1, "failed", None, False, DisabledReason.FAILING, 500, None, None)
        assert await rows.finish([finished], now, mail=True) == [(endpoint_id, "failing")]


@pytest.fixture
async def post(stage: Stage, database: Database, redis: Redis) -> AsyncIterator[Post]:
    """`stage` has emptied the tables."""
    async with mail_server() as server:
        made = Stage.build(database, redis, clock=Clock(), announce=(announces_mail(OPERATORS),))
        yield Post(made, server, database)


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert isinstance(body, EmailMessage)
    return str(body.get_content())


def html_of(message: EmailMessage) -> str:
    body = message.get_body(("html",))
    assert isinstance(body, EmailMessage)
    return str(body.get_content())


# --- what is written --------------------------------------------------------------------------------------


async def test_a_confirmation_says_what_was_bought(post: Post) -> None:
    show = await post.stage.show(10, name="Nina's <Concert>", time_zone="Europe/London")
    booking = await post.confirmed(show, quantity=2)
    (mail,) = await post.run()

    assert mail["To"] == "Ada Lovelace <ada@example.com>"
    assert mail["From"] == SENDER
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Subject"].startswith("Your booking HF-")
    assert "Nina's <Concert>" in mail["Subject"]
    assert abs(mail["Date"].datetime - datetime.now(UTC)) < HOUR
    text = text_of(mail)
    for part in (
        "Hello Ada Lovelace",
        "Nina's <Concert>",
        "2 × Type 0, €50.00",
        "Wednesday, 1 January 2031",
        "20:00",
    ):
        assert part in text.replace("\u202f", " "), text
    assert "Nina&#39;s &lt;Concert&gt;" in html_of(mail)
    (row,) = await post.rows()
    assert (row["status"], row["recipient"], row["booking_id"]) == ("sent", ADA.email, booking.id)
    assert mail["Message-ID"] == f"<{row['id']}@shop.example>"


async def test_a_german_customer_gets_german_words_times_and_amounts(post: Post) -> None:
    show = await post.stage.show(10, unit_amount=123456, time_zone="Europe/Berlin")
    await post.confirmed(show, replace(ADA, locale="de-AT"))
    (mail,) = await post.run()
    assert mail["Content-Language"] == "de"
    text = text_of(mail)
    assert "Ihre Buchung ist bestätigt." in text
    assert "€ 1.234,56" in text.replace("\xa0", " "), text
    assert "Mittwoch, 1. Jänner 2031" in text, text


@pytest.mark.parametrize("locale", ["fr", "zz-ZZ", "x", "pt-BR"])
async def test_other_languages_get_english(post: Post, locale: str) -> None:
    await post.confirmed(await post.stage.show(10), replace(ADA, locale=locale))
    (mail,) = await post.run()
    assert mail["Content-Language"] == "en"


async def test_who_gave_no_address_gets_no_mail_until_they_do(post: Post) -> None:
    booking = await post.confirmed(await post.stage.show(10), None)
    assert await post.run() == []
    assert await post.rows() == []
    for customer, count in ((ADA, 1), (replace(ADA, phone="+491701234567"), 0), (replace(ADA, email="x@y.org"), 1)):
        await post.stage.give(SetCustomer(booking_id=booking.id, owner="alice", customer=customer))
        assert len(await post.run()) == count
    assert post.server.recipients == [ADA.email, "x@y.org"]


@pytest.mark.parametrize(("locale", "until"), [("en", "held for you until"), ("de", "freigehalten bis")])
async def test_who_waits_gets_a_mail_with_the_offer_while_it_is_open(post: Post, locale: str, until: str) -> None:
    """It says until when; the next one's offer has ended before its mail was sent."""
    show = await post.stage.show(1)
    (held,) = await post.stage.book(show.order(owner="holder"))
    first, second = (wish(show, name, customer=replace(ADA, locale=locale)) for name in ("ann", "ben"))
    await join(post.stage, first, second)
    await end(post.stage, held)
    await post.stage.reconcile_now()
    (mail,) = await post.run()
    assert until in text_of(mail)
    assert until in html_of(mail)
    await end(post.stage, await offered(post.stage, first))
    await post.stage.reconcile(timedelta(seconds=2))
    await end(post.stage, await offered(post.stage, second))
    assert await post.run() == []
    assert sorted((row["kind"], row["status"]) for row in await post.rows()) == [
        ("offer", "dropped"),
        ("offer", "sent"),
    ]


async def test_cancellation_and_refund_are_mailed(post: Post) -> None:
    booking = await post.confirmed(await post.stage.show(10), quantity=2)
    await post.run()
    await post.stage.cancel(booking, CancelReason.BY_OPERATOR)
    (cancelled,) = await post.run()
    assert cancelled["Subject"].startswith("Cancelled: Concert")
    assert "We give back €50.00" in text_of(cancelled)
    await post.stage.apply(report(booking, IntentStatus.SUCCEEDED, 3, refund_pending=True))
    assert await post.run() == []
    await post.stage.apply(report(booking, IntentStatus.SUCCEEDED, 4, amount_refunded=5000))
    (refunded,) = await post.run()
    assert refunded["Subject"].startswith("Refund of €50.00")


@pytest.mark.parametrize(
    ("locale", "owed", "given"),
    [
        ("en", "You get €50.00 back at the box office.", "we have given back €50.00."),
        ("de", "Sie erhalten 50,00 € an der Kasse zurück.", "wir haben Ihnen 50,00 € erstattet."),
    ],
)
async def test_what_was_sold_at_the_box_office_is_mailed_and_says_where_the_money_is(
    post: Post, locale: str, owed: str, given: str
) -> None:
    stage = post.stage
    message = sale(await stage.show(10), customer=replace(ADA, locale=locale))
    booking = await sold(stage, message)
    await stage.give(message)
    (confirmed,) = await post.run()
    assert confirmed["To"] == "Ada Lovelace <ada@example.com>"
    await stage.cancel(booking, CancelReason.BY_OPERATOR)
    (cancelled,) = await post.run()
    assert owed in text_of(cancelled).replace("\xa0", " ")
    await refund(stage, booking, None)
    (refunded,) = await post.run()
    assert given in text_of(refunded).replace("\xa0", " ")


async def test_a_hold_that_its_customer_lets_go_is_not_mailed(post: Post) -> None:
    order = (await post.stage.show(10)).order().model_copy(update={"customer": ADA})
    (booking,) = await post.stage.book(order)
    await post.stage.cancel(booking)
    await post.stage.apply(report(booking, IntentStatus.CANCELED, 1))
    assert await post.run() == []
    assert await post.rows() == []


async def test_what_is_no_longer_true_is_not_sent(post: Post) -> None:
    """Confirmed and cancelled before anything was sent: the confirmation is dropped."""
    booking = await post.confirmed(await post.stage.show(10))
    await post.stage.cancel(booking, CancelReason.BY_OPERATOR)
    (mail,) = await post.run()
    assert mail["Subject"].startswith("Cancelled")
    assert sorted(await post.statuses()) == ["dropped", "sent"]


async def test_operators_get_one_mail_for_what_needs_a_person_in_an_event(post: Post) -> None:
    show = await post.stage.show(10)
    bookings = [await post.confirmed(show, None) for _ in range(3)]
    for booking in bookings[:2]:
        await post.stage.apply(report(booking, IntentStatus.SUCCEEDED, 3, refund_failed=True))
    assert await post.run() == []
    await post.stage.apply(report(bookings[2], IntentStatus.SUCCEEDED, 3, disputed=True))
    mails = [*await post.run(), *await post.run(after=GATHERED_OVER + GATHERED_LATER), *await post.run(after=HOUR)]
    (mail,) = mails[-1:]
    assert mail["To"] == OPERATORS
    assert mail["Subject"] == "3 bookings of Concert need you"
    assert text_of(mail).count("HF-") == 3
    assert len(mails) <= 2, "two, where the ten minutes were over in between"


async def test_attachments_are_sent(post: Post) -> None:
    async def tickets(letter: Letter) -> list[Attachment]:
        return [Attachment("tickets.pdf", "application/pdf", letter.booking.id.bytes)]

    booking = await post.confirmed(await post.stage.show(10))
    (mail,) = await post.run(post.sender(MailTexts(SENDER, attach=(tickets,))))
    (attached,) = mail.iter_attachments()
    assert isinstance(attached, EmailMessage)
    assert (attached.get_filename(), attached.get_content()) == ("tickets.pdf", booking.id.bytes)


async def test_a_confirmation_carries_its_tickets_and_a_calendar_entry(post: Post) -> None:
    venue = Venue("Stadttheater", city="Weimar")
    show = await post.stage.show(10, name="Ballet", venue=venue)
    booking = await post.confirmed(show, quantity=2)
    (mail,) = await post.run(post.sender(MailTexts(SENDER, attach=(Tickets(CODES), calendar_entry))))

    images = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    codes = [CODES.read(read_png(part.get_content())) for part in images]
    (kind,) = show.types
    assert codes == [Ticket(show.id, booking.id, kind, number) for number in (1, 2)]
    html = html_of(mail)
    assert [f'src="cid:{part["Content-ID"].strip("<>")}"' in html for part in images] == [True, True]
    assert "each code lets one person in." in text_of(mail)
    assert "Stadttheater, Weimar" in text_of(mail)
    (entry,) = mail.iter_attachments()
    assert (entry.get_content_type(), entry.get_content_charset()) == ("text/calendar", "utf-8")
    lines = entry.get_content().replace("\n ", "").splitlines()
    expected = ["SUMMARY:Ballet", "LOCATION:Stadttheater\\, Weimar", "STATUS:CONFIRMED", f"UID:{booking.id}"]
    assert [line for line in expected if line not in lines] == []


async def test_a_confirmation_has_no_code_of_a_ticket_that_was_refunded(post: Post) -> None:
    show = await post.stage.show(10)
    booking = await post.confirmed(show, quantity=2)
    (kind,) = show.types
    await refund_tickets(post.stage, booking, ticket_id(booking.id, kind, 1))
    (mail,) = await post.run(post.sender(MailTexts(SENDER, attach=(Tickets(CODES),))))
    (image,) = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert CODES.read(read_png(image.get_content())) == Ticket(show.id, booking.id, kind, 2)


async def test_of_very_many_tickets_the_first_ones_are_attached(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("booking.mail_attachments.TICKETS_MAX", 1)
    await post.confirmed(await post.stage.show(10), replace(ADA, locale="de"), quantity=2)
    (mail,) = await post.run(post.sender(MailTexts(SENDER, attach=(Tickets(CODES),))))
    assert [part.get_filename() for part in mail.walk() if part.get_filename()] == ["ticket-1.png"]
    assert "Dies sind die ersten 1." in text_of(mail)


async def test_what_cannot_be_attached_is_left_out(post: Post) -> None:
    async def broken(letter: Letter) -> list[Attachment]:
        raise RuntimeError("as the test wants it")

    await post.confirmed(await post.stage.show(10))
    (mail,) = await post.run(post.sender(MailTexts(SENDER, attach=(broken, calendar_entry))))
    assert [each.get_filename() for each in mail.iter_attachments()] == ["booking.ics"]
    assert await post.statuses() == ["sent"]


async def test_a_refund_of_single_tickets_is_mailed_with_its_amount_and_what_stays(post: Post) -> None:
    show = await post.stage.show(10)
    booking = await post.confirmed(show, quantity=3)
    await post.run()
    await refund_tickets(post.stage, booking, ticket_id(booking.id, show.types[0], 2))
    assert await post.run() == [], "no money has gone back yet"
    await post.stage.apply(report(booking, IntentStatus.SUCCEEDED, 3, amount_refunded=2500))
    (mail,) = await post.run()
    assert mail["Subject"].startswith("Refund of €25.00")
    assert "These seats of your booking stay:\r\n- 2 × Type 0, €50.00" in text_of(mail)
    transitions = await post.stage.rows("SELECT amount_refunded FROM booking_transitions ORDER BY version")
    assert [row["amount_refunded"] for row in transitions][-2:] == [None, 2500]


async def test_a_refund_of_single_tickets_at_the_box_office_is_mailed_at_once(post: Post) -> None:
    stage = post.stage
    show = await stage.show(10)
    booking = await sold(stage, sale(show, 2, customer=ADA))
    await post.run()
    await refund_tickets(stage, booking, ticket_id(booking.id, show.types[0], 1))
    (mail,) = await post.run()
    assert mail["Subject"].startswith("Refund of €25.00")
    (newest,) = await stage.rows("SELECT amount_refunded FROM booking_transitions ORDER BY version DESC LIMIT 1")
    assert newest["amount_refunded"] == 2500


async def test_operators_get_a_mail_about_an_endpoint_that_fails_while_it_does(post: Post) -> None:
    """Of one that somebody has enabled again there is nothing to say."""
    for number in range(2):
        endpoint = await done(post.stage, creating(f"https://hooks.example/{number}"))
        await fail_for_days(post.stage, UUID(endpoint["id"]))
    await changed(post.stage, endpoint["id"], enabled=True)
    (mail,) = await post.run()
    assert mail["To"] == OPERATORS
    assert mail["Subject"] == "Webhooks are no longer sent to https://hooks.example/0"
    assert "https://hooks.example/0" in html_of(mail)
    assert sorted(await post.statuses()) == ["dropped", "sent"]


async def test_templates_can_be_replaced(post: Post, tmp_path: Any) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "confirmation.txt").write_text("Hooray {{ name }}\nCome to {{ event_name }}!")
    await post.confirmed(await post.stage.show(10))
    (mail,) = await post.run(post.sender(MailTexts(SENDER, tmp_path)))
    assert (mail["Subject"], text_of(mail).strip()) == ("Hooray Ada Lovelace", "Come to Concert!")


# --- what a customer or a name may not do -----------------------------------------------------------------


@pytest.mark.parametrize(
    "evil", ["x\r\nBcc: victim@example.com", "x\nSubject: won", "x\x00\x0b\u2028y", '"x" <a@b>']
)
async def test_a_name_adds_no_header(post: Post, evil: str) -> None:
    """The gateway refuses such names; an older row, or one by hand, may have them."""
    show = await post.stage.show(10)
    await post.stage.rows("UPDATE events SET name = $1", evil.replace("\x00", ""))
    await post.confirmed(show, replace(ADA, name=evil.replace("\x00", "")))
    (mail,) = await post.run()
    assert post.server.recipients == [ADA.email]
    assert mail["Bcc"] is None
    assert len(mail.get_all("Subject", [])) == 1
    assert [each.addr_spec for each in mail["To"].addresses] == [ADA.email]


@pytest.mark.parametrize(
    "address", ["ada@exämple.com", "ädä@example.com", "nobody", "a b@example.com", "a@b\r\nx: y"]
)
async def test_an_address_that_cannot_be_written_to_is_refused_clearly(post: Post, address: str) -> None:
    booking = await post.confirmed(await post.stage.show(10))
    await post.stage.rows(
        "UPDATE bookings SET customer = jsonb_set(customer, '{email}', to_jsonb($1::text))", address
    )
    assert await post.run() == []
    (row,) = await post.rows()
    assert (row["status"], row["booking_id"]) == ("refused", booking.id)
    assert row["error"]


async def test_nobody_is_flooded_by_bookings_made_in_their_name(post: Post) -> None:
    show = await post.stage.show(10, max_per_owner=10)
    for _ in range(5):
        await post.confirmed(show, replace(ADA, email="Ada@example.com"))
    sender = post.sender(per_recipient=3)
    assert len(await post.run(sender)) == 3
    await post.confirmed(show)
    assert await post.run(sender, after=HOUR) == []
    assert sorted(await post.statuses()) == ["owed"] * 3 + ["sent"] * 3
    assert len(await post.run(sender, after=DAY)) == 3
    assert await post.statuses() == ["sent"] * 6


# --- answers of the server --------------------------------------------------------------------------------


async def test_a_mail_whose_answer_was_lost_is_sent_again_with_the_same_id(post: Post) -> None:
    await post.confirmed(await post.stage.show(10))
    post.server.answers = ["lost"]
    (first,) = await post.run()
    assert await post.statuses() == ["owed"]
    (second,) = await post.run(after=HOUR)
    assert first["Message-ID"] == second["Message-ID"]
    assert first["Date"] == second["Date"]
    assert await post.statuses() == ["sent"]


@pytest.mark.parametrize("answer", ["rcpt 450 busy", "data 451 greylisted", "mail 550 not you", "rcpt 421 closing"])
async def test_a_mail_that_is_not_taken_now_is_tried_again_later(post: Post, answer: str) -> None:
    await post.confirmed(await post.stage.show(10))
    post.server.answers = [answer]
    assert await post.run() == []
    (row,) = await post.rows()
    assert (row["status"], row["attempts"]) == ("owed", 1)
    assert answer.split()[1] in row["error"]
    assert await post.run() == [], "not at once"
    assert len(await post.run(after=timedelta(minutes=2))) == 1
    (row,) = await post.rows()
    assert (row["status"], row["attempts"], row["error"]) == ("sent", 2, None)


@pytest.mark.parametrize("answer", ["rcpt 550 no such user", "data 554 spam"])
async def test_a_refusal_for_good_is_noted_and_harms_no_other_mail(post: Post, answer: str) -> None:
    show = await post.stage.show(10)
    for _ in range(2):
        await post.confirmed(show)
    post.server.answers = [answer]
    assert len(await post.run()) == 1
    rows = sorted(await post.rows(), key=lambda row: str(row["status"]))
    assert [row["status"] for row in rows] == ["refused", "sent"]
    assert answer.split()[1] in rows[0]["error"]


async def test_after_days_a_mail_is_given_up_loudly(post: Post) -> None:
    await post.confirmed(await post.stage.show(10))
    sender = post.sender()
    post.server.answers = ["rcpt 450 busy"] * 3
    await post.run(sender)
    assert await sender.problem() is None
    await post.run(sender, after=HOUR)
    assert "has been owed since" in str(await sender.problem())
    await post.run(sender, after=3 * DAY)
    assert await post.statuses() == ["given_up"]
    assert "1 mails were given up" in str(await sender.problem())
    assert await post.run(sender, after=DAY) == []


async def test_while_the_server_is_unavailable_no_attempt_is_counted(post: Post) -> None:
    await post.confirmed(await post.stage.show(10))
    port, post.server.port = post.server.port, 1
    sender = post.sender()
    assert await post.run(sender) == []
    (row,) = await post.rows()
    assert (row["status"], row["attempts"]) == ("owed", 0)
    assert "cannot be used" in str(await sender.problem())
    assert (await sender.next_due() or post.stage.clock()) > post.stage.clock()
    post.server.port = port
    assert len(await post.run(post.sender())) == 1


async def test_a_sender_goes_on_when_one_of_its_connections_to_postgres_was_lost(post: Post) -> None:
    show, claimed, go = await post.stage.show(10), asyncio.Event(), asyncio.Event()

    async def waits(_: Letter) -> list[Attachment]:
        claimed.set()
        await go.wait()
        return []

    for _ in range(2):
        await post.confirmed(show)
    await post.stage.announcer.run_once()
    sender = post.sender(MailTexts(SENDER, attach=(waits,)), connections=2)
    sending = asyncio.create_task(sender.run(Gate("mail")))
    await claimed.wait()
    async with post.database.transaction() as other:
        await other.execute("SELECT FROM mails FOR UPDATE")
        go.set()
        await post.stage.until_somebody_waits_for_a_lock()
        await other.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
    post.stage.clock.ahead += HOUR  # the claim has ended
    assert await eventually(post.statuses, lambda found: set(found) == {"sent"}) == ["sent", "sent"]
    sender.stop()
    await sending


async def test_two_senders_send_each_mail_once(post: Post) -> None:
    show = await post.stage.show(100, max_per_owner=50)
    for _ in range(12):
        await post.confirmed(show)
    await post.stage.announcer.run_once()
    await asyncio.gather(*(post.sender(connections=3).run_once() for _ in range(2)))
    ids = [mail["Message-ID"] for mail in post.server.received]
    assert len(ids) == len(set(ids)) == 12
    assert set(await post.statuses()) == {"sent"}


async def test_a_mistake_in_a_template_harms_no_other_mail(post: Post, tmp_path: Any) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "cancellation.txt").write_text("{{ missing }}")
    show = await post.stage.show(10)
    cancelled = await post.confirmed(show)
    await post.stage.cancel(cancelled, CancelReason.BY_OPERATOR)
    await post.confirmed(show)
    assert len(await post.run(post.sender(MailTexts(SENDER, tmp_path)))) == 1
    assert sorted(await post.statuses()) == ["dropped", "owed", "sent"]
    assert len(await post.run(after=HOUR)) == 1


# --- who asks to be forgotten -----------------------------------------------------------------------------


@pytest.mark.parametrize("who", [{"email": "ADA@example.com"}, {"subject": "alice"}])
async def test_an_erasure_erases_recipients_and_what_is_owed_is_dropped(post: Post, who: dict[str, str]) -> None:
    show = await post.stage.show(10)
    first = await post.confirmed(show)
    await post.run()
    await post.stage.give(
        SetCustomer(booking_id=first.id, owner="alice", customer=replace(ADA, email="new@example.com"))
    )
    await post.confirmed(show)
    await post.stage.announcer.run_once()
    request = OperatorRequest(subject="root", operation="POST", key=str(uuid4()), content_hash="")
    await post.stage.give(EraseCustomers(erasure_id=uuid4(), request=request, **who))
    await post.stage.reconcile(timedelta(seconds=1))
    await post.stage.reconcile(timedelta(seconds=20))
    for mail in await post.run():
        assert (who, mail["To"].addresses[0].addr_spec) == ({"email": "ADA@example.com"}, "new@example.com")
    found = {row["recipient"] for row in await post.rows()}
    assert found == ({"new@example.com", None} if "email" in who else {None})


async def test_old_mails_are_deleted(post: Post) -> None:
    await post.confirmed(await post.stage.show(10))
    sender = post.sender()
    await post.run(sender)
    await post.run(sender, after=400 * DAY)
    assert await post.rows() == []


# --- operators --------------------------------------------------------------------------------------------


def resending(booking: Booking, kind: MailKind = MailKind.CONFIRMATION, key: str | None = None) -> ResendMail:
    key = key or str(uuid4())
    request = OperatorRequest(subject="root", operation="POST", key=key, content_hash="")
    return ResendMail(booking_id=booking.id, mail_id=uuid5(booking.id, key), kind=kind, request=request)


async def test_an_operator_sends_a_mail_again_once_for_each_key(post: Post) -> None:
    booking = await post.confirmed(await post.stage.show(10))
    (first,) = await post.run()
    for _ in range(2):
        (reply,) = await post.stage.call(resending(booking, key="k"))
        assert reply.error is None
        assert (reply.result["status"], reply.result["by"]) == ("owed", "root")
    (second,) = await post.run(post.sender(per_recipient=1))
    assert second["Message-ID"] != first["Message-ID"]
    assert second["Subject"] == first["Subject"]

    (listed,) = await post.stage.call(ListMails(booking_id=booking.id, owner=None))
    assert [(each["kind"], each["status"], each["by"]) for each in listed.result["items"]] == [
        ("confirmation", "sent", None),
        ("confirmation", "sent", "root"),
    ]


async def test_a_mail_that_would_not_be_true_or_reach_nobody_is_not_sent_again(post: Post) -> None:
    show = await post.stage.show(10)
    confirmed, without = await post.confirmed(show), await post.confirmed(show, None)
    for message in (
        resending(confirmed, MailKind.CANCELLATION),
        resending(confirmed, MailKind.REFUND),
        resending(without),
    ):
        (reply,) = await post.stage.call(message)
        assert reply.error == "mail_not_possible"
    (reply,) = await post.stage.call(resending(confirmed.model_copy(update={"id": uuid4()})))
    assert reply.error == "not_found"


async def test_where_no_mail_is_sent_none_is_sent_again(stage: Stage) -> None:
    (reply,) = await stage.call(resending(await stage.confirmed(await stage.show(10))))
    assert reply.error == "mail_not_possible"


async def test_a_booking_without_mails_has_none_and_an_unknown_one_is_not_found(post: Post) -> None:
    booking = await post.confirmed(await post.stage.show(10), None)
    (listed,) = await post.stage.call(ListMails(booking_id=booking.id, owner=None))
    assert listed.result == {"items": [], "next": None}
    (reply,) = await post.stage.call(ListMails(booking_id=uuid4(), owner=None))
    assert reply.error == "not_found"
