"""Settings are checked when a process starts; the error names a wrong one, and never shows its value."""

from __future__ import annotations

import pytest
from pydantic import Field, SecretStr

from common.contracts.errors import ConfigurationError
from common.runtime.settings import ActorSettings, CommaSeparated, ProcessSettings, load


class Example(ActorSettings):
    the_secret: SecretStr = Field(min_length=10)
    a_list: CommaSeparated = ()
    numbers: tuple[int, ...] = ()


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_SECRET", "long-enough-for-this")


def complaint(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as raised:
        load(Example)
    assert raised.value.__cause__ is None
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "hundred"),
        ("PORT", "65536"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("BATCH_MAX", "0"),
        ("ATTEMPTS_MAX", "many"),
        ("THE_SECRET", "too-short"),
        ("NUMBERS", "not-json"),
    ],
)
def test_what_is_wrong_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    said = complaint(monkeypatch, **{name: value})
    assert name in said.upper()
    assert value not in said


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THE_SECRET")
    assert complaint(monkeypatch) == "THE_SECRET: Field required"


def test_all_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = complaint(monkeypatch, PORT="x", BATCH_MAX="x")
    assert "PORT: " in said
    assert "BATCH_MAX: " in said


@pytest.mark.parametrize(
    ("handler_ms", "claim_ms", "right"), [(1000, 2001, True), (1000, 2000, False), (1000, 500, False)]
)
def test_a_claim_outlasts_a_handler_twice(
    monkeypatch: pytest.MonkeyPatch, handler_ms: int, claim_ms: int, right: bool
) -> None:
    monkeypatch.setenv("HANDLER_TIMEOUT_MS", str(handler_ms))
    monkeypatch.setenv("CLAIM_IDLE_MS", str(claim_ms))
    if right:
        assert load(Example).claim_idle_ms == claim_ms
    else:
        said = complaint(monkeypatch)
        assert "CLAIM_IDLE_MS" in said
        assert "HANDLER_TIMEOUT_MS" in said


def test_the_defaults_are_consistent() -> None:
    settings = load(ActorSettings)
    assert settings.claim_idle_ms > 2 * settings.handler_timeout_ms


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")
    assert load(ProcessSettings).port == 0


@pytest.mark.parametrize(("value", "read"), [("", ()), ("a", ("a",)), (" a , b,,c ", ("a", "b", "c")), (",", ())])
def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch, value: str, read: tuple[str, ...]) -> None:
    monkeypatch.setenv("A_LIST", value)
    assert load(Example).a_list == read


def test_no_two_processes_have_the_same_name() -> None:
    assert load(ProcessSettings).instance != load(ProcessSettings).instance


def test_settings_do_not_change_and_do_not_show_secrets() -> None:
    settings = load(Example)
    assert "long-enough" not in repr(settings)
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1  # type: ignore[misc]
