"""The forge's workflows and forms, the devcontainer and the commit hook are well-formed, and call what there is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import TOOLS

ROOT = Path(__file__).parents[2]
FORGE = ROOT / ".github"
WORKFLOWS = sorted(FORGE.glob("workflows/*.yml"))
FORMS = sorted(path for path in FORGE.glob("ISSUE_TEMPLATE/*.yml") if path.name != "config.yml")
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def load(path: str | Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / path).read_text())
    return loaded


def commands(workflow: dict[str, Any]) -> list[str]:
    """What the jobs run: their steps' commands, and those that a matrix names."""
    return [
        command
        for job in workflow["jobs"].values()
        for command in (
            *(step.get("run", "") for step in job["steps"]),
            *(one["command"] for one in job.get("strategy", {}).get("matrix", {}).get("include", ())),
        )
    ]


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("vendor.github-issue-forms", FORMS),
        ("vendor.github-issue-config", [FORGE / "ISSUE_TEMPLATE" / "config.yml"]),
    ],
)
def test_files_of_the_forge_follow_their_schemas(schema: str, files: list[Path]) -> None:
    """Checked with the schemas that the package check-jsonschema ships."""
    assert files
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ci_runs_on_the_oldest_python_that_is_supported_and_on_the_newest_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    supported = [
        name.rpartition(" ")[2]
        for name in project["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", name)
    ]
    pythons = load(".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert project["requires-python"] == f">={supported[0]}"
    assert pythons == [supported[0], supported[-1]]
    assert ".ci/run" in commands(load(".github/workflows/ci.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_targets_that_there_are_and_pin_actions(path: Path) -> None:
    workflow = load(path)
    called = {target for command in commands(workflow) for target in re.findall(r"\bmake ([a-z]+)", command)}
    assert called <= TARGETS
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"actions/[a-z-]+@v\d+", action)] == []
    assert workflow["permissions"] == {"contents": "read"}


def test_every_long_proof_runs_each_night() -> None:
    called = " ".join(commands(load(".github/workflows/nightly.yml")))
    assert {"simulate", "chaos", "races", "fuzz", "coverage"} <= set(re.findall(r"make ([a-z]+)", called))


def test_the_commit_hook_runs_what_ci_runs_first() -> None:
    hooks = [hook for repo in load(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert [hook["entry"] for hook in hooks] == ["make check"]
    assert "\nmake check\n" in (ROOT / ".ci" / "run").read_text()


def test_ci_runs_all_tests() -> None:
    """Those that `make test` leaves out are those that `make tools` runs."""
    makefile, ci = (ROOT / "Makefile").read_text(), (ROOT / ".ci" / "run").read_text()
    for target, chosen in (("test", '-m "not tools" $(ARGS)'), ("tools", "-m tools $(ARGS)")):
        assert re.search(rf"^{target}:.*\n\t@.venv/bin/python -m pytest .* {re.escape(chosen)}$", makefile, re.M)
        assert f"\nmake {target}\n" in ci


@pytest.mark.parametrize("place", TOOLS)
def test_tests_of_what_surrounds_holdfast_are_where_they_are_looked_for(place: str) -> None:
    path, _, name = place.partition("::")
    assert (ROOT / "tests" / path).exists()
    assert not name or f"def {name}(" in (ROOT / "tests" / path).read_text()


def test_the_devcontainer_sets_itself_up_by_the_one_command() -> None:
    folder = ROOT / ".devcontainer"
    text = re.sub(r"^\s*//.*$", "", (folder / "devcontainer.json").read_text(), flags=re.MULTILINE)
    container = json.loads(text)
    assert container["postCreateCommand"] == "make setup"
    assert (folder / container["build"]["dockerfile"]).exists()
    assert f"/bin/bash {container['remoteUser']}\n" in (folder / "Dockerfile").read_text()


def test_every_package_says_that_it_is_typed() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = [name.rstrip("*") for name in setuptools["packages"]["find"]["include"]]
    assert [name for name in packages if not (ROOT / name / "py.typed").exists()] == []
    assert "py.typed" in setuptools["package-data"]["*"]
