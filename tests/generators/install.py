"""Installs the tools once for each version of their lists, into `.venv/generators/`."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

from tests.generators.npm import FOLDER, HERE, LIST, Missing, install, listed

__all__ = ["Missing", "node_modules", "python"]

CACHE = Path(sys.prefix) / "generators"
REQUIREMENTS = HERE / "python.txt"


def node_modules() -> Path:
    """The folder with npm's packages. Raises Missing."""
    return _once("node", LIST, lambda folder: install(listed(LIST.read_text()), folder / FOLDER)) / FOLDER


def python() -> Path:
    """An interpreter with Python's packages. Raises Missing."""
    return _once("python", REQUIREMENTS, _install_python) / "bin" / "python"


def _install_python(folder: Path) -> None:
    venv.create(folder, with_pip=True, symlinks=True)
    command = (folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet", "install")
    done = subprocess.run(
        [*command, "--require-hashes", "-r", REQUIREMENTS], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Missing(f"pip failed: {done.stderr[-500:]}")


def _once(name: str, source: Path, make: Callable[[Path], None]) -> Path:
    """The folder that `make` fills from the list `source`; only one process does, and only where it is new."""
    digest = hashlib.sha256(source.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = CACHE / f"{name}-{digest}"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            for old in CACHE.glob(f"{name}-*"):
                shutil.rmtree(old)
            try:
                make(folder)
            except (OSError, subprocess.CalledProcessError) as error:
                raise Missing(f"{name}: {error}") from error
            (folder / "complete").touch()
    return folder


def required() -> bool:
    """Whether a tool that cannot be installed fails a test, instead of skipping it."""
    return os.environ.get("HOLDFAST_GENERATORS") == "required"
