"""Settings are checked once, at the start; the error names the variable."""

from __future__ import annotations

from typing import Any

import pytest

from common.contracts.errors import ConfigurationError
from common.runtime.settings import former_names, load
from gateway.settings import GatewaySettings
from tests.gateway.stage import SECRET

JWKS = "https://id.example/jwks.json"
OTHER = "another" * 6


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, "AUTH_JWT_SECRETS"),
        ({"AUTH_JWT_SECRETS": SECRET, "AUTH_JWKS_URL": JWKS}, "AUTH_JWKS_URL"),
        ({"AUTH_JWT_SECRETS": "too short"}, "AUTH_JWT_SECRETS: "),
        ({"AUTH_JWT_SECRETS": f"{SECRET},too short"}, "AUTH_JWT_SECRETS: "),
        ({"AUTH_JWT_SECRETS": f",{SECRET}"}, "AUTH_JWT_SECRETS: "),
        ({"AUTH_JWT_SECRETS": f"{SECRET}, "}, "AUTH_JWT_SECRETS: "),
        ({"AUTH_JWT_SECRETS": ","}, "AUTH_JWT_SECRETS: "),
        ({"AUTH_JWT_SECRETS": f"{SECRET}, {OTHER},{SECRET}"}, "AUTH_JWT_SECRETS: "),
        ({"AUTH_JWT_SECRET": "too short"}, "AUTH_JWT_SECRET: "),
        ({"AUTH_JWKS_URL": "file:///etc/passwd"}, "AUTH_JWKS_URL"),
        ({"AUTH_JWT_SECRETS": SECRET, "AUTH_ALGORITHMS": "none"}, "AUTH_ALGORITHMS"),
        ({"AUTH_JWT_SECRETS": SECRET, "AUTH_ALGORITHMS": "HS256,RS256"}, "AUTH_ALGORITHMS"),
        ({"AUTH_JWKS_URL": JWKS, "AUTH_ALGORITHMS": "HS256"}, "AUTH_ALGORITHMS"),
        ({"AUTH_JWKS_URL": JWKS, "AUTH_GUESTS": "true"}, "AUTH_GUESTS"),
        ({"AUTH_JWT_SECRETS": SECRET, "CORS_ORIGINS": "tickets.example"}, "CORS_ORIGINS"),
        ({"AUTH_JWT_SECRETS": SECRET, "CORS_ORIGINS": "https://a.example/path"}, "CORS_ORIGINS"),
        ({"AUTH_JWT_SECRETS": SECRET, "STRIPE_PUBLISHABLE_KEY": "sk_test_1"}, "STRIPE_PUBLISHABLE_KEY"),
        ({"AUTH_JWT_SECRETS": SECRET, "PORT": "http"}, "PORT"),
        ({"AUTH_JWT_SECRETS": SECRET, "BODY_MAX_BYTES": "0"}, "BODY_MAX_BYTES"),
    ],
)
def test_a_wrong_setting_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], named: str
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as raised:
        load(GatewaySettings)
    assert named in str(raised.value)
    assert not [each for each in (SECRET, OTHER, "too short") if each in str(raised.value)]


@pytest.mark.parametrize(
    ("values", "algorithms", "guests"),
    [
        ({"auth_jwt_secrets": SECRET}, ("HS256",), True),
        ({"auth_jwt_secrets": SECRET, "auth_guests": False}, ("HS256",), False),
        ({"auth_jwks_url": JWKS}, ("ES256", "RS256"), False),
        ({"auth_jwks_url": JWKS, "auth_algorithms": "RS256"}, ("RS256",), False),
    ],
)
def test_the_source_of_keys_decides_which_algorithms_are_accepted(
    values: dict[str, Any], algorithms: tuple[str, ...], guests: bool
) -> None:
    settings = load(GatewaySettings, **values)
    assert (settings.algorithms, settings.guests, settings.port) == (algorithms, guests, 8080)
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ({"AUTH_JWT_SECRETS": SECRET}, (SECRET,)),
        ({"AUTH_JWT_SECRETS": f" {OTHER} , {SECRET}"}, (OTHER, SECRET)),
        ({"AUTH_JWT_SECRET": SECRET}, (SECRET,)),
        ({"AUTH_JWT_SECRET": SECRET, "AUTH_JWT_SECRETS": f"{OTHER},{SECRET}"}, (OTHER, SECRET)),
    ],
)
def test_the_secrets_are_read_also_by_their_former_name(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], read: tuple[str, ...]
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert load(GatewaySettings).auth_jwt_secrets == read
    assert set(former_names(GatewaySettings)) == {name.lower() for name in values if name == "AUTH_JWT_SECRET"}
