"""What `make clients` packs: an npm package and a wheel of Holdfast's version, whole and without anything else."""

from __future__ import annotations

import json
import re
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from release import clients
from release.check import ROOT
from tests.clients.node import needs_node
from tests.generators.made import ran

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(scope="module")
async def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    await needs_node()
    folder = tmp_path_factory.mktemp("packed")
    assert clients.main([str(folder)]) == 0
    return folder


async def test_the_npm_package_has_the_module_its_types_and_the_version(packed: Path) -> None:
    with tarfile.open(packed / f"holdfast-client-{VERSION}.tgz") as archive:
        names = {name.removeprefix("package/") for name in archive.getnames()}
        about = json.loads(archive.extractfile("package/package.json").read())  # type: ignore[union-attr]
        module = archive.extractfile("package/holdfast.js").read()  # type: ignore[union-attr]
    assert names == {
        "LICENSE", "README.md", "package.json", "holdfast.js", "holdfast.d.ts", "types.d.ts", "examples/buy.mjs",
        "examples/page.html", "examples/page.js",
    }  # fmt: skip
    assert (about["name"], about["version"], about["type"]) == ("@holdfast/client", VERSION, "module")
    assert not {"dependencies", "peerDependencies", "scripts"} & about.keys()
    targets = {path.removeprefix("./") for one in about["exports"].values() for path in one.values()}
    assert targets | {about["types"].removeprefix("./")} <= names
    assert module == (ROOT / "gateway" / "assets" / "holdfast.js").read_bytes()  # what gateways serve


async def test_the_wheel_has_the_package_its_types_and_the_version(packed: Path) -> None:
    path = packed / f"holdfast_client-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        information = f"holdfast_client-{VERSION}.dist-info"
        about = message_from_string(archive.read(f"{information}/METADATA").decode())
        archive.extractall(packed / "there")
    sources = {file.name for file in (ROOT / "clients" / "python" / "holdfast_client").iterdir() if file.is_file()}
    assert {name for name in names if not name.startswith(information)} == {
        f"holdfast_client/{name}" for name in sources
    }
    assert "py.typed" in sources
    assert f"{information}/licenses/LICENSE" in names
    assert (about["Name"], about["Version"]) == ("holdfast-client", VERSION)
    assert [re.match(r"[\w-]+", each)[0] for each in about.get_all("Requires-Dist", [])] == ["aiohttp"]  # type: ignore[index]
    program = "import holdfast_client; print(holdfast_client.__file__)"
    said = await ran(sys.executable, "-c", program, folder=packed / "there")
    assert said.startswith(str(packed / "there"))


def test_the_version_stands_in_one_place() -> None:
    package = json.loads((ROOT / "clients" / "js" / "package.json").read_text())
    project = tomllib.loads((ROOT / "clients" / "python" / "pyproject.toml").read_text())["project"]
    assert package["version"] == project["version"] == clients.NO_RELEASE


def test_what_cannot_be_packed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clients.main([]) == 2
    monkeypatch.setenv("PATH", str(tmp_path))
    assert clients.main([str(tmp_path)]) == 1
    assert "npm is not installed" in capsys.readouterr().err
