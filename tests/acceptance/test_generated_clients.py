"""Clients that generators make from the document that the gateway serves: each buys a ticket."""

from __future__ import annotations

import pytest

from tests.acceptance.client import Client
from tests.acceptance.holdfast import Holdfast
from tests.generators.install import Missing
from tests.generators.made import Workshop, or_skip, printed

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
async def workshop(holdfast: Holdfast, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    document = (await holdfast.anybody.request("GET", "/openapi.json")).ok()
    try:
        return Workshop(tmp_path_factory.mktemp("clients"), document)
    except Missing as missing:
        or_skip(missing)
        raise


async def buy(holdfast: Holdfast, workshop: Workshop, program: str) -> None:
    """The program books, the test pays at Stripe, and the program sees the booking confirmed."""
    operator = holdfast.client(operator=True).token
    assert operator is not None
    async with workshop.buying(program, holdfast.url, operator) as process:
        booked = await printed(process)
        guest, booking = Client(holdfast.session, holdfast.url, booked["token"]), booked["booking"]
        assert (booking["kind"], booking["status"], booking["amount"]) == ("booking", "pending", 9000)
        async with guest.live() as live:
            await holdfast.stripe.pay(booking)
            await live.until(booking["id"], "confirmed")
        assert process.stdin is not None
        process.stdin.write(b"\n")
        assert await printed(process) == {"status": "confirmed", "payment": "paid"}


async def test_python_client_has_every_operation_and_buys_a_ticket(holdfast: Holdfast, workshop: Workshop) -> None:
    said = await workshop.make_python()
    assert "arning" not in said, said
    operations = {one["operationId"] for path in workshop.document["paths"].values() for one in path.values()}
    made = {path.stem for path in (workshop.folder / "holdfast_client" / "api").glob("*/*.py")}
    assert made - {"__init__"} == operations
    await buy(holdfast, workshop, "buy.py")


async def test_typescript_clients_compile_strictly_and_buy_tickets(holdfast: Holdfast, workshop: Workshop) -> None:
    """Two clients: types by openapi-typescript with openapi-fetch, and all by @hey-api/openapi-ts."""
    await workshop.make_typescript()
    for program in ("buy_openapi_fetch.js", "buy_hey_api.js"):
        await buy(holdfast, workshop, program)
