"""The account itself: `GET /v1/account` and `GET /v1/balance`."""

from typing import Any

from sandbox.objects import Object
from sandbox.schema import Schema, array, string
from sandbox.work import Work

READ = Schema({"expand": array(string())})

ACCOUNT_ID = "acct_sandbox"

ACCOUNT: Object = {
    "id": ACCOUNT_ID,
    "object": "account",
    "business_profile": {"mcc": None, "name": "Sandbox", "support_phone": None, "url": None},
    "business_type": None,
    "capabilities": {"card_payments": "active", "transfers": "active"},
    "charges_enabled": True,
    "country": "US",
    "default_currency": "usd",
    "details_submitted": True,
    "email": None,
    "payouts_enabled": True,
    "type": "standard",
}


def retrieve(work: Work, params: dict[str, Any]) -> Object:
    """`GET /v1/account`."""
    return ACCOUNT


def balance(work: Work, params: dict[str, Any]) -> Object:
    """`GET /v1/balance`: there are no payouts here, and pending money becomes available with time."""
    entries = work.ledger.read(
        "SELECT json_extract(body, '$.currency'), json_extract(body, '$.available_on') <= ?, "
        "sum(json_extract(body, '$.net')) FROM objects WHERE kind = 'balance_transaction' GROUP BY 1, 2",
        (work.now,),
    )
    sums: dict[bool, list[Object]] = {False: [], True: []}
    for currency, available, net in entries:
        sums[bool(available)].append({"amount": net, "currency": currency, "source_types": {"card": net}})
    nothing: list[Object] = [{"amount": 0, "currency": "usd", "source_types": {"card": 0}}]
    return {
        "object": "balance",
        "available": sums[True] or nothing,
        "livemode": False,
        "pending": sums[False] or nothing,
    }
