"""Deterministic simulation: the real handlers, reconcilers and stores on real Postgres, on one thread. Made up are
the clock, Redis and Stripe: a seed decides when they fail, in every way they can. A seed alone repeats a schedule.

`make simulate SEEDS=1-1000 STEPS=200` plays many seeds, `make simulate SEED=1234` plays one and prints its story.
"""
