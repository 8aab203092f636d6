"""Which installation id both databases get."""

from __future__ import annotations

from uuid import UUID

import pytest

from ops.errors import StartError
from ops.installation import Choice, chosen

ONE, OTHER = UUID(int=1), UUID(int=2)
Known = dict[str, UUID | None]

CHOSEN: list[tuple[Known, Choice, UUID]] = [
    ({"booking": ONE, "payment": ONE}, Choice(), ONE),
    ({"booking": ONE, "payment": None}, Choice(), ONE),
    ({"booking": None, "payment": ONE}, Choice(), ONE),
    ({"booking": ONE, "payment": OTHER}, Choice(keep_id_of="booking"), ONE),
    ({"booking": ONE, "payment": OTHER}, Choice(keep_id_of="payment"), OTHER),
    ({"booking": ONE, "payment": ONE}, Choice(new_account=True), ONE),
]
REFUSED: list[tuple[Known, Choice, str]] = [
    ({"booking": ONE, "payment": OTHER}, Choice(), f"booking is of installation {ONE}, payment is of .*{OTHER}"),
    ({"booking": ONE, "payment": OTHER}, Choice(new_account=True), "do not belong together"),
    ({"booking": ONE, "payment": None}, Choice(keep_id_of="payment"), "payment has no installation id"),
    ({"payment": ONE}, Choice(keep_id_of="booking"), "booking has no installation id"),
]


@pytest.mark.parametrize(("known", "choice", "id"), CHOSEN)
def test_one_id_for_both(known: Known, choice: Choice, id: UUID) -> None:
    assert chosen(known, choice) == id


@pytest.mark.parametrize(("known", "choice", "reason"), REFUSED)
def test_what_an_operator_must_decide_is_refused(known: Known, choice: Choice, reason: str) -> None:
    with pytest.raises(StartError, match=reason):
        chosen(known, choice)


@pytest.mark.parametrize(
    ("known", "choice"),
    [
        ({"booking": None, "payment": None}, Choice()),
        ({"payment": None}, Choice()),
        ({"booking": ONE, "payment": ONE}, Choice(new_id=True)),
        ({"booking": ONE, "payment": OTHER}, Choice(new_id=True)),
    ],
)
def test_a_new_id_is_unique(known: Known, choice: Choice) -> None:
    made = {chosen(known, choice) for _ in range(3)}
    assert len(made) == 3
    assert not made & {ONE, OTHER}
