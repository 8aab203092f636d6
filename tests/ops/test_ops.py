"""The parts of the `holdfast` command that need no server."""

from __future__ import annotations

import asyncio
import json
import stat
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import jwt
import pytest
import typer
from typer.testing import CliRunner

import ops.version
from ops import child
from ops.child import HOST, can_bind, free_port
from ops.cli import app, parse_scale
from ops.layout import Ports, Scale
from ops.log_follower import readable
from ops.secrets import ensure_secrets, read_secrets
from ops.stack import Stack, resolved
from ops.up import without_password

SECRET, OTHER = "s" * 40, "o" * 40
runner = CliRunner()


def claims(token: str, audience: str = "holdfast", issuer: str = "holdfast") -> dict[str, object]:
    decoded: dict[str, object] = jwt.decode(token, SECRET, algorithms=["HS256"], audience=audience, issuer=issuer)
    return decoded


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("", Scale()),
        ("booking=2", Scale(booking=2)),
        ("booking=2, payment=3,gateway=4", Scale(booking=2, payment=3, gateway=4)),
    ],
)
def test_scale_is_read(text: str, scale: Scale) -> None:
    assert parse_scale(text) == scale


@pytest.mark.parametrize(
    "text", ["booking", "booking=", "booking=0", "booking=-1", "booking=65", "sandbox=2", "a=b=c"]
)
def test_scale_that_has_a_wrong_form_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="booking=2,payment=2,gateway=2"):
        parse_scale(text)


@pytest.mark.parametrize("installed", [True, False])
def test_version_is_that_of_pyproject_also_where_holdfast_is_not_installed(
    installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not installed:
        monkeypatch.setattr(ops.version, "version", Mock(side_effect=PackageNotFoundError))
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    result = runner.invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"holdfast {project['version']}\n")


