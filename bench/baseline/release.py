"""The release before, ready to run: its checkout and its environment, made once and kept in `.bench/`."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from bench.baseline import BASELINE, ROOT
from bench.errors import BenchError

# Not in the temporary folder: installing the environment takes a minute, and later runs use it again.
KEPT = ROOT / ".bench"
LOCK = "requirements.lock"
GIT_SECONDS = 60.0
INSTALL_SECONDS = 600.0


class Unavailable(BenchError):
    """The release before cannot be run here: the text says why."""


@dataclass(frozen=True)
class Release:
    """A checkout, and the interpreter of its environment. `environment` says in words which environment that is."""

    commit: str
    checkout: Path
    python: Path
    environment: str


async def prepared(commit: str = BASELINE, kept: Path = KEPT) -> Release:
    """The release of `commit`. Raises Unavailable without git history, or without its dependencies."""
    folder = kept / commit[:12]
    checkout = folder / "checkout"
    if not checkout.exists():
        await asyncio.to_thread(unpack, checkout, commit)
    python = folder / "venv" / "bin" / "python"
    stamp = folder / "installed"
    if stamp.exists():
        return Release(commit, checkout, python, "its own")
    try:
        await _install(folder / "venv", checkout / LOCK)
    except Unavailable:
        # The same libraries as here: the working folder comes before the installed packages on the path.
        if (checkout / LOCK).read_bytes() != (ROOT / LOCK).read_bytes():
            raise
        return Release(commit, checkout, Path(sys.executable), "this one, of the same locked versions")
    stamp.touch()
    return Release(commit, checkout, python, "its own")


def unpack(folder: Path, commit: str = BASELINE) -> Path:
    """The files of `commit` without its history, under `folder`; nothing of git is changed. Raises Unavailable."""
    try:
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=True, timeout=GIT_SECONDS
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"{commit} is not in the git history of this checkout: {error}") from None
    draft = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(draft, filter="data")
    return draft.rename(folder)  # only a finished checkout gets the name that is searched for


async def _install(venv: Path, lock: Path) -> None:
    """Uses the same interpreter as this one, so that only the code differs."""
    shutil.rmtree(venv, ignore_errors=True)
    await _run([sys.executable, "-m", "venv", str(venv)], INSTALL_SECONDS)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    await _run([*pip, "install", "--require-hashes", "-r", str(lock)], INSTALL_SECONDS)


async def _run(command: list[str], seconds: float) -> None:
    """Raises Unavailable if `command` fails, or takes longer than `seconds`."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(seconds):
            _, output = await process.communicate()
    except TimeoutError:
        raise Unavailable(f"{' '.join(command[:4])} took more than {seconds:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = output.decode(errors="replace").strip().splitlines()[-1:] or ["no output"]
        raise Unavailable(f"{' '.join(command[:4])}: {last[0]}")
