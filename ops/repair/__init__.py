"""`holdfast repair`: after a database has lost something, bring both databases and Stripe to tell the same again.

`plan.py` says what is to be done about what an audit has found (pure), `acting.py` does it, `command.py` asks
first.
"""