@pytest.mark.parametrize("command", ["audit", "repair"])
def test_the_old_name_of_wait_seconds_works_with_a_warning(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = AsyncMock(return_value=0)
    monkeypatch.setattr(f"ops.{command}.command.run", run)
    new, old = (runner.invoke(app, [command, option, "7"]) for option in ("--wait-seconds", "--settle"))
    assert [call.args[3] for call in run.await_args_list] == [7, 7]
    assert (new.exit_code, new.stderr) == (0, "")
    assert (old.exit_code, old.stderr) == (0, "holdfast: --settle is now --wait-seconds\n")


def test_token_stands_for_its_subject() -> None:
    result = runner.invoke(app, ["token", "--subject", "ada"], env={"AUTH_JWT_SECRETS": SECRET})
    found = claims(result.stdout.strip())
    assert found["sub"] == "ada"
    assert "scope" not in found


def test_operator_token_has_the_scope() -> None:
    result = runner.invoke(app, ["token", "--operator"], env={"AUTH_JWT_SECRETS": SECRET})
    assert claims(result.stdout.strip())["scope"] == "holdfast:operator"


def test_a_token_has_the_scopes_that_are_named() -> None:
    arguments = ["token", "--scope", "holdfast:read", "--scope", "holdfast:finance"]
    result = runner.invoke(app, arguments, env={"AUTH_JWT_SECRET": SECRET})
    assert claims(result.stdout.strip())["scope"] == "holdfast:read holdfast:finance"
    wrong = runner.invoke(app, ["token", "--scope", "holdfast:everything"], env={"AUTH_JWT_SECRET": SECRET})
    assert (wrong.exit_code, wrong.stdout) == (2, "")


def test_each_token_has_an_id_of_its_own() -> None:
    ids = {
        claims(runner.invoke(app, ["token"], env={"AUTH_JWT_SECRET": SECRET}).stdout.strip())["jti"] for _ in "ab"
    }
    assert len(ids) == 2


def test_token_is_for_the_configured_gateway() -> None:
    environment = {"AUTH_JWT_SECRETS": SECRET, "AUTH_ISSUER": "me", "AUTH_AUDIENCE": "you"}
    result = runner.invoke(app, ["token"], env=environment)
    assert claims(result.stdout.strip(), audience="you", issuer="me")["sub"] == "local"


@pytest.mark.parametrize(
    ("environment", "warned"),
    [
        ({"AUTH_JWT_SECRETS": f" {SECRET} ,{OTHER}"}, False),
        ({"AUTH_JWT_SECRET": SECRET}, True),
        ({"AUTH_JWT_SECRETS": SECRET, "AUTH_JWT_SECRET": OTHER}, True),
    ],
)
def test_the_first_secret_signs_a_token(environment: dict[str, str], warned: bool) -> None:
    result = runner.invoke(app, ["token"], env=environment)
    assert claims(result.stdout.strip())["jti"]
    assert result.stderr == ("holdfast: AUTH_JWT_SECRET is now AUTH_JWT_SECRETS\n" if warned else "")


def test_token_without_a_secret_says_what_to_do(tmp_path: Path) -> None:
    result = runner.invoke(app, ["token", "--data", str(tmp_path)], env={"AUTH_JWT_SECRETS": ""})
    assert result.exit_code == 1
    assert "holdfast up" in result.stderr


def test_migrate_without_a_database_says_what_to_set() -> None:
    result = runner.invoke(app, ["migrate"], env={"BOOKING_DATABASE_URL": "", "PAYMENT_DATABASE_URL": ""})
    assert result.exit_code == 1
    assert "BOOKING_DATABASE_URL" in result.stderr


def test_secrets_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    made = ensure_secrets(tmp_path)
    assert ensure_secrets(tmp_path) == made
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    assert made.stripe_secret_key.startswith("sk_test_")
    assert made.stripe_publishable_key.startswith("pk_test_")
    assert made.webhook_secret.startswith("whsec_")


def test_secrets_of_two_stacks_differ(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert ensure_secrets(tmp_path / "a") != ensure_secrets(tmp_path / "b")


def test_free_ports_are_all_different() -> None:
    ports = vars(resolved(Ports.free())).values()
    assert 0 not in ports
    assert len(set(ports)) == len(ports)


async def test_a_free_port_is_given_once_and_a_server_can_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many stacks start at once: each has chosen its ports long before its servers listen."""
    few = [free_port() for _ in range(20)]
    other = next(port for port in range(14_000, 15_000) if can_bind(port))
    monkeypatch.setattr(child, "FREE_PORTS", [*few, other])
    assert free_port() == other
    for port in few:
        server = await asyncio.start_server(lambda *_: None, HOST, port)
        server.close()


def test_given_ports_stay() -> None:
    assert resolved(Ports()) == Ports()


@pytest.mark.parametrize(
    ("settings", "sandbox"),
    [
        ({}, "http://127.0.0.1:12111"),
        ({"STRIPE_SECRET_KEY": ""}, "http://127.0.0.1:12111"),
        ({"STRIPE_SECRET_KEY": "x"}, None),
    ],
)
def test_stripe_key_replaces_the_sandbox(tmp_path: Path, settings: dict[str, str], sandbox: str | None) -> None:
    assert Stack(tmp_path, settings=settings).sandbox_url == sandbox


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:secret@127.0.0.1:6379/0", "redis://:***@127.0.0.1:6379/0"),
        (
            "rediss://app:secret@redis/0?ssl_keyfile=/k&ssl_password=secret",
            "rediss://app:***@redis/0?ssl_keyfile=/k&ssl_password=***",
        ),
        ("postgresql://app@one:5432/booking", "postgresql://app@one:5432/booking"),
        (
            "postgresql://app:secret@one:1,two:2/booking?sslpassword=secret&sslmode=require",
            "postgresql://app:***@one:1,two:2/booking?sslpassword=***&sslmode=require",
        ),
        ("postgresql://app:s:ecr@et@one/booking", "postgresql://app:***@one/booking"),
    ],
)
def test_printed_addresses_hide_passwords(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_secrets_of_an_earlier_release_stay_and_new_ones_are_added(tmp_path: Path) -> None:
    before = {
        "auth_jwt_secret": "a", "webhook_secret": "b", "stripe_secret_key": "c", "stripe_publishable_key": "d",
    }  # fmt: skip
    (tmp_path / "secrets.json").write_text(json.dumps(before))
    assert read_secrets(tmp_path).redis_password == ""
    made = ensure_secrets(tmp_path)
    assert {name: value for name, value in vars(made).items() if name in before} == before
    assert made.redis_password
    assert made.sandbox_control_key
    assert ensure_secrets(tmp_path) == read_secrets(tmp_path) == made


@pytest.mark.parametrize(
    ("record", "text", "loud"),
    [
        ({"level": "info", "event": "request", "status": 200}, "request status=200", False),
        ({"level": "WARNING", "event": "slow", "process": "booking"}, "slow", True),
        ({"level": "error", "event": "broken", "why": "x"}, "broken why=x", True),
    ],
)
def test_log_lines_are_made_readable(record: dict[str, object], text: str, loud: bool) -> None:
    shown, is_loud = readable(json.dumps(record))
    assert (shown.plain, is_loud) == (text, loud)


@pytest.mark.parametrize("line", ["Traceback (most recent call last):", "[1, 2]", '{"no": "level"}', "null"])
def test_lines_that_are_no_log_records_are_loud(line: str) -> None:
    shown, loud = readable(line)
    assert (shown.plain, loud) == (line, True)
