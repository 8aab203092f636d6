"""`holdfast audit`: compares bookings, seats, payments, refunds and Stripe's own ledger; says what does not match.

`facts.py` is what was read, `rules.py` judges it (pure), `databases.py` and `ledger.py` read it, `look.py` reads
again what looked wrong, `report.py` says what was found.
"""
