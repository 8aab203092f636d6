"""Deterministic simulation: the real handlers, reconcilers and repositories on real Postgres, on one thread, under
a virtual clock and a seeded bus and Stripe that fail in every way they can. A seed alone repeats a schedule.

`make simulate SEEDS=1-1000 STEPS=200` runs many, `make simulate SEED=1234` tells the story of one.
"""
