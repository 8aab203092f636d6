"""The SQL of bookings, their transitions, and the seats that they take: one statement for a whole batch."""

# Statements are put together from the column names below and never from data.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from pydantic import TypeAdapter

from booking import buyer_rows, promo_code_rows
from booking.buyers import BuyerBound, counts_as
from booking.promo_codes import CodeBound
from booking.state import Booking, Bound, Cause, Item, Seat, SeatMove
from common.contracts.codes import ids_of
from common.contracts.history import Transition
from common.contracts.messages import ListBookings
from common.contracts.statuses import BookingStatus, PaymentMethods, PaymentStatus
from common.contracts.values import BoxOfficeSale, Customer, Dispute, PaymentError, Refund, Rejection
from common.postgres.sql import as_json, assignments, columns, recordset, revision

# Columns that have an older name than their field; and by column, its field.
OLDER = {"retry_at": "settle_after", "retry_count": "settle_attempts"}
BOOKING_COLUMNS = columns(Booking, "revision", older=OLDER)
FIELDS = dict(zip(BOOKING_COLUMNS, columns(Booking, "revision"), strict=True))
# The columns that are written for a new booking; the others get their defaults.
NEW = (
    "id", "owner", "event_id", "items", "amount", "currency", "status", "reason", "payment", "expires_at",
    "settle_after", "created_at", "updated_at", "payment_methods", "address", "counted", "deferred", "customer",
    "customer_digest", "description", "amount_captured", "box_office", "announce_from",
)  # fmt: skip
CAUSE_COLUMNS = {"cause_type": "varchar", "cause_id": "varchar", "by": "varchar"}
# Those of a booking that was made with a promo code.
CODE = ("code_id", "code")
NEW_BY_CODE = {False: NEW, True: (*NEW, *CODE)}
CREATED_COLUMNS = {
    by_code: {name: BOOKING_COLUMNS[name] for name in new} | CAUSE_COLUMNS for by_code, new in NEW_BY_CODE.items()
}
FIXED = (
    "id", "owner", "event_id", "items", "amount", "currency", "created_at", "payment_methods", "address",
    "description", "box_office", *CODE,
)  # fmt: skip
SAVE_COLUMNS = {column: kind for column, kind in BOOKING_COLUMNS.items() if column not in FIXED}
# The columns that a sale writes, from the intent to the payment. All others change seldom, and cost as much.
SALE = (
    "status", "payment", "intent_id", "client_secret", "payment_version", "payment_digest", "amount_captured",
    "version", "expires_at", "hold_until", "settle_after", "settle_attempts", "counted", "announce_from",
    "updated_at",
)  # fmt: skip
SALE_COLUMNS = {column: SAVE_COLUMNS[column] for column in SALE}
KNOWN_COLUMNS = {"id": "uuid", "revision": "text"}
SEAT_COLUMNS, BOUND_COLUMNS = columns(SeatMove), columns(Bound)
REVISION = f"{revision('bookings')} AS revision"
BOOKING = ", ".join((*(f"{column} AS {field}" for column, field in FIELDS.items()), REVISION))
# No batch has this many rows: the condition is always true, and makes Postgres expect few rows, as `sought` does.
LARGEST = 2**31 - 1
# Of a parameter's rows, those of the bookings in `written`; for new ones, of which all were written, or none.
SOME_WRITTEN = "JOIN written ON written.id = booking_id"
ALL_WRITTEN = "WHERE EXISTS (SELECT FROM written)"


def _moved(number: int, written: str) -> str:
    """Parts of a statement: they move the seats of the bookings that are `written`, and lock ticket types in id
    order."""
    return f"""moves AS (
    SELECT ticket_type_id AS id, sum(held) AS held, sum(sold) AS sold
    FROM {recordset("m", SEAT_COLUMNS, number)} {written} GROUP BY ticket_type_id
    HAVING count(*) BETWEEN 1 AND {LARGEST} -- all of them: as with `sought`
), locked AS (
    SELECT t.id, moves.held, moves.sold FROM ticket_types t JOIN moves ON moves.id = t.id
    ORDER BY t.id FOR NO KEY UPDATE OF t
), moved AS (
    UPDATE ticket_types t SET held = t.held + locked.held, sold = t.sold + locked.sold, version = t.version + 1
    FROM locked WHERE t.id = locked.id
)"""


