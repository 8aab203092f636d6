"""The environment of each process of the local stack: what it reads, and nothing else, as in compose.yaml."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from types import MappingProxyType

from pydantic_settings import BaseSettings

from booking.settings import BookingSettings
from gateway.settings import GatewaySettings
from payment.settings import PaymentSettings
from sandbox.settings import Settings as SandboxSettings

SETTINGS: Mapping[str, type[BaseSettings]] = MappingProxyType(
    {
        "gateway": GatewaySettings,
        "booking": BookingSettings,
        "payment": PaymentSettings,
        "sandbox": SandboxSettings,
    }
)
# By the former names of settings, which are read for one release, the names that they have now.
FORMER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        former.upper(): name.upper()
        for kind in (GatewaySettings, BookingSettings, PaymentSettings)
        for former, name in kind.RENAMED.items()
    }
)
# Where programs, libraries, certificates, time zones and temporary files are, the language, and what Python and the
# measurement of coverage are told.
SYSTEM = re.compile(
    "PATH|HOME|USER|LANG|LC_[A-Z]+|TZ|TZDIR|TMPDIR|LD_LIBRARY_PATH|SSL_CERT_FILE|SSL_CERT_DIR|"
    "PYTHON[A-Z]*|COVERAGE_[A-Z_]+"
)
# The stack sets these for each process.
OWN = frozenset({"PORT", "INSTANCE", "ADMIN_PORT"})


def environment_of(module: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Of `settings` those that `python -m` this module reads, and what every program needs."""
    kind = SETTINGS[module]
    former: Mapping[str, str] = getattr(kind, "RENAMED", {})  # read for one release; the sandbox has none
    names = {name.upper() for name in (*kind.model_fields, *former)} - OWN
    known = {name: value for name, value in settings.items() if name in names or SYSTEM.fullmatch(name)}
    return {"PATH": os.defpath} | known
