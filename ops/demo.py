"""The demo event, which can be booked right after the first start; it is made through the gateway."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from ops.errors import StartError

TIMEOUT = aiohttp.ClientTimeout(total=20)


def demo_event(now: datetime) -> dict[str, Any]:
    starts_at = (now + timedelta(days=30)).replace(hour=20, minute=0, second=0, microsecond=0)
    return {
        "name": "An evening with Holdfast",
        "starts_at": starts_at.isoformat(),
        "currency": "eur",
        "on_sale": True,
        "max_per_booking": 8,
        "cancel_until": (starts_at - timedelta(days=1)).isoformat(),
        "ticket_types": [
            {"name": "Stalls", "unit_amount": 4500, "capacity": 200},
            {"name": "Balcony", "unit_amount": 2900, "capacity": 100},
        ],
    }


async def ensure_event(gateway_url: str, operator_token: str) -> dict[str, Any]:
    """The first event, or a new demo event if there is none. Raises StartError when the gateway refuses."""
    headers = {"Authorization": f"Bearer {operator_token}"}
    try:
        async with aiohttp.ClientSession(gateway_url, timeout=TIMEOUT, headers=headers) as session:
            events = (await _answer(await session.get("/events")))["items"]
            if events:
                first: dict[str, Any] = events[0]
                return first
            return await _answer(await session.post("/admin/events", json=demo_event(datetime.now(UTC))))
    except (aiohttp.ClientError, TimeoutError) as error:
        raise StartError(f"the gateway does not answer: {error or type(error).__name__}") from error


async def _answer(response: aiohttp.ClientResponse) -> dict[str, Any]:
    if response.status >= 400:
        raise StartError(f"{response.method} {response.url.path}: {response.status} {await response.text()}")
    body: dict[str, Any] = await response.json()
    return body
