"""Values that the actors' rules and the contracts share. Frozen, standard library only; pydantic can read them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import ClassVar
from uuid import UUID

from common.contracts.statuses import BoxOfficeMethod, IntentStatus

# The most ticket types of one event, also when they are added one by one: they are read and locked together.
TICKET_TYPES_MAX = 100
# The most seats of one booking.
QUANTITY_MAX = 1000
# The most check-ins of one request: with their codes they fit into BODY_MAX_BYTES.
CHECK_INS_MAX = 100
# The most characters of an email address: https://www.rfc-editor.org/errata/eid1690
EMAIL_MAX = 254
# The most characters of what an intent is described with. Stripe takes 1,000, and these are no more, whether it
# counts characters or their bytes: https://docs.stripe.com/api/payment_intents/create
INTENT_DESCRIPTION_MAX = 250
# The most characters of a promo code, and the most codes of one request: the answer with them has some 200 KB.
PROMO_CODE_MAX = 64
PROMO_CODES_MAX = 500
# Characters of an event's description (some ten pages), and of its category.
DESCRIPTION_MAX = 20_000
CATEGORY_MAX = 64
# The most bytes of an event's image as it is kept: it travels in one message, which delays those behind it.
IMAGE_BYTES_MAX = 300_000


@dataclass(frozen=True, slots=True)
class Customer:
    """Whom a booking is for, as its client has said."""

    __pydantic_config__: ClassVar = {"use_attribute_docstrings": True}

    name: str
    """As people write it"""
    email: str
    """In ASCII: a domain with other letters is in its `xn--` form"""
    locale: str
    """The language to write in, by BCP 47"""
    phone: str | None = None
    """By E.164"""


@dataclass(frozen=True, slots=True)
class BoxOfficeSale:
    """How an operator sold seats, without Stripe."""

    __pydantic_config__: ClassVar = {"use_attribute_docstrings": True}

    method: BoxOfficeMethod
    """How they were paid"""
    note: str | None = None
    """What the operator has noted, such as a receipt's number"""


@dataclass(frozen=True, slots=True)
class Venue:
    """Where an event takes place."""

    __pydantic_config__: ClassVar = {"use_attribute_docstrings": True}

    name: str
    """What it is called"""
    address: str | None = None
    """Street and number"""
    postal_code: str | None = None
    """As it is written there"""
    city: str | None = None
    """The city or place"""
    country: str | None = None
    """By ISO 3166-1, in two capital letters"""


@dataclass(frozen=True, slots=True)
class EventImage:
    """The image of an event, a WebP."""

    __pydantic_config__: ClassVar = {"use_attribute_docstrings": True}

    url: str
    """Where to get it, as a path at the gateway. It changes with the image, which may be cached for ever"""
    hash: str
    """Of its bytes: another one is another image"""
    width: int
    """In pixels"""
    height: int
    """In pixels"""


@dataclass(frozen=True, slots=True)
class PaymentError:
    """Why a payment was declined, in Stripe's words: https://docs.stripe.com/declines/codes."""

    __pydantic_config__: ClassVar = {"use_attribute_docstrings": True}

    code: str
    """Stripe's code of the error; any text of Stripe's"""
    decline_code: str | None = None
    """The bank's reason; any text of Stripe's"""
    message: str | None = None
    """Stripe's text for the customer"""


