"""A stateful stand-in for the Stripe API, for development and tests. It imports nothing of the rest.

To change what a request has to be like, open `api.py`; what there is to call, `operations.py`; what a parameter may
be, the schema beside its function, and `schema.py`; how a payment goes on, `payments.py`; how a test card behaves,
`test_numbers.py`; what an object looks like, `objects.py`; how webhooks are sent, `webhooks.py`; what can go wrong
on purpose, `faults.py`; what can be done beside the API, `control.py`; what is remembered, `ledger.py`.
"""
