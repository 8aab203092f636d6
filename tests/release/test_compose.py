"""compose.yaml, the Dockerfile and .env.example agree with the Compose specification, the code and one another."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from booking.settings import BookingSettings
from common.runtime.settings import ProcessSettings
from gateway.settings import GatewaySettings
from payment.settings import PaymentSettings
from sandbox.settings import Settings as SandboxSettings

ROOT = Path(__file__).parent.parent.parent
COMPOSE_FILE = (ROOT / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SETTINGS: dict[str, type[BaseSettings]] = {
    "booking": BookingSettings,
    "payment": PaymentSettings,
    "gateway": GatewaySettings,
    "sandbox": SandboxSettings,
}
OURS = [*SETTINGS, "migrate", "ops"]
# A container has no use for these: it has its own name and address.
LEFT_ALONE = {"REUSE_PORT", "INSTANCE"}
# Variables that compose itself reads, not a process.
COMPOSE_ONLY = {
    *("POSTGRES_PASSWORD", "POSTGRES_BOOKING_PASSWORD", "POSTGRES_PAYMENT_PASSWORD"),
    *("REDIS_PASSWORD", "REDIS_GATEWAY_PASSWORD", "REDIS_BOOKING_PASSWORD", "REDIS_PAYMENT_PASSWORD"),
    *("GATEWAY_REDIS_URL", "BOOKING_REDIS_URL", "PAYMENT_REDIS_URL", "OPERATOR_REDIS_URL"),
    *("COMPOSE_PROFILES", "HOLDFAST_VERSION", "SANDBOX_LOG_LEVEL"),
    *("GATEWAY_PORT", "PAYMENT_PORT", "SANDBOX_PORT", "PAYMENT_ADDRESS", "SANDBOX_ADDRESS"),
}


@cache
def example() -> dict[str, tuple[str, bool]]:
    """The value of each variable in .env.example, and whether its line is commented out (a default)."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    found = [match for line in lines if (match := re.fullmatch(r"(# )?([A-Z][A-Z0-9_]*)=(.*)", line))]
    return {match[2]: (match[3], match[1] is not None) for match in found}


def fields() -> list[tuple[str, str, FieldInfo]]:
    return [
        (service, name.upper(), field)
        for service, kind in SETTINGS.items()
        for name, field in kind.model_fields.items()
    ]


def renamed(service: str) -> set[str]:
    """The former names of the service's settings, which its process reads for one release."""
    kind = SETTINGS[service]
    return {name.upper() for name in kind.RENAMED} if issubclass(kind, ProcessSettings) else set()


def pins(lock: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9._-]+==[^ ]+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_compose_file_follows_the_specification() -> None:
    """Checked with the specification's own JSON schema, from the package check-jsonschema."""
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_interpolated_variable_is_documented() -> None:
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", COMPOSE_FILE))
    assert used <= example().keys()


@pytest.mark.parametrize("service", SETTINGS)
def test_every_setting_reaches_its_container(service: str) -> None:
    read = {name for of, name, _ in fields() if of == service}
    assert read
    assert read - SERVICES[service]["environment"].keys() - set(LEFT_ALONE) == set()


@pytest.mark.parametrize("service", SETTINGS)
def test_a_setting_reaches_its_container_under_its_former_name_too(service: str) -> None:
    assert renamed(service) <= SERVICES[service]["environment"].keys()
    assert not renamed(service) & example().keys()


def test_every_setting_is_documented() -> None:
    assert {name for _, name, _ in fields()} - example().keys() == set()


def test_nothing_is_documented_that_nobody_reads() -> None:
    assert set(example()) - {name for _, name, _ in fields()} - COMPOSE_ONLY == set()


@pytest.mark.parametrize("service", SETTINGS)
def test_no_container_gets_what_its_process_does_not_read(service: str) -> None:
    read = {name for of, name, _ in fields() if of == service} | renamed(service)
    assert SERVICES[service]["environment"].keys() - read == set()


def documented(field: FieldInfo) -> str:
    default = field.default
    if default in (None, PydanticUndefined):  # required, or made by a function
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return ",".join(default) if isinstance(default, tuple) else str(default).removesuffix(".0")


# Compose chooses the sandbox's file and log level itself, and each process has its own port.
def test_defaults_are_documented_as_they_are() -> None:
    for name in sorted({name for _, name, _ in fields()} - {"PORT", "SANDBOX_LEDGER"}):
        value, commented_out = example()[name]
        defaults = {
            documented(field)
            for of, one, field in fields()
            if one == name and (of, one) != ("sandbox", "LOG_LEVEL")
        }
        assert not commented_out or value in defaults, name


def test_the_gateway_sees_no_secret_of_others() -> None:
    seen = SERVICES["gateway"]["environment"].keys()
    assert not [
        name for name in seen if name in {"STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRETS"} or "DATABASE" in name
    ]


def test_images_are_pinned_to_a_release() -> None:
    """To the last digit, so that nothing changes unless somebody changes it here."""
    others = {name: service["image"] for name, service in SERVICES.items() if name not in OURS}
    bases = set(re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert set(others) == {"postgres", "redis"}
    for image in (*others.values(), *bases):
        assert re.fullmatch(r"postgres:\d+\.\d+|redis:\d+\.\d+\.\d+|python:\d+\.\d+\.\d+-slim-\w+", image), image


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_limits_and_a_bounded_log(name: str) -> None:
    service = SERVICES[name]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}}


