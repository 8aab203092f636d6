"""Pages of `docs/` that are made from the code: `schema.md` from the models, `messages.md` and `asyncapi.json` from
the contracts.

`python -m documents` writes them, `python -m documents --check` says which of them is stale.
"""
