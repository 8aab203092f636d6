"""The SQL of revoked tokens."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from booking.booking_rows import Position
from common.contracts.messages import RevokeTokens
from common.contracts.resources import Revocation
from common.postgres.sql import count_of, old_deleted

# The position that all are before.
END: Position = (datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1))
COLUMNS = "id, claim, value, revoked_at, expires_at, by"
# One at a time, so that a request under the same key as another finds its answer. Readers do not wait.
LOCK = "LOCK TABLE revoked_tokens IN SHARE ROW EXCLUSIVE MODE"
REVOKE = f"""
INSERT INTO revoked_tokens AS r (claim, value, revoked_at, expires_at, by) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (claim, value) DO UPDATE SET revoked_at = excluded.revoked_at, by = excluded.by,
    expires_at = greatest(r.expires_at, excluded.expires_at)
RETURNING {COLUMNS}
"""
PAGE = f"""
SELECT {COLUMNS} FROM revoked_tokens WHERE (revoked_at, id) < ($1, $2::uuid)
ORDER BY revoked_at DESC, id DESC LIMIT $3
"""
FORGET = old_deleted("revoked_tokens", "id", "expires_at")


class Revoked(NamedTuple):
    """A row."""

    id: UUID
    claim: str
    value: str
    revoked_at: datetime
    expires_at: datetime
    by: str | None

    def shown(self) -> Revocation:
        return Revocation(
            jti=self.value if self.claim == "jti" else None,
            subject=self.value if self.claim == "sub" else None,
            revoked_at=self.revoked_at,
            expires_at=self.expires_at,
            by=self.by,
        )


class RevocationRows:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def lock(self) -> None:
        """Until the transaction ends no other one revokes tokens."""
        await self._connection.execute(LOCK)

    async def revoke(self, wanted: RevokeTokens, now: datetime) -> Revoked:
        """The row for these tokens. One that is there already never ends sooner by this."""
        values = (wanted.claim, wanted.value, now, wanted.expires_at, wanted.requester)
        return Revoked(*await self._connection.fetchrow(REVOKE, *values))

    async def page(self, before: Position | None, limit: int) -> list[Revoked]:
        """Those before this position (time and id), the last that was asked for first."""
        return [Revoked(*row) for row in await self._connection.fetch(PAGE, *(before or END), limit)]

    async def forget(self, before: datetime, limit: int) -> int:
        """Delete those whose tokens ended before this, at most `limit`; returns how many."""
        return count_of(await self._connection.execute(FORGET, before, limit))
