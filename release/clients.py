"""`python -m release.clients FOLDER`: packs the clients into the folder, with the version of pyproject.toml: an npm
package of `clients/js` and a wheel of `clients/python`. Needs npm, pip and setuptools."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from release.check import ROOT

CLIENTS = ROOT / "clients"
# The version in the checkout, where no client is released.
NO_RELEASE = "0.0.0"
LEFT_OUT = shutil.ignore_patterns("__pycache__", "build", "*.egg-info", "node_modules")


class Failed(Exception):
    """A client cannot be packed: the text says why."""


def copied(name: str, folder: Path) -> Path:
    """A copy of the client's folder, with the licence."""
    copy = folder / name
    shutil.copytree(CLIENTS / name, copy, ignore=LEFT_OUT)
    shutil.copy(ROOT / "LICENSE", copy)
    return copy


def pack_js(copy: Path, version: str, target: Path) -> None:
    """Raises Failed."""
    about = json.loads((copy / "package.json").read_text(encoding="utf-8"))
    (copy / "package.json").write_text(json.dumps(about | {"version": version}, indent=2) + "\n", encoding="utf-8")
    npm = shutil.which("npm")
    if npm is None:
        raise Failed("npm is not installed")
    run(npm, "--silent", "pack", "--ignore-scripts", "--pack-destination", str(target), folder=copy)


def pack_python(copy: Path, version: str, target: Path) -> None:
    """Raises Failed."""
    project = copy / "pyproject.toml"
    text, count = re.subn(
        rf'^version = "{re.escape(NO_RELEASE)}"$', f'version = "{version}"', project.read_text(), flags=re.MULTILINE
    )
    if count != 1:
        raise Failed(f"{project} has no line with the version {NO_RELEASE}")
    project.write_text(text, encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(target), ".", folder=copy)


def run(*command: str, folder: Path) -> None:
    """Raises Failed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stderr[-1000:] or done.stdout[-1000:]}")


def main(arguments: list[str]) -> int:
    """The exit code: 0 when both are packed, 1 when one cannot be, 2 without a folder."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m release.clients FOLDER\n")
        return 2
    target = Path(arguments[0]).resolve()
    target.mkdir(parents=True, exist_ok=True)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    try:
        with tempfile.TemporaryDirectory() as folder:
            pack_js(copied("js", Path(folder)), version, target)
            pack_python(copied("python", Path(folder)), version, target)
    except Failed as reason:
        sys.stderr.write(f"{reason}\n")
        return 1
    for path in sorted(target.iterdir()):
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
