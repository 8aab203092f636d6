"""`holdfast init` writes a file of secrets for its owner alone, and touches none that is there."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ops.cli import app
from ops.init import settings
from tests.release.test_compose import COMPOSE_FILE, example

runner = CliRunner()
SANDBOXS_OWN = {"STRIPE_API_BASE", "STRIPE_JS_URL", "SANDBOX_WEBHOOK_URL", "COMPOSE_PROFILES"}


def init(path: Path, *options: str) -> Result:
    return runner.invoke(app, ["init", "--file", str(path), *options])


def read(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_file_has_what_compose_needs_and_nothing_that_it_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    assert init(path).exit_code == 0
    made = read(path)
    needed = set(re.findall(r"\$\{([A-Z_]+):\?", COMPOSE_FILE))
    assert needed <= made.keys()
    assert made.keys() <= example().keys()
    assert mode(path) == 0o600
    assert made["STRIPE_SECRET_KEY"] == made["SANDBOX_SECRET_KEY"]
    assert made["STRIPE_WEBHOOK_SECRETS"] == made["SANDBOX_WEBHOOK_SECRET"]


def test_every_secret_is_new_and_cannot_be_guessed(tmp_path: Path) -> None:
    one, other = settings(), settings()
    secrets = one.keys() - SANDBOXS_OWN
    assert not [name for name in secrets if one[name] == other[name]]
    assert min(len(one[name]) for name in secrets) >= 40
    # A password is part of a URL and of a line of Redis' users.
    assert all(re.fullmatch("[0-9a-f]+", one[name]) for name in secrets if name.endswith("_PASSWORD"))


def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("AUTH_JWT_SECRETS=mine\n")
    refused = init(path)
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (1, 1)
    assert "--force" in refused.stderr
    assert path.read_text() == "AUTH_JWT_SECRETS=mine\n"


def test_with_force_the_old_file_is_kept_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("AUTH_JWT_SECRETS=mine\n")
    for _ in range(2):
        assert init(path, "--force").exit_code == 0
    kept = sorted(tmp_path.glob(".env.*"))
    assert kept[0].read_text() == "AUTH_JWT_SECRETS=mine\n"
    assert len(kept) == 2
    assert {mode(file) for file in (path, *kept)} == {0o600}
    assert read(path)["AUTH_JWT_SECRETS"] != "mine"


def test_missing_settings_are_added_and_the_others_stay(tmp_path: Path) -> None:
    """As after an upgrade: Stripe's keys are those of an account, and the sandbox's do not replace them; a secret
    under its former name is in use, and no new one ends its tokens."""
    path = tmp_path / ".env"
    before = "POSTGRES_PASSWORD=old  # of the volume\nexport AUTH_JWT_SECRET=mine\nSTRIPE_SECRET_KEY=sk_test_mine\n"
    path.write_text(before)
    path.chmod(0o644)
    added = init(path, "--missing")
    assert added.exit_code == 0
    assert path.read_text().startswith(before)
    now = read(path)
    assert {"POSTGRES_BOOKING_PASSWORD", "REDIS_GATEWAY_PASSWORD", "SANDBOX_CONTROL_KEY"} <= now.keys()
    assert not now.keys() & {"STRIPE_API_BASE", "STRIPE_WEBHOOK_SECRETS", "COMPOSE_PROFILES", "AUTH_JWT_SECRETS"}
    assert not [value for name, value in now.items() if name.endswith("_PASSWORD") and value in added.stdout]
    assert mode(path) == 0o600
    (kept,) = tmp_path.glob(".env.*")
    assert kept.read_text() == before
    again = init(path, "--missing")
    assert (again.exit_code, "lacks nothing" in again.stdout) == (0, True)


def test_it_can_be_printed_for_where_no_file_can_be_written() -> None:
    printed = runner.invoke(app, ["init", "--file", "-"])
    assert printed.exit_code == 0
    assert "REDIS_PASSWORD=" in printed.stdout


def test_a_folder_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    refused = init(tmp_path / "nowhere" / ".env")
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (1, 1)


@pytest.mark.parametrize("what", ["redis", "booking"])
def test_addresses_of_the_local_stack_are_said_on_request(what: str, tmp_path: Path) -> None:
    given = {
        "REDIS_URL": "redis://:a@127.0.0.1:1/0",
        "BOOKING_DATABASE_URL": "postgresql://booking:b@127.0.0.1:2/booking",
        "PAYMENT_DATABASE_URL": "postgresql://payment:c@127.0.0.1:2/payment",
        "STRIPE_SECRET_KEY": "sk_test_d",
    }
    said = runner.invoke(app, ["url", what, "--data", str(tmp_path)], env=given)
    assert said.stdout.strip() == {"redis": given["REDIS_URL"], "booking": given["BOOKING_DATABASE_URL"]}[what]
