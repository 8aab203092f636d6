"""The reference of a booking follows from its id, and is read however people write it."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.contracts.codes import ALPHABET, REFERENCE, as_read, grouped, ids_of, reference_of
from common.contracts.ids import booking_id

FIRST, LAST = UUID(int=0), UUID(int=2**128 - 1)


@pytest.mark.parametrize(
    ("id", "reference"),
    [
        (FIRST, "HF-0000-0000"),
        (LAST, "HF-ZZZZ-ZZZZ"),
        (UUID("2f1c8f0e-6a57-5d2b-8f43-9a1b2c3d4e5f"), "HF-5WE8-Y3KA"),
        # Only the first 40 bits count.
        (UUID("2f1c8f0e-6aff-5d2b-8f43-9a1b2c3d4e5f"), "HF-5WE8-Y3KA"),
        (UUID("2f1c8f0e-6b57-5d2b-8f43-9a1b2c3d4e5f"), "HF-5WE8-Y3KB"),
    ],
)
def test_a_reference_follows_from_the_id(id: UUID, reference: str) -> None:
    assert reference_of(id) == reference_of(str(id)) == reference


@given(st.uuids())
def test_a_reference_finds_its_booking(id: UUID) -> None:
    """All ids between the first and the last have it, and those outside have not."""
    reference = reference_of(id)
    ids = ids_of(reference)
    assert ids is not None
    first, last = ids
    assert first <= id <= last
    assert reference_of(first) == reference_of(last) == reference
    for outside in (first.int - 1, last.int + 1):
        if 0 <= outside < 2**128:
            assert reference_of(UUID(int=outside)) != reference


@pytest.mark.parametrize(
    "write", [str.lower, str.title, lambda text: text.replace("-", " "), lambda text: text[3:]]
)
def test_a_reference_is_read_however_it_is_written(write: object) -> None:
    assert callable(write)
    reference = reference_of(uuid4())
    assert ids_of(write(reference)) == ids_of(reference)
    assert ids_of(write(reference).replace("-", "")) == ids_of(reference)


def test_letters_that_look_like_digits_are_read_as_these() -> None:
    assert ids_of("hf-oil0-o1l1") == ids_of("HF-0110-0111")
    assert not set("OILU") & set(ALPHABET)


def test_the_prefix_may_also_be_the_beginning_of_the_code() -> None:
    assert ids_of("HFHF-HFHF") == ids_of("HF-HFHF-HFHF")
    assert ids_of("HF-HFHF") is None


@pytest.mark.parametrize(
    "text", ["", "HF", "HF-7K3M", "HF-7K3M-9Q2TX", "HF-7K3M-9Q2U", "XX-7K3M-9Q2T", "7K3M-9Q2é"]
)
def test_what_can_be_no_reference_is_none(text: str) -> None:
    assert ids_of(text) is None


def test_many_bookings_have_many_references() -> None:
    """Ids are hashes, so that neighbours of one owner do not share what a reference is made of."""
    made = {reference_of(booking_id("alice", f"key {number}")) for number in range(1000)}
    assert len(made) == 1000
    assert all(REFERENCE.fullmatch(as_read(each)) for each in made)


def test_a_code_is_written_in_groups() -> None:
    assert [grouped("ABCDEFGHJ"), grouped("ABCD"), grouped("")] == ["ABCD-EFGH-J", "ABCD", ""]
