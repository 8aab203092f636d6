"""The list of npm's packages: name, version and hash of each, and under which other package it lies.

npm itself has no list without addresses of a registry. It fetches what is in this list from the registry that is
set on the machine; then it is compared with its hash, and unpacked. Scripts of packages are not run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
LIST = HERE / "npm.txt"
# What is used by name; everything else in the list is used by these.
TOOLS = {
    "@asyncapi/specs": "6.11.1",
    "@hey-api/openapi-ts": "0.99.0",
    "@redocly/openapi-core": "2.14.0",
    "openapi-fetch": "0.17.0",
    "openapi-typescript": "7.13.0",
    "typescript": "5.9.3",
}
HEAD = """\
# Made by `make lock` from TOOLS in npm.py: name and version, the hash of the package, and the package in whose
# folder it lies where another version of it lies above.
"""
FOLDER = "node_modules"
NODE_MIN = 20


class Missing(Exception):
    """A tool cannot be installed; the message says why."""


class Package(NamedTuple):
    """`under`: the package in whose folder it lies; empty at the top."""

    name: str
    version: str
    integrity: str
    under: str = ""

    @property
    def spec(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def path(self) -> str:
        return f"{self.under}/{FOLDER}/{self.name}" if self.under else self.name


def listed(text: str) -> list[Package]:
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return [Package(*spec.rpartition("@")[::2], *rest) for spec, *rest in lines]


def install(packages: Sequence[Package], target: Path) -> None:
    """Put the packages into the folder `target`. Raises Missing."""
    with tempfile.TemporaryDirectory() as folder:
        specs = sorted({package.spec for package in packages})
        run_npm("pack", "--json", "--pack-destination", folder, *specs, cwd=folder)
        found = {_integrity(path.read_bytes()): path for path in Path(folder).glob("*.tgz")}
        wrong = sorted(package.spec for package in packages if package.integrity not in found)
        if wrong:
            raise Missing(f"the registry has other packages than npm.txt: {', '.join(wrong)}")
        for package in packages:
            _unpack(found[package.integrity], target / package.path)


def _integrity(content: bytes) -> str:
    """As https://www.w3.org/TR/SRI/ has it."""
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"


def _unpack(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            member.name = member.name.partition("/")[2]  # its first folder, mostly called `package`
            if member.isfile() and member.name:
                tar.extract(member, target, filter="data")


def resolved() -> str:
    """The list, with what TOOLS need as the registry has it now. Raises Missing."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "package.json").write_text(json.dumps({"private": True, "dependencies": TOOLS}))
        run_npm("install", "--package-lock-only", "--no-audit", "--no-fund", cwd=folder)
        lock = json.loads((Path(folder) / "package-lock.json").read_text())
    lines = []
    for path, entry in sorted(lock["packages"].items()):
        if path:
            under, _, name = path.removeprefix(f"{FOLDER}/").rpartition(f"/{FOLDER}/")
            lines.append(" ".join(filter(None, (f"{name}@{entry['version']}", entry["integrity"], under))))
    return HEAD + "\n".join(lines) + "\n"


def run_npm(*arguments: str, cwd: str) -> None:
    """Run npm, without scripts of packages. Raises Missing."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise Missing("Node.js or npm is not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < NODE_MIN:
        raise Missing(f"Node.js {version.strip()} is too old: the tools need {NODE_MIN} or newer")
    command = [npm, "--silent", "--ignore-scripts", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"npm {arguments[0]} failed: {done.stderr[-500:] or done.stdout[-500:]}")
