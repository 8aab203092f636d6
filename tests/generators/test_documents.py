"""The documents of the interfaces, judged by what others have made: Redocly's linter and AsyncAPI's own schema."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from documents.sources import ROOT
from gateway import asyncapi, openapi
from gateway.routes import GUESTS, PROCESS, ROUTES
from tests.generators.install import Missing, node_modules
from tests.generators.made import or_skip, ran
from tests.generators.npm import HERE, LIST, TOOLS, install, listed
from tests.generators.npm import Missing as Refused

Json = dict[str, Any]


@pytest.fixture(scope="module")
def modules() -> Path:
    try:
        return node_modules()
    except Missing as missing:
        or_skip(missing)
        raise


# --- OpenAPI ------------------------------------------------------------------------------------------------


async def findings(modules: Path, folder: Path, document: Json) -> list[Json]:
    path = folder / "openapi.json"
    path.write_text(json.dumps(document))
    said = await ran("node", HERE / "lint.mjs", modules, path, HERE / "redocly.yaml", folder=folder)
    found: list[Json] = json.loads(said)
    return found


async def test_the_linter_finds_nothing(modules: Path, tmp_path: Path) -> None:
    document = openapi.document((*GUESTS, *ROUTES, *PROCESS))
    assert await findings(modules, tmp_path, document) == []


async def test_the_linter_finds_what_is_wrong(modules: Path, tmp_path: Path) -> None:
    document = copy.deepcopy(openapi.document((*GUESTS, *ROUTES, *PROCESS)))
    del document["info"]["license"]
    del document["paths"]["/events"]["get"]["security"]
    document["components"]["schemas"]["Booking"]["properties"]["kind"] = {"type": "text"}
    rules = {each["ruleId"] for each in await findings(modules, tmp_path, document)}
    assert {"info-license", "security-defined", "struct"} <= rules


# --- AsyncAPI -----------------------------------------------------------------------------------------------


def streams() -> Json:
    found: Json = json.loads((ROOT / "docs/asyncapi.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def official(modules: Path) -> Draft7Validator:
    return Draft7Validator(json.loads((modules / "@asyncapi/specs/schemas/3.0.0.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("made", [asyncapi.document, streams])
def test_the_documents_are_valid_by_asyncapis_schema(official: Draft7Validator, made: Callable[[], Json]) -> None:
    document = made()
    assert [error.message for error in official.iter_errors(document)] == []
    text = json.dumps(document)
    for reference in {part.partition('"')[0] for part in text.split('"$ref": "#/')[1:]}:
        found: Any = document
        for step in reference.split("/"):
            found = found[step]
        assert found


@pytest.mark.parametrize("made", [asyncapi.document, streams])
def test_a_wrong_document_is_not_valid(official: Draft7Validator, made: Callable[[], Json]) -> None:
    document = copy.deepcopy(made())
    next(iter(document["operations"].values()))["action"] = "listen"
    assert not official.is_valid(document)


# --- the list -----------------------------------------------------------------------------------------------


def test_the_list_has_the_tools_with_their_hashes() -> None:
    packages = listed(LIST.read_text())
    assert TOOLS.items() <= {package.name: package.version for package in packages if not package.under}.items()
    assert all(package.integrity.startswith("sha512-") for package in packages)
    assert len({package.path for package in packages}) == len(packages)


def test_a_package_with_another_hash_is_refused(modules: Path, tmp_path: Path) -> None:
    (package,) = [each for each in listed(LIST.read_text()) if each.name == "openapi-fetch"]
    with pytest.raises(Refused, match="openapi-fetch"):
        install([package._replace(integrity=package.integrity.replace("sha512-", "sha512-A"))], tmp_path)
    assert list(tmp_path.iterdir()) == []
