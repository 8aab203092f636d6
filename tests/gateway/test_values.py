"""Which names and ids are allowed, in any script."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from gateway import requests, schemas, socket_messages
from gateway.schemas import NewBooking
from gateway.socket_messages import ClientMessage
from gateway.values import Id, Label

ID = "018f2b6e-1f5a-7c3d-9e21-5b7c8d9e0f12"
LABEL: TypeAdapter[str] = TypeAdapter(Label)
# Nothing visible, more than one line, or characters that change how the text around them reads.
NO_NAMES = (
    *("", " ", "\t", "a\nb", "a\rb", "a\u0085b", "a\u2028b", "a\u2029b", "a\tb", "a\0b", "a\x7fb", "a\x9fb"),
    *("\u200b", "\u200b\u200d", "\u00a0\u00a0", "\u3000", "\u00ad", "\u2060", "\ufeff", "\u0301", "\u200d\u0301"),
    *("\u3164", "\u115f\u1160", "\uffa0", "\u2800", "a\u202eb", "a\u2066b", "a\u200bb", "a\ue000", "a\ufffe"),
    *("a\U000e0001", "x" * 201),
)
# The flag is a black flag with tags; the family is joined by zero-width joiners.
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
ARABIC = "\u0642\u0627\u0639\u0629"
NAMES = (
    *("a", "\u03a9", "\u6625", "\u2116 5", "!", "e\u0301", "a\u00a0b", "x" * 200),
    *(ARABIC, PERSIAN, ENGLAND, FAMILY),
)
NO_IDS = (
    *(f"{{{ID}}}", f"urn:uuid:{ID}", ID.replace("-", ""), f" {ID}", f"{ID}\n", ID[:-1], f"{ID}0", "", "0"),
    *(ID.replace("8", "\uff18"), ID.replace("-", "\u2010"), 5, None),
)


@pytest.mark.parametrize("name", NO_NAMES)
def test_an_unreadable_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        LABEL.validate_python(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_may_be_in_any_script(name: str) -> None:
    assert LABEL.validate_python(name) == name


def test_invisible_characters_around_a_name_are_removed() -> None:
    assert LABEL.validate_python(" \u00a0 Opening night\u3000") == "Opening night"


@pytest.mark.parametrize("value", NO_IDS)
def test_an_id_has_one_form(value: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Id).validate_python(value)


@pytest.mark.parametrize("value", [ID, ID.upper()])
def test_a_valid_id_is_read(value: str) -> None:
    assert TypeAdapter(Id).validate_python(value) == UUID(ID)


def _sent_models() -> list[type[BaseModel]]:
    kinds = [*vars(schemas).values(), *vars(socket_messages).values(), *vars(requests).values()]
    sent = (schemas.Body, requests.PageQuery)
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, sent)]


@pytest.mark.parametrize("model", _sent_models())
def test_no_request_model_accepts_ids_of_another_form(model: type[BaseModel]) -> None:
    """A plain `UUID` would not do: pydantic reads it in four forms."""
    names = [name for name, field in model.model_fields.items() if field.annotation in (UUID, UUID | None)]
    for name in names:
        with pytest.raises(ValidationError) as refused:
            model.model_validate_json(f'{{"{name}": "urn:uuid:{ID}"}}')
        assert [error["type"] for error in refused.value.errors() if error["loc"] == (name,)] == ["uuid_form"]


@pytest.mark.parametrize("id", NO_IDS[:3])
def test_ids_in_bodies_and_messages_have_the_same_form(id: str) -> None:
    with pytest.raises(ValidationError, match="must be a UUID"):
        NewBooking.model_validate_json(
            f'{{"event_id": "{ID}", "items": [{{"ticket_type_id": "{id}", "quantity": 1}}]}}'
        )
    with pytest.raises(ValidationError, match="must be a UUID"):
        TypeAdapter(ClientMessage).validate_json(f'{{"type": "subscribe", "event_id": "{id}"}}')
