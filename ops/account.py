"""The account that PostgreSQL runs as when Holdfast is started by root, and where that account can reach its files.

PostgreSQL refuses to run as root. So root runs it as `postgres`, or as `nobody` if there is no such account. That
account must reach its program and its data. It cannot reach a checkout under a 0700 folder (/root, a temporary
folder), and Holdfast must not open such a folder to everybody. So what the account cannot reach is kept under
/var/lib/holdfast, where only root can write. A user namespace would need neither, but containers often forbid
making one.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ops.errors import StartError

CANDIDATES = ("postgres", "nobody")
STATE = Path("/var/lib/holdfast")


@dataclass(frozen=True)
class Account:
    """An account without privileges."""

    name: str
    uid: int
    gid: int

    def reaches(self, folder: Path) -> bool:
        """Whether this account can enter `folder`: the kernel decides, so that access control lists count, too."""
        return self._can(["test", "-x", str(folder)])

    def executes(self, program: Path) -> bool:
        return self._can([str(program), "--version"])

    def _can(self, command: list[str]) -> bool:
        try:
            done = subprocess.run(
                command, user=self.uid, group=self.gid, extra_groups=[], cwd="/", capture_output=True, check=False
            )
        except PermissionError:
            return False
        return done.returncode == 0


def server_account(cluster: Path) -> Account | None:
    """The account that runs PostgreSQL on `cluster`; None for our own, when we are not root.

    An existing cluster keeps its owner. Raises StartError when no account fits.
    """
    if os.geteuid() != 0:
        return None
    if cluster.exists():
        entry = pwd.getpwuid(cluster.stat().st_uid)
    else:
        known = {entry.pw_name: entry for entry in pwd.getpwall()}
        found = next((known[name] for name in CANDIDATES if name in known), None)
        if found is None:
            raise StartError(
                f"PostgreSQL refuses to run as root, and there is no account {' or '.join(CANDIDATES)}"
            )
        entry = found
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def private_folder() -> Path:
    """A new folder that every account can enter and only root can write to."""
    folder = STATE / secrets.token_hex(8)
    _open_folder(STATE)
    _open_folder(folder)
    return folder


def reachable_copy(source: Path, version: str, parts: list[str]) -> Path:
    """A copy of `parts` of `source` that every account can read; made once for each `version`."""
    copy = STATE / f"postgresql-{version}"
    if not copy.exists():
        draft = private_folder()
        for part in parts:
            shutil.copytree(source / part, draft / part, ignore=shutil.ignore_patterns("include", "*.a"))
        for path in draft.rglob("*"):
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        try:
            draft.rename(copy)
        except OSError:
            if not copy.exists():
                raise
            shutil.rmtree(draft)  # another start was faster
    return copy


def _open_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)
