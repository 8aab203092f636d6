"""Chaos: the real processes under load, while a seeded monkey makes every kind of fault.

`plan.py` decides each fault and its time, from the seed alone. `faults.py` makes the faults, with `wire.py` and
`harness.py`. `shopper.py` has the clients, `waiting.py` those who wait for seats, `door.py` the scanners,
`notified.py` who gets mails and webhooks. `witness.py`, `codes.py`, `check_ins.py` and `judge.py` compare what
these see with the promises; `verdict.py` compares the databases with them at the end.
"""
