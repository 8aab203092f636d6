"""New ids sort by time; ids that are derived are the same each time."""

from __future__ import annotations

import time
from datetime import datetime
from uuid import UUID

import pytest

from common.contracts.ids import booking_id, id_and_time, uuid7


def test_new_ids_are_uuids_of_version_7() -> None:
    id = uuid7()
    assert (id.version, id.variant) == (7, "specified in RFC 4122")
    assert abs((id.int >> 80) / 1000 - time.time()) < 10


def test_messages_have_ids_and_times_in_text() -> None:
    made = dict(id_and_time() for _ in range(1000))
    assert len(made) == 1000
    for text, at in made.items():
        id = UUID(text)
        assert (id.version, id.variant, str(id)) == (7, "specified in RFC 4122", text)
        assert datetime.fromisoformat(at).timestamp() == (id.int >> 80) / 1000
        assert abs((id.int >> 80) / 1000 - time.time()) < 10


def test_new_ids_sort_by_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for milliseconds in range(5):
        monkeypatch.setattr(time, "time_ns", lambda ms=milliseconds: (1_700_000_000_000 + ms) * 1_000_000)
        ids.append(uuid7())
    assert ids == sorted(ids)
    assert len({uuid7() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("subject", "key", "same"),
    [("one", "key", True), ("one", "other", False), ("two", "key", False), ("one\0k", "ey", False)],
)
def test_a_booking_is_the_same_for_the_same_client_and_key(subject: str, key: str, same: bool) -> None:
    assert (booking_id(subject, key) == booking_id("one", "key")) is same


def test_the_booking_of_a_key_is_the_same_for_ever() -> None:
    """With another id a request that is repeated across a deploy would book a second time."""
    assert booking_id("guest:1", "key-1") == UUID("8ead2eb3-d1f4-570b-adbc-8f25ca5cc707")
