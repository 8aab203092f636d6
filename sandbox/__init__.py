"""A stateful stand-in for the Stripe API, for development and tests. It imports none of Holdfast's other packages.

To change what a request must be like, open `api.py`; which calls there are, `operations.py`; what a parameter may
be, the schema beside its function, and `schema.py`; the states of a payment, `payments.py`; how a test card
behaves, `test_numbers.py`; what an object looks like, `objects.py`; how webhooks are sent, `webhooks.py`; faults on
purpose, `faults.py`; what can be done beside the API, `control.py`; what is stored, `ledger.py`.
"""
