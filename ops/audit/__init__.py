"""`holdfast audit` compares bookings, seats, payments, refunds and Stripe's ledger; it prints what does not match.

`databases.py` and `ledger.py` read, `facts.py` holds what was read, `rules.py` and `money.py` judge it (pure),
`look.py` reads again what looked wrong, `report.py` prints the findings.
"""
