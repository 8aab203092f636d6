"""What a test reads and changes in the Redis of a running stack."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from redis.asyncio import Redis

from common.contracts.messages import MAILBOXES
from common.messaging.streams import lengths
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.polling import eventually


async def mailbox_lengths(holdfast: Holdfast) -> dict[str, int]:
    """How many entries of each mailbox are not handled yet."""
    async with Redis.from_url(holdfast.stack.redis_url) as redis:
        return dict(await lengths(redis, MAILBOXES))


async def until_lengths(holdfast: Holdfast, least: Mapping[str, int]) -> None:
    """Wait until each of these mailboxes has at least this many entries."""
    await eventually(
        lambda: mailbox_lengths(holdfast), lambda found: all(found[name] >= count for name, count in least.items())
    )


async def forget_all(holdfast: Holdfast) -> None:
    """FLUSHALL: deletes mailboxes, groups, pending entries, replies, notifications, the rate limit at Stripe."""
    async with Redis.from_url(holdfast.stack.redis_url) as redis:
        await redis.flushall()


def empty(folder: Path) -> None:
    """Delete the data of a stopped Redis."""
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
