"""The pictures of the pages, which `make pictures` takes: of each page, and those that the documents show."""

from __future__ import annotations

from gateway.page_views import PAGES
from tests.pages.__main__ import ROOT, SCENES, SHOWN
from tests.pages.gallery import BYTES_MAX, MOUNTED, STATES


def test_each_page_is_shown_in_some_state() -> None:
    assert set(STATES) == {page.path for page in PAGES}


def test_each_scene_has_a_name_of_its_own() -> None:
    assert len({scene.__name__ for scene in SCENES}) == len(SCENES)


def test_the_readme_shows_small_pictures() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in MOUNTED:
        picture = SHOWN / f"{name}.webp"
        assert f"({picture.relative_to(ROOT)})" in readme
        assert picture.stat().st_size < BYTES_MAX
