"""What is fuzzed: a running stack with bookings of victims, who must not be harmed, and the callers who try."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from common.contracts.scopes import Scope
from common.contracts.values import QUANTITY_MAX
from tests.acceptance.client import Client, Json
from tests.acceptance.customers import CANCELLABLE
from tests.acceptance.holdfast import Holdfast

# The callers with a scope: one that allows to read, and one that allows everything.
READER, OPERATOR = "reader", "operator"
# The code by which bookings at any of the events are cheaper.
PROMO_CODE = "FUZZ-10"
VICTIMS = 6
PAYING = 3
# How many bookings the guest and the user have of their own.
OWN = 3
# More seats than any run books.
CAPACITY = 1_000_000


@dataclass
class Caller:
    """A client that sends bad input. `hidden`: texts that no answer to it may hold, unless it sent them itself."""

    name: str
    client: Client
    hidden: set[str] = field(default_factory=set)

    @property
    def operator(self) -> bool:
        """Whether it may see every booking, without its client secret."""
        return self.name in (READER, OPERATOR)

    @property
    def headers(self) -> dict[str, str]:
        token = self.client.token
        return {} if token is None else {"Authorization": f"Bearer {token}"}


def leaked(hidden: Iterable[str], answer: str, *sent: str) -> list[str]:
    """Which of `hidden` an answer shows, without those that its reader has sent."""
    return [text for text in hidden if text in answer and not any(text in one for one in sent)]


@dataclass
class Victim:
    """The owner of a booking. The subject is an e-mail address, as an identity provider may use."""

    subject: str
    client: Client
    booking: Json
    # Of who has paid.
    tickets: list[Json] = field(default_factory=list)

    @property
    def identifying(self) -> set[str]:
        codes = {each["code"] for each in self.tickets}
        return {self.subject, self.booking["id"], *codes, *_of_payment(self.booking)}

    @property
    def secret(self) -> str:
        secret: str = self.booking["payment"]["client_secret"]
        return secret


def _of_payment(booking: Json) -> set[str]:
    payment = booking["payment"]
    return {value for value in (payment["intent_id"], payment["client_secret"]) if value}


class Harness:
    """One stack: its events, its victims, its callers."""

    def __init__(self, holdfast: Holdfast) -> None:
        self.holdfast = holdfast
        self.events: list[Json] = []
        self.promo_codes: list[Json] = []
        self.victims: list[Victim] = []
        self.own: list[str] = []
        self.callers: dict[str, Caller] = {}

    async def prepare(self) -> None:
        self.events = [
            await self.holdfast.event((1000, CAPACITY), max_per_booking=QUANTITY_MAX),
            await self.holdfast.event((0, CAPACITY), (2500, CAPACITY), max_per_booking=QUANTITY_MAX, **CANCELLABLE),
        ]
        for event in self.events:
            operator, path = self.holdfast.client(operator=True), f"/admin/events/{event['id']}/codes"
            made = await operator.request("POST", path, json={"code": PROMO_CODE, "percent_off": 10})
            self.promo_codes += made.ok(201)["items"]
        for number in range(VICTIMS):
            subject = f"{secrets.token_hex(6)}@victims.example"
            client = self.holdfast.client(subject)
            booking = (await client.book(self.events[0], 1, prefer="wait=30")).ok(201)
            self.victims.append(Victim(subject, client, booking))
            if number < PAYING:
                async with client.live() as live:
                    await self.holdfast.stripe.pay(booking)
                    await live.until(booking["id"], "confirmed")
                found = await client.request("GET", f"/bookings/{booking['id']}/tickets")
                self.victims[-1].tickets = found.ok()["items"]
        await self._call()

    async def _call(self) -> None:
        ours = self.holdfast.stack.secrets
        keys = {ours.auth_jwt_secret, ours.stripe_secret_key, ours.webhook_secret}
        private = keys | set().union(*(victim.identifying for victim in self.victims))
        operators = keys | {victim.secret for victim in self.victims}
        good = self.holdfast.client("a-user")
        for name, client, hidden in (
            ("nobody", self.holdfast.anybody, private),
            ("bad token", self._with(_tampered(good.token)), private),
            ("guest", await self.holdfast.guest(), private),
            ("user", good, private),
            (READER, self.holdfast.client("a-reader", scopes=[Scope.READ]), operators),
            (OPERATOR, self.holdfast.client("an-operator", operator=True), operators),
        ):
            self.callers[name] = Caller(name, client, set(hidden))
        for name in ("guest", "user"):
            for _ in range(OWN):
                caller = self.callers[name]
                booking = (await caller.client.book(self.events[0], 1, prefer="wait=30")).ok(201)
                self.own.append(booking["id"])
                self.learn(caller, booking)

    def _with(self, token: str) -> Client:
        return Client(self.holdfast.session, self.holdfast.stack.gateway_url, token)

    def learn(self, caller: Caller, booking: Json) -> None:
        """`caller` has made a booking: from now on no other caller may see it, and operators not its secret."""
        for other in self.callers.values():
            if other is caller:
                continue
            if not other.operator:
                other.hidden |= {booking["id"], *_of_payment(booking)}
            elif secret := booking["payment"].get("client_secret"):
                other.hidden.add(secret)

    @property
    def bookings(self) -> list[str]:
        return [*(victim.booking["id"] for victim in self.victims), *self.own]

    @property
    def event_ids(self) -> list[str]:
        return [event["id"] for event in self.events]

    @property
    def tickets(self) -> list[Json]:
        return [ticket for victim in self.victims for ticket in victim.tickets]

    @property
    def types(self) -> list[str]:
        return [ticket_type["id"] for event in self.events for ticket_type in event["ticket_types"]]


def _tampered(token: str | None) -> str:
    """An operator's token, forged without the key: from the attacker's own token, with its old signature."""
    assert token is not None
    head, claims, signature = token.split(".")
    text = base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)).decode()
    forged = text.replace('"sub":', '"scope":"holdfast:operator","sub":', 1).encode()
    return ".".join((head, base64.urlsafe_b64encode(forged).decode().rstrip("="), signature))
