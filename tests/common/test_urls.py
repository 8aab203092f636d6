"""A process refuses a malformed address at its start: with one line that shows no secret, and exit code 2."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from booking.app import build_app as build_booking
from booking.settings import BookingSettings
from common.runtime.process import main
from common.runtime.urls import check_postgres_url, check_redis_url, postgres_options, public_url
from gateway.app import build_app as build_gateway
from gateway.settings import GatewaySettings
from payment.app import build_app as build_payment
from payment.settings import PaymentSettings

POSTGRES = "postgresql://u:hidden@db/booking"
WRONG_POSTGRES = (
    "-",
    "db:5432/booking",
    "mysql://u:hidden@db/booking",
    "asyncpg://u:hidden@db/booking",
    "postgresql:u:hidden@db/booking",
    "postgresql://",
    "postgresql:///booking",
    "postgresql://u:hidden@[::1/booking",
    "postgresql://u:hidden@db:none/booking",
    "postgresql://u:hidden@db:0/booking",
    "postgresql://u:hidden@db:70000/booking",
    "postgresql://u:hidden@db1:5432,db2:5433/booking",
    "postgresql://u:hidden@db/book ing",
    f"{POSTGRES}?host=other",
    f"{POSTGRES}?sslmode=on",
    f"{POSTGRES}?sslmode=require&sslmode=disable",
    f"{POSTGRES}?sslmode",
    f"{POSTGRES}?sslrootcert=/nowhere/root.crt",
    f"{POSTGRES}?sslcert=/nowhere/client.crt&sslkey=/nowhere/client.key",
    f"{POSTGRES}?sslkey=/nowhere/client.key",
    f"{POSTGRES}?statement_cache_size=none",
    f"{POSTGRES}?statement_cache_size=-1",
    f"{POSTGRES}?target_session_attrs=best",
    f"{POSTGRES}?pool_timeout=3",
)
REDIS = "redis://:hidden@redis:6379/0"
WRONG_REDIS = (
    "-",
    "redis:6379",
    "redis://",
    "redis:///0",
    "unix:///run/redis.sock",
    "redis+sentinel://:hidden@one:26379,two:26379/mymaster/0",
    "redis-sentinel://:hidden@one/0",
    "valkey://:hidden@redis/0",
    "redis://:hidden@one:6379,two:6379/0",
    "redis://:hidden@one,two/0",
    "redis://:hidden@redis:port/0",
    "redis://:hidden@redis:65536/0",
    "redis://:hidden@redis/first",
    "redis://:hidden@redis/0/1",
    "redis://:hidden@[::1/0",
    "redis://:hidden@redis/0 ",
    f"{REDIS}?db=first",
    f"{REDIS}?protocol=3",
    f"{REDIS}?decode_responses=true",
    f"{REDIS}?socket_timeout=1",
    f"{REDIS}?unheard_of=1",
    f"{REDIS}?ssl_certfile=/nowhere/client.crt",
    "rediss://:hidden@redis/0?ssl_cert_reqs=perhaps",
    "rediss://:hidden@redis/0?ssl_unheard_of=1",
    "rediss://:hidden@redis/0?ssl_certfile=/nowhere/client.crt&ssl_keyfile=/nowhere/client.key",
    "rediss://:hidden@redis/0?ssl_ca_certs=/nowhere/root.crt",
)
PROCESSES: dict[str, tuple[Any, Any, str]] = {
    "booking": (BookingSettings, build_booking, "BOOKING_DATABASE_URL"),
    "payment": (PaymentSettings, build_payment, "PAYMENT_DATABASE_URL"),
    "gateway": (GatewaySettings, build_gateway, ""),
}


@pytest.mark.parametrize("url", WRONG_POSTGRES)
def test_a_wrong_address_of_postgres_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as refusal:
        check_postgres_url(url)
    assert "hidden" not in str(refusal.value)


@pytest.mark.parametrize("url", WRONG_REDIS)
def test_a_wrong_address_of_redis_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as refusal:
        check_redis_url(url)
    assert "hidden" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://tickets.example", "https://tickets.example"),
        ("https://example.com:8443/tickets/", "https://example.com:8443/tickets"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_public_address_has_no_slash_at_its_end(url: str, base: str) -> None:
    assert public_url(url) == base


@pytest.mark.parametrize(
    "url",
    [
        *("tickets.example", "ftp://tickets.example", "https://", "https://a.example,b.example", "https://a b"),
        *("http://tickets.example", "https://u:hidden@tickets.example", "https://tickets.example/?x=hidden"),
        *("https://tickets.example#", "https://tickets.example:port"),
    ],
)
def test_a_public_address_that_no_link_can_begin_with_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as refusal:
        public_url(url)
    assert "hidden" not in str(refusal.value)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("REDIS_URL", url) for url in WRONG_REDIS[5:9]),
        *(("DATABASE", url) for url in WRONG_POSTGRES[2:4] + WRONG_POSTGRES[8:12] + WRONG_POSTGRES[18:21]),
        ("AUTH_JWKS_URL", "https://[hidden"),
        ("AUTH_JWKS_URL", "https://"),
        ("STRIPE_SECRET_KEY", "sk_test_hidden\u00fc"),
        ("STRIPE_SECRET_KEY", "sk_test_hid den"),
        ("STRIPE_API_BASE", "hidden"),
        ("WAIT_SECONDS", "inf"),
        ("SHUTDOWN_SECONDS", "nan"),
    ],
)
def test_a_process_with_a_wrong_setting_ends_with_2_and_one_line(
    process: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, build, database = PROCESSES[process]
    name = database if name == "DATABASE" else name
    if name.lower() not in kind.model_fields:
        return  # this process does not read it
    good = {
        "REDIS_URL": REDIS,
        "BOOKING_DATABASE_URL": POSTGRES,
        "PAYMENT_DATABASE_URL": POSTGRES,
        "STRIPE_SECRET_KEY": "sk_test_1",
        "STRIPE_WEBHOOK_SECRETS": f"whsec_{'x' * 32}",
    }
    if name != "AUTH_JWKS_URL":
        good["AUTH_JWT_SECRETS"] = "x" * 32
    for each, usual in (good | {name: value}).items():
        monkeypatch.setenv(each, usual)
    with pytest.raises(SystemExit) as end:
        main(process, kind, build)
    assert end.value.code == 2
    output = capsys.readouterr().err
    assert output.startswith(f"{process}: ")
    assert name in output
    assert output.count("\n") == 1
    assert "hid" not in output


@pytest.mark.parametrize(
    "url",
    [REDIS, "redis://redis", "redis://u:p@10.0.0.1/3", "redis://[::1]:7000/0", "redis://r?db=2&client_name=x"],
)
def test_an_address_of_redis(url: str) -> None:
    assert check_redis_url(url) == url


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("postgresql://[::1]:7000/d", {"host": "::1", "port": 7000}),
        ("postgresql://u@a,b/d", {"host": ["a", "b"], "port": 5432, "target_session_attrs": "read-write"}),
        ("postgresql://u@a:7,b:7/d?target_session_attrs=any", {"port": 7, "target_session_attrs": "any"}),
        ("postgresql:///d?host=/run/pg&port=7", {"host": "/run/pg", "port": 7, "target_session_attrs": "any"}),
        (f"{POSTGRES}?statement_cache_size=0", {"statement_cache_size": 0, "password": "hidden"}),
        (f"{POSTGRES}?sslmode=disable", {"ssl": "disable"}),
    ],
)
def test_an_address_of_postgres(url: str, parts: dict[str, Any]) -> None:
    assert postgres_options(url).items() >= parts.items()


def key_and_certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + timedelta(days=36_500))
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate


def test_a_client_certificate_is_read_at_the_start(tmp_path: Path) -> None:
    """Without a root certificate the server's is not verified, as in libpq."""
    client = tmp_path / "client.pem"
    client.write_bytes(key_and_certificate())
    context = postgres_options(f"{POSTGRES}?sslmode=require&sslcert={client}")["ssl"]
    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
    checked = postgres_options(f"{POSTGRES}?sslmode=verify-full&sslrootcert=system&sslcert={client}")["ssl"]
    assert (checked.verify_mode, checked.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert check_redis_url(f"rediss://redis/0?ssl_certfile={client}&ssl_keyfile={client}")