@dataclass(frozen=True, slots=True)
class Dispute:
    """A dispute of a booking's charge, in Stripe's words: https://docs.stripe.com/api/disputes/object."""

    __pydantic_config__: ClassVar = {"use_attribute_docstrings": True}

    id: str
    """Stripe's id"""
    status: str
    """Open or lost ones make the booking's payment `disputed`"""
    amount: int | None = None
    """In the currency's minor unit"""
    currency: str | None = None
    """By ISO 4217, in lower case"""
    reason: str | None = None
    """The customer's reason, by Stripe's names"""
    opened_at: datetime | None = None
    """When it was opened, by Stripe's clock"""
    respond_by: datetime | None = None
    """Until when Stripe takes evidence"""


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund of a booking's charge: https://docs.stripe.com/api/refunds/object."""

    __pydantic_config__: ClassVar = {"use_attribute_docstrings": True}

    id: UUID
    """Ours"""
    amount: int
    """In the currency's minor unit"""
    status: str
    """`owed`: not taken up by the payment actor yet; `requested`: not made by Stripe yet; then as Stripe has it:
    `pending`, `succeeded` or `failed`. Of a booking that was sold at the box office always `succeeded`"""
    reason: str | None = None
    """Why it failed: Stripe's reason or error code, `amount_too_large` or `nothing_left`"""
    pending_reason: str | None = None
    """Why it is not made yet: Stripe's reason, or the code with which Stripe refuses it for now"""
    by: str | None = None
    """The subject that asked for it; null: nobody did, the system owes it, or it was made by hand at Stripe"""
    by_hand: bool = False
    """Somebody made it at Stripe, without Holdfast"""
    stripe_refund_id: str | None = None
    """Stripe's id; null until Stripe has made it"""
    created_at: datetime | None = None
    """When the payment actor took it up, or an operator noted it; null while it is owed"""
    updated_at: datetime | None = None
    """When it changed last"""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why Stripe refused to make an intent, in Stripe's words: https://docs.stripe.com/api/errors."""

    __pydantic_config__: ClassVar = {"use_attribute_docstrings": True}

    code: str
    """Stripe's code of the error; any text of Stripe's"""
    message: str | None = None
    """Stripe's text, for developers"""
    param: str | None = None
    """The parameter of the request that it is about"""
    request_id: str | None = None
    """Stripe's id of the request, by which its dashboard and its support find it"""


@dataclass(frozen=True, slots=True)
class PaymentState:
    """The whole payment, as it is reported: the newest `version` suffices, and an older one is ignored. Amounts are
    in the minor unit.

    `refund_waiting` and `refund_error` say why a refund under way is not made yet, and why the last refund failed,
    in Stripe's words or ours. `refund_failed_amount` is how much of the failed refunds can be retried, None from a
    sender that does not know it; `refund_failed_whole`: it is all that is left, whatever the amount. `disputes` are
    all of the charge's, None from a process that does not know of them; so are `refunds`, oldest first. `rejection`
    is why Stripe refused to make the intent: operators alone see it. `attempts` counts the failed attempts to
    pay; `last_attempt_at` is Stripe's time of the newest one, unless a later state was known before: when it is
    later than the one before, the customer has time to try again, counted from it.
    """

    version: int
    status: IntentStatus
    amount: int
    currency: str
    intent_id: str | None = None
    client_secret: str | None = None
    amount_captured: int = 0
    amount_refunded: int = 0
    refund_ids: tuple[UUID, ...] = ()
    refund_pending: bool = False
    refund_failed: bool = False
    refund_waiting: str | None = None
    refund_error: str | None = None
    refund_failed_amount: int | None = None
    refund_failed_whole: bool = False
    disputed: bool = False
    disputes: tuple[Dispute, ...] | None = None
    last_error: PaymentError | None = None
    attempts: int = 0
    last_attempt_at: datetime | None = None
    refunds: tuple[Refund, ...] | None = None
    rejection: Rejection | None = None

    @property
    def digest(self) -> str:
        """A hash of all that is reported but the version, which detects another report under the same version. Rows
        keep it and other releases compare it: what it is made of never changes. It omits what does not change how a
        payment stands: the client secret, the order of refunds and more about each, more about a rejection, and
        whether a process of an earlier release omits an empty value."""
        error = self.last_error
        if error is not None:
            words = f"code={error.code!r}, decline_code={error.decline_code!r}, message={error.message!r}"
        # fmt: off
        reported = (
            0, self.status, self.amount, self.currency, self.intent_id, None, self.amount_captured,
            self.amount_refunded, tuple(sorted(self.refund_ids)), self.refund_pending, self.refund_failed,
            self.refund_waiting, self.refund_error, self.refund_failed_amount or 0, self.refund_failed_whole,
            self.disputed, self.disputes or (), error and f"Decline({words})", self.attempts, self.last_attempt_at,
        )
        # fmt: on
        return blake2b(repr((*map(str, reported),)).encode(), digest_size=8).hexdigest()
