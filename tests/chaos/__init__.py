"""Chaos: the real processes under load, while a seeded monkey harms all that can be harmed.

`plan.py` says what it does and when, from the seed alone; `deeds.py` does it, `wire.py` and `place.py` are what it
works with. `shopper.py` are the clients, `witness.py` and `judge.py` hold what they see against the promises,
`verdict.py` the books at the end.
"""
