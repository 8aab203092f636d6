"""The client of one gateway, for one customer or operator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import aiohttp

from holdfast_client.admin import Admin
from holdfast_client.errors import HoldfastError, unauthorized
from holdfast_client.keys import Keys
from holdfast_client.live import ConnectionState, Live
from holdfast_client.platform import MemoryStorage, Platform, Storage
from holdfast_client.rest import Listing, Request, Rest
from holdfast_client.tokens import Tokens, TokenSource
from holdfast_client.topics import Watch
from holdfast_client.types import (
    Booking,
    BookingTickets,
    Event,
    EventDetails,
    GetEventImageQuery,
    GetEventQuery,
    GuestToken,
    ListBookingsQuery,
    ListEventsQuery,
    NewBooking,
    NewCustomer,
    NewQuote,
    NewWaitingEntry,
    PageQuery,
    PaymentIntent,
    Quote,
    RecoveryCode,
    SigningKeys,
    Transition,
    WaitingEntry,
)


class Holdfast:
    """Use it in `async with`. All methods raise HoldfastError, and what the function for tokens raises.

    `url`: where the gateway is. `token`: of a customer who signs in, or of an operator; a function is called for
    the first token, and whenever another is needed; None: guests. `storage` keeps the guest's token and the keys of
    unfinished requests; None: memory. `on_connection` is called when live changes begin to come, and when they end.
    `session`: one of your own, which is left open.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | TokenSource | None = None,
        storage: Storage | None = None,
        on_connection: Callable[[ConnectionState], None] = lambda _: None,
        session: aiohttp.ClientSession | None = None,
        platform: Platform | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._storage = storage or MemoryStorage()
        self._on_connection = on_connection
        self._session, self._own_session = session, session is None
        self._platform = platform or Platform()
        self._becoming = asyncio.Lock()
        # What operators do.
        self.admin = Admin(self)

    async def __aenter__(self) -> Self:
        session = self._session = self._session or aiohttp.ClientSession()
        platform, storage = self._platform, self._storage
        self._rest = Rest(self._url, session, platform)
        self._tokens = Tokens(self._rest, storage, platform, f"holdfast {self._url} guest", self._token)
        self._keys = Keys(storage, platform, f"holdfast {self._url} key ")
        self._live = Live(self._url, session, platform, self._tokens, self._on_connection)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes the socket; loops that watch something end."""
        await self._live.end()
        await self._tokens.stop()
        if self._own_session and self._session is not None:
            await self._session.close()
            self._session = None

    # --- tokens

    async def guest(self, proof: str | None = None, *, create: bool = True) -> str | None:
        """Goes on as the guest whose token is kept, or becomes a new one; returns the guest's subject. With
        `create` false None where there is no guest yet. `unauthorized` where the token that is kept has ended: then
        `recover` or `open_link` leads back to the bookings, and `forget_guest` makes room for another guest."""
        async with self._becoming:
            over = self._tokens.over()
            if over is not None and await self._rest.repeat(lambda: self._tokens.other(over)) is None:
                raise unauthorized()
            subject = self._tokens.subject()
            if subject is None and create:
                body = None if proof is None else {"proof": proof}
                guest: GuestToken = await self.request(Request("POST /auth/guest", body=body, anyone=True))
                subject = self._tokens.keep(guest)["subject"]
            return subject

    async def token(self) -> str | None:
        """The token in use, renewed where needed; None: there is none."""
        return await self._tokens.get()

    async def forget_guest(self) -> None:
        """Forgets the guest: without a recovery code or a link there is no way back to the bookings."""
        await self._live.close()
        self._tokens.forget()

    async def recovery_code(self) -> RecoveryCode:
        """A code by which the guest comes back on another device; the one before is not good any more."""
        code: RecoveryCode = await self.request(Request("POST /auth/guest/recovery-code"))
        return code

    async def recover(self, code: str, *, key: str | None = None) -> str:
        """Comes back as the guest whose code it is; returns the subject."""
        request = Request("POST /auth/guest/recover", body={"code": code}, key=key, anyone=True)
        return await self._go_on_as(await self.keyed(request))

    async def open_link(self, reference: str, token: str) -> str:
        """Comes back as the guest of a booking, by the link in a mail about it (`/b/{reference}#link={token}`);
        returns the subject."""
        link = {"reference": reference, "token": token}
        return await self._go_on_as(await self.request(Request("POST /auth/guest/link", body=link, anyone=True)))

    async def _go_on_as(self, guest: GuestToken) -> str:
        await self._live.close()
        return self._tokens.keep(guest)["subject"]

    # --- events

    def events(self, query: ListEventsQuery | None = None) -> Listing[Event]:
        return self.list(Request("GET /events", query=query, anyone=True))

    async def event(self, id: str, query: GetEventQuery | None = None) -> EventDetails:
        """With a promo code in `query` also what that unlocks."""
        event: EventDetails = await self.request(Request("GET /events/{id}", {"id": id}, query, anyone=True))
        return event

    async def event_image(self, id: str, query: GetEventImageQuery | None = None) -> bytes:
        """The image of an event, a WebP."""
        request = Request("GET /events/{id}/image", {"id": id}, query, raw=True, anyone=True)
        image: bytes = await self.request(request)
        return image

    # --- bookings

    async def quote(self, seats: NewQuote) -> Quote:
        """What seats would cost, with a promo code or without. Nothing is held."""
        quote: Quote = await self.request(Request("POST /quotes", body=seats))
        return quote

    async def book(self, booking: NewBooking, *, key: str | None = None, wait_s: float | None = None) -> Booking:
        """Books seats; returns once there is a booking. It can be paid, or waits for that (`is_waiting`). `wait_s`:
        how many seconds the gateway waits until the booking can be paid."""
        made: Booking = await self.keyed(Request("POST /bookings", body=booking, key=key, wait_s=wait_s))
        return made

    def bookings(self, query: ListBookingsQuery | None = None) -> Listing[Booking]:
        return self.list(Request("GET /bookings", query=query))

    async def booking(self, id: str) -> Booking:
        booking: Booking = await self.request(Request("GET /bookings/{id}", {"id": id}))
        return booking

    def history(self, id: str) -> Listing[Transition]:
        return self.list(Request("GET /bookings/{id}/history", {"id": id}))

    async def cancel(self, id: str, *, key: str | None = None, if_match: int | str | None = None) -> Booking:
        booking: Booking = await self.keyed(
            Request("POST /bookings/{id}/cancel", {"id": id}, key=key, if_match=if_match)
        )
        return booking

    async def set_customer(
        self, id: str, customer: NewCustomer, *, key: str | None = None, if_match: int | str | None = None
    ) -> Booking:
        """Sets whom a booking is for, whatever became of it."""
        booking: Booking = await self.keyed(
            Request("PUT /bookings/{id}/customer", {"id": id}, body=customer, key=key, if_match=if_match)
        )
        return booking

    # --- waiting lists

    async def join_waiting_list(self, entry: NewWaitingEntry, *, key: str | None = None) -> WaitingEntry:
        """Waits for seats of a sold-out ticket type. An offer is a booking: `booking_id` of the entry."""
        made: WaitingEntry = await self.keyed(Request("POST /waiting-list", body=entry, key=key))
        return made

    def waiting_entries(self, query: PageQuery | None = None) -> Listing[WaitingEntry]:
        return self.list(Request("GET /waiting-list", query=query))

    async def waiting_entry(self, id: str) -> WaitingEntry:
        entry: WaitingEntry = await self.request(Request("GET /waiting-list/{id}", {"id": id}))
        return entry

    async def leave_waiting_list(self, id: str) -> WaitingEntry:
        """Waits no longer. An offer is declined by `cancel`."""
        entry: WaitingEntry = await self.request(Request("POST /waiting-list/{id}/leave", {"id": id}))
        return entry

    # --- payment

    async def payment_intent(self, booking_id: str) -> PaymentIntent:
        """What Stripe.js needs to let the customer pay."""
        intent: PaymentIntent = await self.request(
            Request("POST /payment/create-intent", body={"booking_id": booking_id})
        )
        return intent

    # --- tickets

    async def tickets(self, id: str, query: PageQuery | None = None) -> BookingTickets:
        """The tickets of a booking, with its event: all that a page to print them needs."""
        tickets: BookingTickets = await self.request(Request("GET /bookings/{id}/tickets", {"id": id}, query))
        return tickets

    async def ticket_svg(self, id: str, ticket_id: str) -> bytes:
        """A ticket's QR code as SVG."""
        return await self._file("GET /bookings/{id}/tickets/{ticket_id}.svg", {"id": id, "ticket_id": ticket_id})

    async def ticket_png(self, id: str, ticket_id: str) -> bytes:
        """A ticket's QR code as PNG."""
        return await self._file("GET /bookings/{id}/tickets/{ticket_id}.png", {"id": id, "ticket_id": ticket_id})

    async def calendar(self, id: str) -> bytes:
        """The booking's entry for a calendar, an iCalendar file."""
        return await self._file("GET /bookings/{id}/calendar.ics", {"id": id})

    async def ticket_keys(self) -> SigningKeys:
        """The public keys that check tickets' codes."""
        keys: SigningKeys = await self.request(Request("GET /tickets/keys", anyone=True))
        return keys

    async def _file(self, operation: str, path: dict[str, str]) -> bytes:
        file: bytes = await self.request(Request(operation, path, raw=True))
        return file

    # --- live changes

    def watch(self, booking: str | Booking) -> Watch[Booking]:
        """The booking's states. While it waits for its intent, `payment.queue_position` falls."""
        return self._live.watch("booking", booking if isinstance(booking, str) else booking["id"])

    def watch_event(self, event: str | Event) -> Watch[Event]:
        """The event's states, with its free seats; for operators with what OperatorsEvent has beside them."""
        return self._live.watch("event", event if isinstance(event, str) else event["id"])

    def watch_waiting_entry(self, entry: str | WaitingEntry) -> Watch[WaitingEntry]:
        """The states of an entry of this customer's in a waiting list: when it gets an offer, is left or closed.
        What becomes of an offer is told by its booking, and the position changes without a message: both are to be
        read."""
        return self._live.watch("waiting_entry", entry if isinstance(entry, str) else entry["id"])

    async def wait_until(self, booking: str | Booking, predicate: Callable[[Booking], bool]) -> Booking:
        """The booking, once `predicate` is true of it. It should also be true where the booking has ended
        otherwise."""
        if not isinstance(booking, str) and predicate(booking):
            return booking
        async with self.watch(booking) as changes:
            async for now in changes:
                if predicate(now):
                    return now
        raise HoldfastError("closed", "The client was closed")

    # --- any operation: also those that this client does not know

    async def request(self, request: Request) -> Any:
        """Sends a request, several times if need be, and returns the answer."""
        return await self._rest.repeat(lambda: self._attempt(request))

    async def _attempt(self, request: Request) -> Any:
        token = None if request.anyone else await self._tokens.get()
        try:
            return await self._rest.once(request, token)
        except HoldfastError as error:
            if token is None or error.status != 401 or (other := await self._tokens.other(token)) is None:
                raise
        return await self._rest.once(request, other)

    async def keyed(self, request: Request) -> Any:
        """`request` with an Idempotency-Key, which is kept until the outcome is known."""
        if request.key is not None:
            return await self.request(request)
        content = request.operation, request.path, request.body, request.if_match
        key = self._keys.take(*content)
        try:
            answer = await self.request(replace(request, key=key))
        except HoldfastError as error:
            if error.final:
                self._keys.forget(key, *content)
            raise
        self._keys.forget(key, *content)
        return answer

    def list(self, request: Request) -> Listing[Any]:
        return Listing(request, self.request)


def is_waiting(booking: Booking) -> bool:
    """Whether it is not decided yet what the customer can do: the booking waits for its intent."""
    return booking["status"] == "pending" and booking["payment"]["status"] == "creating"


def is_payable(booking: Booking) -> bool:
    """Whether its owner can pay the booking now."""
    return booking["status"] == "pending" and bool(booking["payment"].get("client_secret"))


def is_decided(booking: Booking) -> bool:
    """Whether the booking is confirmed, cancelled or failed."""
    return booking["status"] != "pending"
