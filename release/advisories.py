"""`python -m release.advisories`: whether a locked dependency has a known vulnerability, by pip-audit and the
database of https://osv.dev. Where that cannot be reached, one line says so: a check without the internet passes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from threading import Thread
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parent.parent
SOURCE = "https://api.osv.dev/v1/query"
# Asked first, so that nobody waits long without a network.
PROBE = json.dumps({"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "25.0"}).encode()
PROBE_SECONDS = 3.0
# One question for each dependency, of which there are about a hundred.
AUDIT_SECONDS = 180.0
# The same lock is asked about once in this time: new advisories come by the day, commits by the minute.
FRESH_SECONDS = 86_400.0
FRESH = Path(".venv/advisories")


def reachable(source: str) -> bool:
    """Whether the database answers, within PROBE_SECONDS also where looking up its name hangs."""
    answers: list[bool] = []

    def ask() -> None:
        request = Request(source, PROBE, {"Content-Type": "application/json"})  # noqa: S310  https, or a test's own
        try:
            with urlopen(request, timeout=PROBE_SECONDS) as answer:  # noqa: S310
                answers.append(isinstance(json.load(answer), dict))
        except (OSError, ValueError):
            return

    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PROBE_SECONDS)
    return answers == [True]


def ask(source: str, lock: Path, ignored: list[str]) -> list[str]:
    """A line for each vulnerability that is known of what `lock` has, but for those that are `ignored`. Raises
    RuntimeError when not everything could be asked."""
    command = [
        *(sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--disable-pip", "--require-hashes"),
        *("--vulnerability-service", "osv", "--osv-url", source),
        *("--format", "json", "--desc", "off", "--progress-spinner", "off"),
        *(part for id in ignored for part in ("--ignore-vuln", id)),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=AUDIT_SECONDS)
        found = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no result within {AUDIT_SECONDS:.0f} s") from None
    except (ValueError, KeyError):
        raise RuntimeError((done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]) from None
    return [
        f"{each['name']} {each['version']}: {vulnerability['id']}, mended in "
        f"{', '.join(vulnerability['fix_versions']) or 'no release yet'}"
        for each in found
        for vulnerability in each.get("vulns", ())
    ]


def main(source: str = SOURCE, root: Path = ROOT) -> int:
    """The exit code: 1 when something is known, or when the question failed half way."""
    lock, fresh = root / "requirements.lock", root / FRESH
    if fresh.exists() and fresh.stat().st_mtime > max(lock.stat().st_mtime, time.time() - FRESH_SECONDS):
        print("advisories: none, as of today")
        return 0
    if not reachable(source):
        print(f"advisories: not checked, {source} cannot be reached")
        return 0
    holdfast = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["holdfast"]
    try:
        lines = ask(source, lock, holdfast["ignored-advisories"])
    except RuntimeError as error:
        print(f"advisories: not checked: {error}", file=sys.stderr)
        return 1
    for line in lines:
        print(f"advisories: {line}", file=sys.stderr)
    if lines:
        return 1
    print("advisories: none")
    if fresh.parent.exists():
        fresh.touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
