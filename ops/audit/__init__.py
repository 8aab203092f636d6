"""`holdfast audit` compares bookings, seats, payments, refunds and Stripe's ledger; it prints what does not match.

`databases.py` and `ledger.py` read, `records.py` holds what was read, `rules.py` and `money.py` judge it (pure),
`runner.py` checks again what does not match, `report.py` prints the findings.
"""
