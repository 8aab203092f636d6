"""Generators of clients, a linter and schemas that others have made, tried on the documents that Holdfast serves.

Exact versions: of npm's packages in `npm.txt`, of Python's in `python.txt`. `python -m tests.generators` installs
them into a folder of `.venv`; tests install what is missing.
"""