# New bookings, their transitions, their seats and what their buyers have: all of them, or none if one of them
# exists already, or if a bound that they were decided by no longer holds.
#
# A bound limits a counter in a row. `bounds` locks these rows and compares them; as many must fit as were passed
# ($1). Another counter (of an owner, a code) is one more such part and one more condition in `written`. The new
# part must read the part before it, so that its rows are locked after those.
#
# With its limit the search for one booking is no join, for which Postgres would read the whole table where that was
# nearly empty when it planned.
_SAME_ID = "SELECT FROM bookings b WHERE b.id = new.id LIMIT 1"


def _insert(*, by_code: bool) -> str:
    """`by_code`: some of the bookings are made with promo codes, whose uses are parameter 6."""
    columns, chosen, condition, parts, before_buyers = ", ".join(NEW_BY_CODE[by_code]), "", "", "", ALL_WRITTEN
    values = columns
    if by_code:
        columns, values = f"{columns}, code_counted", f"{values}, {promo_code_rows.counts_as('code_id', 'status')}"
        chosen = f"{promo_code_rows.checked(6, 'bounds')}, "
        condition = "AND NOT EXISTS (SELECT FROM codes_checked WHERE NOT fits)"
        parts = f"{promo_code_rows.added(6, ALL_WRITTEN)}, "
        before_buyers = f"{ALL_WRITTEN} AND (SELECT count(*) FROM code_owners_counted) >= 0"
    return f"""
WITH new AS (SELECT * FROM {recordset("new", CREATED_COLUMNS[by_code], 2)}), bounds AS (
    SELECT t.terms_token = b.terms_token AND t.capacity - t.held - t.sold >= b.needed
        AND (t.capacity - t.held - t.sold < b.below) IS NOT FALSE AS fits
    FROM ticket_types t JOIN {recordset("b", BOUND_COLUMNS, 3, sought="ticket_type_id")} ON b.ticket_type_id = t.id
    ORDER BY t.id FOR NO KEY UPDATE OF t
), {chosen}{buyer_rows.checked(5)}, written AS (
    INSERT INTO bookings ({columns}) SELECT {values} FROM new
    WHERE (SELECT count(*) FILTER (WHERE fits) FROM bounds) = $1::int
        AND NOT EXISTS (SELECT FROM buyers_checked WHERE NOT fits) {condition}
        AND NOT EXISTS (SELECT FROM new CROSS JOIN LATERAL ({_SAME_ID}) existing)
    ORDER BY id RETURNING id, {REVISION}
), recorded AS (
    INSERT INTO booking_transitions
        (booking_id, version, to_status, reason, payment_status, cause_type, cause_id, by, at)
    SELECT id, 1, status, reason, payment, cause_type, cause_id, by, created_at FROM new {ALL_WRITTEN}
), {_moved(4, ALL_WRITTEN)}, {parts}{buyer_rows.added(5, before_buyers)}
SELECT id, revision FROM written
"""


INSERT = {by_code: _insert(by_code=by_code) for by_code in (False, True)}
# The constraints that refuse new bookings where another statement writes them, or others of a buyer, at once.
AT_ONCE = {
    "bookings_pkey": "a booking exists",
    **dict.fromkeys(buyer_rows.LIMITS, "a buyer exceeds its limit"),
    **dict.fromkeys(promo_code_rows.LIMITS, "a promo code, or its owner, exceeds its limit"),
}
_RECORDED = """recorded AS (
    INSERT INTO booking_transitions
        (booking_id, version, from_status, to_status, reason, payment_status, cause_type, cause_id, by, at,
        amount_refunded)
    SELECT id, version, status_before, status, reason, payment, cause_type, cause_id, by, updated_at,
        nullif(amount_refunded, 0) FROM written
    WHERE version > version_before
)"""


