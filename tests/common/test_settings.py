"""Settings are checked when a process starts; the error names a wrong one, and never shows its value."""

from __future__ import annotations

import orjson
import pytest
from pydantic import Field, SecretStr

from booking.settings import BookingSettings
from common.contracts.errors import ConfigurationError
from common.runtime.settings import ActorSettings, CommaSeparated, ProcessSettings, former_names, load
from gateway.settings import GatewaySettings
from payment.settings import PaymentSettings
from tests.forked import run

# What each process cannot start without.
REQUIRED = {
    "booking": {"BOOKING_DATABASE_URL": "postgresql://127.0.0.1/booking"},
    "payment": {
        "PAYMENT_DATABASE_URL": "postgresql://127.0.0.1/payment",
        "STRIPE_SECRET_KEY": "sk_test_1",
        "STRIPE_WEBHOOK_SECRETS": f"whsec_{'1' * 32}",
    },
    "gateway": {"AUTH_JWT_SECRETS": "renamed" * 6},
}
KINDS: dict[str, type[ProcessSettings]] = {
    "booking": BookingSettings,
    "payment": PaymentSettings,
    "gateway": GatewaySettings,
}
# Those that are numbers; of the tokens' secrets: tests/gateway/test_settings.py.
RENAMED = [
    (process, *names)
    for process, kind in KINDS.items()
    for names in kind.RENAMED.items()
    if names != ("auth_jwt_secret", "auth_jwt_secrets")
]


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


# --- Renamed settings


@pytest.fixture
def process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[ProcessSettings]:
    """The settings of a real process, and what it requires in the environment."""
    for name, value in REQUIRED[request.param].items():
        monkeypatch.setenv(name, value)
    return KINDS[request.param]


def test_former_names_are_names_of_no_setting_and_new_names_are() -> None:
    for kind in KINDS.values():
        assert not kind.RENAMED.keys() & kind.model_fields.keys()
        assert set(kind.RENAMED.values()) <= kind.model_fields.keys()


@pytest.mark.parametrize(("process", "former", "name"), RENAMED, indirect=["process"])
def test_a_former_name_is_read(
    monkeypatch: pytest.MonkeyPatch, process: type[ProcessSettings], former: str, name: str
) -> None:
    monkeypatch.setenv(former.upper(), "7")
    assert getattr(load(process), name) == 7
    assert former_names(process) == {former: name}
    monkeypatch.setenv(former.upper(), "")
    assert getattr(load(process), name) == process.model_fields[name].default
    assert former_names(process) == {}


@pytest.mark.parametrize(("process", "former", "name"), RENAMED, indirect=["process"])
def test_the_new_name_wins_over_the_former_one(
    monkeypatch: pytest.MonkeyPatch, process: type[ProcessSettings], former: str, name: str
) -> None:
    monkeypatch.setenv(former.upper(), "7")
    monkeypatch.setenv(name.upper(), "8")
    assert getattr(load(process), name) == 8
    assert former_names(process) == {former: name}
    monkeypatch.setenv(former.upper(), "not read")
    assert getattr(load(process), name) == 8


@pytest.mark.parametrize(("process", "former", "name"), RENAMED, indirect=["process"])
def test_an_error_has_the_name_that_was_set(
    monkeypatch: pytest.MonkeyPatch, process: type[ProcessSettings], former: str, name: str
) -> None:
    monkeypatch.setenv(former.upper(), "soon")
    with pytest.raises(ConfigurationError, match=f"^{former.upper()}: ") as raised:
        load(process)
    assert "soon" not in str(raised.value)
    assert name.upper() not in str(raised.value)
    monkeypatch.setenv(name.upper(), "later")
    with pytest.raises(ConfigurationError, match=f"^{name.upper()}: "):
        load(process)


@pytest.mark.parametrize("name", KINDS)
async def test_a_process_warns_once_of_each_former_name_without_its_value(name: str) -> None:
    """The real process: it warns before it listens, which it cannot at an address of nobody."""
    renamed = KINDS[name].RENAMED
    environment = {"LOG_FORMAT": "json", "HOST": "203.0.113.1", **REQUIRED[name]}
    former = dict.fromkeys(map(str.upper, renamed), "7")
    done = await run(name, environment=environment | former)
    lines = [orjson.loads(line) for line in done.error.splitlines() if "setting renamed" in line]
    assert [(line["level"], line["old"], line["new"]) for line in lines] == [
        ("warning", old.upper(), new.upper()) for old, new in renamed.items()
    ]
    assert not [line for line in lines if "7" in {str(value) for value in line.values()}]
