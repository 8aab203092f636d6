"""Tools that cannot be installed skip their tests with a reason, and fail them where they have to be there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.generators import install
from tests.generators.install import Missing, node_modules
from tests.generators.made import or_skip
from tests.generators.npm import Package, listed


@pytest.fixture
def missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Missing:
    monkeypatch.setattr(install, "CACHE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match=r"Node\.js") as raised:
        node_modules()
    return raised.value


def test_without_nodejs_a_test_is_skipped_with_the_reason(
    missing: Missing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOLDFAST_GENERATORS", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"Node\.js or npm is not installed"):
        or_skip(missing)


def test_where_the_tools_have_to_be_there_it_fails(missing: Missing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_GENERATORS", "required")
    with pytest.raises(pytest.fail.Exception, match=r"Node\.js or npm is not installed"):
        or_skip(missing)


def test_a_line_of_the_list_is_a_package() -> None:
    text = "# made by\n@scope/name@1.2.3 sha512-a\nname@4.5.6 sha512-b @scope/name\n"
    above, below = listed(text)
    assert (above, above.path) == (Package("@scope/name", "1.2.3", "sha512-a"), "@scope/name")
    assert (below.spec, below.path) == ("name@4.5.6", "@scope/name/node_modules/name")