def _saved(saved: Mapping[str, str], *parts: str, by_code: bool = False) -> str:
    """Saves the changed bookings that nobody has written since they were read, their transitions (where the version
    grew), and what `parts` make of them. The bookings' rows are locked in the order of their ids first. `by_code`:
    some of them were made with promo codes, which count them."""
    changed = {**KNOWN_COLUMNS, **saved, **CAUSE_COLUMNS}
    before, counted, after = "", "", ""
    if by_code:
        before, after = (
            ", b.code_id, b.code_counted AS code_counted_before",
            ", b.code_id, b.code_counted, code_counted_before",
        )
        counted = f", code_counted = {promo_code_rows.counts_as('b.code_id', 'new.status')}"
    return f"""
WITH unchanged AS (
    SELECT new.*, b.status AS status_before, b.version AS version_before, b.counted AS counted_before,
        b.cancelled_seats AS cancelled_seats_before{before}
    FROM {recordset("new", changed, 1, sought="id")}
    JOIN bookings b ON new.id = b.id AND new.revision = {revision("b")}
    ORDER BY b.id FOR NO KEY UPDATE OF b
), written AS (
    UPDATE bookings b SET {assignments(saved, "new")}{counted} FROM unchanged new WHERE b.id = new.id
    RETURNING b.id, b.version, b.status, b.reason, b.payment, b.updated_at, {revision("b")} AS revision,
        b.event_id, b.owner, b.items, b.address, b.attempts, b.counted, b.amount_refunded, counted_before,
        b.cancelled_seats, cancelled_seats_before,
        status_before, version_before, cause_type, cause_id, by{after}
), {", ".join((_RECORDED, *parts))}
SELECT id, revision FROM written
"""


def _seats_moved(*, by_code: bool) -> tuple[str, ...]:
    moved = _moved(2, SOME_WRITTEN)
    if not by_code:
        return moved, buyer_rows.recounted("$3::int", "locked")
    return moved, promo_code_rows.recounted("locked"), buyer_rows.recounted("$3::int", "code_owners_counted")


def _save(*, sale: bool, moved: bool, by_code: bool) -> str:
    columns = SALE_COLUMNS if sale else SAVE_COLUMNS
    if moved:
        return _saved(columns, *_seats_moved(by_code=by_code), by_code=by_code)
    return _saved({column: kind for column, kind in columns.items() if column != "counted"})


# By whether all changes are of columns that a sale writes, by whether they move seats, and by whether some of the
# bookings were made with promo codes. Those that move no seats, as when a booking becomes payable, leave alone what
# buyers and codes have, too.
SAVE = {
    (sale, moved, by_code): _save(sale=sale, moved=moved, by_code=by_code)
    for sale in (False, True)
    for moved in (False, True)
    for by_code in (False, True)
}
# Changes that give sold seats back: scanners must hear of it that these tickets let nobody in any more.
SAVE_GIVEN_BACK = {
    by_code: _saved(
        SAVE_COLUMNS,
        *_seats_moved(by_code=by_code),
        f"""told AS (
    INSERT INTO door_changes (event_id, booking_id) SELECT event_id, id FROM written
    WHERE id IN (SELECT booking_id FROM {recordset("m", SEAT_COLUMNS, 2)} WHERE sold < 0) ORDER BY id
)""",
        by_code=by_code,
    )
    for by_code in (False, True)
}
LOAD = f"SELECT {BOOKING} FROM bookings WHERE id = ANY($1::uuid[])"
LOCK = f"{LOAD} ORDER BY id FOR NO KEY UPDATE"
HISTORY = "SELECT * FROM booking_transitions WHERE booking_id = $1 ORDER BY version"
LOCK_SEATS = "SELECT id FROM ticket_types WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"
FREE_SEATS = """
SELECT t.id, CASE WHEN e.called_off_at IS NULL AND (e.sell_after_start OR e.starts_at > $2)
    THEN t.capacity - t.held - t.sold ELSE 0 END AS free
FROM ticket_types t JOIN events e ON e.id = t.event_id WHERE t.id = ANY($1::uuid[])
"""
# The fields of ListBookings by which a list can be filtered.
FILTERS = {name: f"{name} = {{}}" for name in ("owner", "status", "event_id", "payment")} | {
    "created_from": "created_at >= {}",
    "created_before": "created_at < {}",
}
# Those that few bookings match, each of which has an index. Of the ids of a reference the first ones are read, as
# Postgres expects one row in two hundred in a range, and would read another index. Of a name each word is the
# beginning of one: Postgres cuts both names into words in the same way, and `'word'` becomes `'word':*`.
SEARCHED = {
    "reference": "id = ANY(ARRAY(SELECT id FROM bookings WHERE id >= {} ORDER BY id LIMIT 100)) AND id <= {}",
    "intent_id": "intent_id = {}",
    "email": "lower(customer ->> 'email') = lower({})",
    "name": "to_tsvector('simple', customer ->> 'name') @@ "
    r"regexp_replace(plainto_tsquery('simple', {})::text, '''( |$)', ''':*\1', 'g')::tsquery",
}
# No id is between these.
NO_IDS = UUID(int=1), UUID(int=0)
TAKE_DUE = f"""
SELECT {BOOKING} FROM bookings WHERE settle_after <= $1 ORDER BY settle_after LIMIT $2
FOR NO KEY UPDATE SKIP LOCKED
"""
DISPUTES, REFUNDS = TypeAdapter(tuple[Dispute, ...]), TypeAdapter(tuple[Refund, ...])
REJECTION, CUSTOMER = TypeAdapter(Rejection), TypeAdapter(Customer)
BOX_OFFICE = TypeAdapter(BoxOfficeSale)
# A position in the order of bookings (created_at and id) or of events (starts_at and id).
Position = tuple[datetime, UUID]
# A booking before, None if it is new; and after a change, with what caused it.
Change = tuple[Booking | None, Booking, Cause]


