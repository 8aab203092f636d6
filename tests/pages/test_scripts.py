"""The scripts of the pages, without a browser: their types, as tsc reads them in the comments."""

from __future__ import annotations

from gateway.page_files import FOLDER
from sandbox.pages import SCRIPT
from tests.clients.declarations import check
from tests.generators.install import Missing
from tests.generators.made import or_skip


def test_types_are_right_under_strict_checks() -> None:
    try:
        check(*(path for path in FOLDER.glob("*.js") if not path.is_symlink()), SCRIPT)
    except Missing as missing:
        or_skip(missing)
