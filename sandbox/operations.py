"""The API's operations: for each method and path its parameters and its function. The only list of them."""

from collections.abc import Callable
from dataclasses import dataclass

from sandbox import charges, disputes, events, intents, payment_methods, payments, profile, refunds
from sandbox.objects import Object
from sandbox.schema import Schema, array, string

READ = Schema({"expand": array(string())})


@dataclass(frozen=True)
class Operation:
    """One call of the API. The parts of its path in braces are passed to `run` by their names."""

    method: str
    path: str
    kind: str
    """The kind of object in the answer; for a list, of its elements."""
    run: Callable[..., Object]
    schema: Schema = READ
    browser: Schema | None = None
    """The parameters that a browser may send with the publishable key; None if it may not call this."""
    listed: bool = False


OPERATIONS = (
    Operation("POST", "/v1/payment_intents", "payment_intent", intents.create, intents.CREATE),
    Operation("GET", "/v1/payment_intents", "payment_intent", intents.list_intents, intents.LIST, listed=True),
    Operation(
        "GET",
        "/v1/payment_intents/{intent}",
        "payment_intent",
        intents.retrieve,
        intents.RETRIEVE,
        intents.BROWSER_RETRIEVE,
    ),
    Operation("POST", "/v1/payment_intents/{intent}", "payment_intent", intents.update, intents.UPDATE),
    Operation(
        "POST",
        "/v1/payment_intents/{intent}/confirm",
        "payment_intent",
        intents.confirm,
        intents.CONFIRM,
        intents.BROWSER_CONFIRM,
    ),
    Operation("POST", "/v1/payment_intents/{intent}/cancel", "payment_intent", payments.cancel, payments.CANCEL),
    Operation("POST", "/v1/payment_intents/{intent}/capture", "payment_intent", payments.capture, payments.CAPTURE),
    Operation(
        "POST",
        "/v1/payment_methods",
        "payment_method",
        payment_methods.create,
        payment_methods.METHOD_CREATE,
        payment_methods.BROWSER_CREATE,
    ),
    Operation("GET", "/v1/payment_methods/{method}", "payment_method", payment_methods.retrieve),
    Operation("GET", "/v1/charges", "charge", charges.list_charges, charges.LIST, listed=True),
    Operation("GET", "/v1/charges/{charge}", "charge", charges.retrieve),
    Operation(
        "GET",
        "/v1/balance_transactions/{transaction}",
        "balance_transaction",
        charges.retrieve_balance_transaction,
    ),
    Operation("POST", "/v1/refunds", "refund", refunds.create, refunds.CREATE),
    Operation("GET", "/v1/refunds", "refund", refunds.list_refunds, refunds.LIST, listed=True),
    Operation("GET", "/v1/refunds/{refund}", "refund", refunds.retrieve),
    Operation("POST", "/v1/refunds/{refund}", "refund", refunds.update, refunds.UPDATE),
    Operation("POST", "/v1/refunds/{refund}/cancel", "refund", refunds.cancel),
    Operation("GET", "/v1/disputes", "dispute", disputes.list_disputes, disputes.LIST, listed=True),
    Operation("GET", "/v1/disputes/{dispute}", "dispute", disputes.retrieve),
    Operation("POST", "/v1/disputes/{dispute}", "dispute", disputes.update, disputes.UPDATE),
    Operation("POST", "/v1/disputes/{dispute}/close", "dispute", disputes.accept),
    Operation("GET", "/v1/events", "event", events.list_events, events.LIST, listed=True),
    Operation("GET", "/v1/events/{event}", "event", events.retrieve),
    Operation("GET", "/v1/account", "account", profile.retrieve),
    Operation("GET", "/v1/balance", "balance", profile.balance),
)

NOT_MODELLED = ("/v1/payment_intents/search", "/v1/charges/search")
"""Paths whose last part would otherwise be read as an object's id."""
