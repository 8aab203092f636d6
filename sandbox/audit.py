"""A summary of the ledger: the amounts requested, captured, refunded and disputed, payment by payment."""

from typing import Any

import orjson

from sandbox.ledger import Ledger

INTENTS = """
SELECT id, json_extract(body, '$.status'), json_extract(body, '$.amount'), json_extract(body, '$.currency'),
       json_extract(body, '$.amount_received'), json_extract(body, '$.metadata')
FROM objects WHERE kind = 'payment_intent' ORDER BY seq
"""

CHARGES = """
SELECT intent, count(*), sum(json_extract(body, '$.amount_captured')), sum(json_extract(body, '$.disputed'))
FROM objects WHERE kind = 'charge' GROUP BY intent
"""

REFUNDS = """
SELECT intent, json_extract(body, '$.status'), count(*), sum(json_extract(body, '$.amount'))
FROM objects WHERE kind = 'refund' GROUP BY 1, 2
"""


def summary(ledger: Ledger) -> dict[str, Any]:
    """Every intent with its charges and refunds, oldest first, and the totals of each currency.

    `amount_refunded` is the sum of succeeded and pending refunds; `refunds` has their number by status.
    """
    charges = {intent: figures for intent, *figures in ledger.read(CHARGES)}
    refunds: dict[str, dict[str, list[int]]] = {}
    for intent, status, count, amount in ledger.read(REFUNDS):
        refunds.setdefault(intent, {})[status] = [count, amount]
    rows = []
    totals: dict[str, dict[str, int]] = {}
    for intent, status, amount, currency, received, metadata in ledger.read(INTENTS):
        attempts, captured, disputed = charges.get(intent, (0, 0, 0))
        of_intent = refunds.get(intent, {})
        refunded = sum(money for state, (_, money) in of_intent.items() if state not in ("failed", "canceled"))
        rows.append(
            {
                "id": intent,
                "status": status,
                "amount": amount,
                "currency": currency,
                "amount_received": received,
                "amount_captured": captured,
                "amount_refunded": refunded,
                "charges": attempts,
                "refunds": {state: count for state, (count, _) in of_intent.items()},
                "disputed": bool(disputed),
                "metadata": orjson.loads(metadata),
            }
        )
        total = totals.setdefault(currency, {"payment_intents": 0, "amount_received": 0, "amount_refunded": 0})
        total["payment_intents"] += 1
        total["amount_received"] += received
        total["amount_refunded"] += refunded
    return {"payment_intents": rows, "totals": totals}
