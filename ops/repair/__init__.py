"""`holdfast repair`: after a database has lost something, makes both databases and Stripe agree again.

`plan.py` decides what to do about the findings of an audit (pure), `command.py` asks the person,
`execution.py` does it.
"""