def test_redis_is_full_before_its_container_is() -> None:
    redis = SERVICES["redis"]
    options = dict(zip(redis["command"][1::2], redis["command"][2::2], strict=True))
    megabytes = int(options["--maxmemory"].removesuffix("mb"))
    assert int(redis["mem_limit"].removesuffix("m")) >= 1.5 * megabytes
    assert options["--maxmemory-policy"] == "noeviction"


def test_only_the_gateway_is_published_to_everybody() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"gateway", "payment", "sandbox"}
    for name in ("payment", "sandbox"):
        (port,) = published[name]
        assert port.startswith(f"${{{name.upper()}_ADDRESS:-127.0.0.1}}:")


def test_what_keeps_data_has_no_way_out() -> None:
    """The actors have one: to Stripe, identity providers, mail servers and receivers of webhooks."""
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert COMPOSE["networks"]["back"]["internal"] is True
    inside = {name for name, joined in networks.items() if joined == {"back"}}
    assert inside == {"postgres", "redis", "migrate"}
    assert networks["sandbox"] == {"front"}
    assert all(networks[name] == {"front", "back"} for name in ("gateway", "booking", "payment", "ops"))


@pytest.mark.parametrize("name", ["gateway", "booking", "payment"])
def test_the_admin_port_is_not_published(name: str) -> None:
    service = SERVICES[name]
    admin = service["environment"]["ADMIN_PORT"]
    assert service["environment"]["ADMIN_HOST"] is None  # from .env; without it the process' default, loopback
    assert admin != service["environment"]["PORT"]
    assert not [port for port in service.get("ports", ()) if str(admin) in port]


@pytest.mark.parametrize("name", ["gateway", "booking", "payment"])
def test_each_actor_is_a_user_of_its_own(name: str) -> None:
    """No process gets another's password, nor that of an operator."""
    seen = yaml.safe_dump(SERVICES[name]["environment"])
    passwords = set(re.findall(r"[A-Z]+_(?:[A-Z]+_)?PASSWORD", seen))
    own = {f"REDIS_{name.upper()}_PASSWORD", f"POSTGRES_{name.upper()}_PASSWORD"}
    assert passwords == own - ({"POSTGRES_GATEWAY_PASSWORD"} if name == "gateway" else set())


@pytest.mark.parametrize("name", OURS)
def test_our_containers_have_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert "privileged" not in service
    assert "user" not in service  # the image sets a user that is not root
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True


def test_the_image_does_not_run_as_root() -> None:
    users = re.findall(r"^USER (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert users == ["holdfast"]


def test_every_service_that_stays_is_looked_after() -> None:
    for name, service in SERVICES.items():
        stays = service["restart"] != "no"
        assert stays == ("healthcheck" in service), name


@pytest.mark.parametrize("name", SETTINGS)
def test_health_checks_ask_the_port_that_the_process_listens_on(name: str) -> None:
    port = SERVICES[name]["environment"]["PORT"]
    assert f"http://127.0.0.1:{port}/" in SERVICES[name]["healthcheck"]["test"][-1]
    assert all(published.endswith(f":{port}") for published in SERVICES[name].get("ports", []))


def test_waiting_conditions_can_come_true() -> None:
    for service in SERVICES.values():
        for other, wait in service.get("depends_on", {}).items():
            looked_after = "healthcheck" in SERVICES[other]
            assert wait["condition"] == ("service_healthy" if looked_after else "service_completed_successfully")
            assert "profiles" not in SERVICES[other]


@pytest.mark.parametrize("name", ["booking", "payment", "gateway"])
def test_containers_may_take_as_long_to_stop_as_their_process(name: str) -> None:
    limits = ProcessSettings()
    grace = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    assert grace >= limits.drain_seconds + limits.shutdown_seconds + 15


def test_the_image_is_installed_as_make_installs() -> None:
    makefile, dockerfile = (ROOT / "Makefile").read_text(), (ROOT / "Dockerfile").read_text()
    step = re.search(r"^INSTALL_LOCKED := (.+)$", makefile, re.MULTILINE)
    assert step is not None
    assert (
        f".venv/bin/python -m pip --disable-pip-version-check --quiet {step[1]} requirements.prod.lock"
        in dockerfile
    )
    assert "-m venv .venv" in makefile
    assert "-m venv .venv" in dockerfile


def test_the_image_has_what_was_tested() -> None:
    """The image's lock is a part of the whole lock, with the same versions."""
    assert pins("requirements.prod.lock") < pins("requirements.lock")


def test_the_image_has_every_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = [name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]]
    dockerfile = (ROOT / "Dockerfile").read_text()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert [
        name for name in packages if f"COPY {name} {name}\n" not in dockerfile or f"!{name}" not in ignored
    ] == []


def test_the_image_can_import_all_that_it_runs() -> None:
    """No process imports a package that only the local stack and the tests install."""
    script = """
import sys
from importlib.metadata import packages_distributions
allowed = set(sys.argv[1:])
normal = lambda name: name.lower().replace("_", "-")
absent = {
    module for module, owners in packages_distributions().items()
    if not any(normal(owner) in allowed or normal(owner) == "holdfast" for owner in owners)
}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)
sys.meta_path.insert(0, Refuse())
import booking.app, gateway.app, ops.cli, payment.app, sandbox.app
"""
    names = [pin.partition("==")[0] for pin in pins("requirements.prod.lock")]
    done = subprocess.run(
        [sys.executable, "-c", script, *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