def booking_of(row: Any) -> Booking:
    values = dict(row)
    values["items"] = tuple(
        Item(UUID(item["ticket_type_id"]), item["quantity"], item["unit_amount"], item.get("unit_discount", 0))
        for item in orjson.loads(values["items"])
    )
    values["status"] = BookingStatus(values["status"])
    values["payment_methods"] = PaymentMethods(values["payment_methods"])
    values["payment"] = PaymentStatus(values["payment"])
    if (error := values["last_error"]) is not None:
        values["last_error"] = PaymentError(**orjson.loads(error))
    disputes, refunds = values["disputes"], values["refunds"]
    values["disputes"] = () if disputes is None else DISPUTES.validate_json(disputes)
    values["refunds"] = () if refunds is None else REFUNDS.validate_json(refunds)
    cancelled = () if (text := values["cancelled_seats"]) is None else orjson.loads(text)
    values["cancelled_seats"] = tuple([Seat(UUID(each["ticket_type_id"]), each["number"]) for each in cancelled])
    if (rejection := values["rejection"]) is not None:
        values["rejection"] = REJECTION.validate_json(rejection)
    if (customer := values["customer"]) is not None:
        values["customer"] = CUSTOMER.validate_json(customer)
    if (sale := values["box_office"]) is not None:
        values["box_office"] = BOX_OFFICE.validate_json(sale)
    return Booking(**values)


_new = {by_code: attrgetter(*(FIELDS[column] for column in new)) for by_code, new in NEW_BY_CODE.items()}
# The values of a changed booking by its columns; and those that a sale does not write.
_sale, _all = (
    attrgetter(*(FIELDS.get(column, column) for column in KNOWN_COLUMNS | saved))
    for saved in (SALE_COLUMNS, SAVE_COLUMNS)
)
_beside_sale = attrgetter(*(FIELDS[column] for column in SAVE_COLUMNS if column not in SALE))


def _changed(booking: Booking, cause: Cause, *, sale: bool) -> dict[str, Any]:
    """The values by column, without those that are NULL, as no refunds are."""
    columns, values = (SALE_COLUMNS, _sale(booking)) if sale else (SAVE_COLUMNS, _all(booking))
    named = zip((*KNOWN_COLUMNS, *columns, *CAUSE_COLUMNS), (*values, *cause), strict=True)
    row = {name: value for name, value in named if value is not None and value != ()}
    if (counted := counts_as(booking)) is not None:
        row["counted"] = counted
    return row


class Interfered(RuntimeError):
    """Rows are not as they were read: the transaction is rolled back, and its messages are handled again."""


def expect(written: int, count: int) -> None:
    """Raises Interfered unless `written` is `count`."""
    if written != count:
        raise Interfered(f"{written} of {count} rows")


def page_query(wanted: ListBookings) -> tuple[str, list[Any]]:
    """The query for a page of bookings and one more, and the values of its parameters."""
    values: list[Any] = []

    def put(text: str, *given: Any) -> str:
        """`text` with the parameters of these values in it."""
        first = len(values) + 1
        values.extend(given)
        return text.format(*(f"${number}" for number in range(first, len(values) + 1)))

    searched = []
    for name, condition in SEARCHED.items():
        if (value := getattr(wanted, name)) is not None:
            searched.append(put(condition, *((ids_of(value) or NO_IDS) if name == "reference" else (value,))))
    conditions = [
        put(condition, value) for name, condition in FILTERS.items() if (value := getattr(wanted, name)) is not None
    ]
    if wanted.before is not None:
        conditions.append(put("(created_at, id) < ({}, {})", *wanted.before))
    where = " AND ".join(conditions) or "true"
    query = f"SELECT {BOOKING} FROM bookings WHERE {where} ORDER BY created_at DESC, id DESC"
    if searched:
        # MATERIALIZED: else Postgres might look for these few among all, in the order of time.
        found = f"SELECT *, xmin FROM bookings WHERE {' AND '.join(searched)}"
        query = f"WITH bookings AS MATERIALIZED ({found}) {query}"
    return f"{query} LIMIT {wanted.limit + 1:d}", values


