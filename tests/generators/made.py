"""Makes clients from an OpenAPI document, and runs them."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.generators.install import Missing, node_modules, python, required
from tests.generators.npm import FOLDER, HERE

Json = dict[str, Any]


def or_skip(missing: Missing) -> None:
    """Skips the test, or fails it where the tools have to be there."""
    if required():
        pytest.fail(str(missing))
    pytest.skip(f"the generators cannot be installed: {missing}")


async def ran(*command: object, folder: Path) -> str:
    """What the command printed, errors included; it must have gone well."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *map(str, command), cwd=folder, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    return said


class Workshop:
    """A folder with the document, the programs of `clients/`, and the clients that are made there."""

    def __init__(self, folder: Path, document: Json) -> None:
        """Raises Missing."""
        self.folder = folder
        self.document = document
        self._modules, self._python = node_modules(), python()
        shutil.copytree(HERE / "clients", folder, dirs_exist_ok=True)
        (folder / FOLDER).symlink_to(self._modules)
        (folder / "package.json").write_text('{"type": "module"}')
        (folder / "python.yaml").write_text("post_hooks: []\n")
        (folder / "openapi.json").write_text(json.dumps(document))

    async def node(self, program: str, *arguments: object) -> str:
        """Run a program of an npm package."""
        return await ran("node", self._modules / program, *arguments, folder=self.folder)

    async def make_python(self) -> str:
        """By openapi-python-client: the package `holdfast_client`. Returns what it printed."""
        options = ("--meta", "none", "--config", "python.yaml", "--output-path", "holdfast_client")
        return await ran(
            self._python, "-m", "openapi_python_client", "generate", "--path", "openapi.json", *options,
            folder=self.folder,
        )  # fmt: skip

    async def make_typescript(self) -> None:
        """By openapi-typescript and @hey-api/openapi-ts; compiled with their programs under `tsc --strict`."""
        await asyncio.gather(
            self.node("openapi-typescript/bin/cli.js", "openapi.json", "-o", "schema.ts"),
            self.node("@hey-api/openapi-ts/bin/run.js", "-f", "hey.config.mjs", "--no-log-file"),
        )
        await self.node("typescript/bin/tsc", "-p", ".")

    @asynccontextmanager
    async def buying(self, program: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A program that buys a ticket, from its start to its end. Its output is read line by line."""
        command = (self._python, program) if program.endswith(".py") else ("node", Path("out", program))
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *map(str, command), *arguments, cwd=self.folder, stdin=pipe, stdout=pipe, stderr=pipe
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def printed(process: asyncio.subprocess.Process) -> Json:
    """The next line of the program's output, which is JSON."""
    assert process.stdout is not None
    assert process.stderr is not None
    line = await process.stdout.readline()
    if not line:
        pytest.fail((await process.stderr.read()).decode())
    found: Json = json.loads(line)
    return found
