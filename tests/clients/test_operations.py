"""Both clients have a method for every operation of customers and operators."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from documents.client_types import operations

CLIENTS = Path(__file__).parents[2] / "clients"
SOURCES = {"javascript": "js/holdfast.js", "python": "python/holdfast_client/*.py"}


@pytest.mark.parametrize("client", SOURCES)
def test_every_operation_of_customers_and_operators_has_a_method(client: str) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in CLIENTS.glob(SOURCES[client]))
    sent = set(re.findall(r'"((?:GET|POST|PUT|PATCH|DELETE) /[^"]*)"', text))
    assert sent == operations().keys(), "clients/js/README.md says how to add one"