class BookingRows:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def load(self, ids: Sequence[UUID]) -> dict[UUID, Booking]:
        return {row["id"]: booking_of(row) for row in await self._connection.fetch(LOAD, ids)}

    async def lock(self, ids: Sequence[UUID]) -> dict[UUID, Booking]:
        """These bookings, their rows locked until the transaction ends."""
        return {row["id"]: booking_of(row) for row in await self._connection.fetch(LOCK, ids)}

    async def take_due(self, now: datetime, limit: int) -> dict[UUID, Booking]:
        """Bookings whose retry time has come, their rows locked, without those that another process has locked."""
        return {row["id"]: booking_of(row) for row in await self._connection.fetch(TAKE_DUE, now, limit)}

    async def page(self, wanted: ListBookings) -> list[Booking]:
        """A page of bookings, newest first, and one booking more if others follow."""
        query, values = page_query(wanted)
        return [booking_of(row) for row in await self._connection.fetch(query, *values)]

    async def history(self, id: UUID) -> list[Transition]:
        """The booking's changes, oldest first."""
        return [Transition(**row) for row in await self._connection.fetch(HISTORY, id)]

    async def save(
        self,
        changes: Sequence[Change],
        moves: Sequence[SeatMove],
        bounds: Sequence[Bound],
        buyers: Sequence[BuyerBound],
        pause: timedelta,
        codes: Sequence[CodeBound] = (),
    ) -> dict[UUID, str]:
        """Write the changes of bookings, the seats that they move, and what their buyers and promo codes have;
        returns the ids of those written, with their new revisions. All new bookings are left out if one of them
        exists already or a bound does not hold; another booking is left out if it was written since it was read.
        `pause` is for owners whose holds were left to expire. Raises Interfered if another statement has made one
        of the new bookings, or has counted for a buyer or a code, at the same time."""
        rows: list[asyncpg.Record] = []
        by_code = any(after.code_id is not None for _, after, _ in changes)
        if created := [(*_new[by_code](after), *cause) for before, after, cause in changes if before is None]:
            new = as_json(created, CREATED_COLUMNS[by_code])
            uses = (as_json(codes),) if by_code else ()
            rows += await self._insert(
                INSERT[by_code], len(bounds), new, as_json(bounds), as_json(moves), as_json(buyers), *uses
            )
        if known := [(before, after, cause) for before, after, cause in changes if before is not None]:
            given_back = any(each.sold < 0 for each in moves)
            sale = not given_back and all(_beside_sale(before) == _beside_sale(after) for before, after, _ in known)
            changed = [_changed(after, cause, sale=sale) for _, after, cause in known]
            seats = (as_json(moves), int(pause.total_seconds())) if moves or created else ()
            save = SAVE_GIVEN_BACK[by_code] if given_back else SAVE[sale, bool(seats), by_code]
            rows += await self._connection.fetch(save, as_json(changed), *seats)
        return {row["id"]: row["revision"] for row in rows}

    async def _insert(self, statement: str, *parameters: Any) -> list[asyncpg.Record]:
        try:
            rows: list[asyncpg.Record] = await self._connection.fetch(statement, *parameters)
        except (asyncpg.UniqueViolationError, asyncpg.CheckViolationError) as error:
            if (what := AT_ONCE.get(error.constraint_name)) is not None:
                raise Interfered(what) from None
            raise
        return rows

    async def lock_seats(self, ids: Iterable[UUID], now: datetime) -> dict[UUID, int]:
        """How many seats of these ticket types can be sold, their rows locked until the transaction ends: none of
        an event that is cancelled, or that has begun and does not sell after its start."""
        wanted = list(ids)
        if not wanted:
            return {}
        await self._connection.execute(LOCK_SEATS, wanted)
        # Read by a second statement, which sees what others committed while the first one waited for its locks.
        return {row["id"]: row["free"] for row in await self._connection.fetch(FREE_SEATS, wanted, now)}
