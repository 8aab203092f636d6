"""What a page loads from elsewhere is found, whatever it is loaded by; links may lead anywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from website.hosts import complaints

ROOT = Path(__file__).parents[2]
ELSEWHERE = "comes from another host"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a start page and what pages may load."""
    for name in ("index.html", "style.css", "a picture.svg", "search.js"):
        (tmp_path / name).write_text("")
    (tmp_path / "docs").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/mermaid.js"></script>',
        '<script src="//cdn.example/mermaid.js"></script>',
        '<link rel="stylesheet" href="https://fonts.example/css">',
        '<link rel="preconnect" href="https://fonts.example">',
        '<link rel="shortcut icon" href="https://cdn.example/icon.png">',
        '<img src="https://badges.example/ci.svg" alt="CI">',
        '<img alt="" srcset="search.js 1x, https://cdn.example/large.png 2x">',
        '<iframe src="http://video.example"></iframe>',
        '<style>@import "https://fonts.example/css";</style>',
        "<style>@font-face { src: local(Fira), url('https://cdn.example/fira.woff2') }</style>",
        '<div style="background: url(https://cdn.example/paper.png)"></div>',
        '<svg><image href="https://cdn.example/picture.png"/></svg>',
        '<svg><use xlink:href="https://cdn.example/icons.svg#moon"/></svg>',
    ],
)
def test_loads_from_another_host_are_found(site: Path, html: str) -> None:
    (site / "page.html").write_text(html)
    (found,) = complaints(site)
    assert found.startswith("page.html: ")
    assert found.endswith(ELSEWHERE)


@pytest.mark.parametrize(
    "html",
    [
        '<a href="https://docs.stripe.com/testing">Stripe</a>',
        '<link rel="canonical" href="https://holdfast.example/">',
        '<link rel="stylesheet" href="../style.css?v=1a2b">',
        '<img src="../a%20picture.svg" alt="">',
        '<img src="data:image/png;base64,AAAA" alt="">',
        '<svg><use href="#moon"/></svg>',
        "<style>/* as on https://cdn.example, url(https://cdn.example) */ p { color: red }</style>",
        "<p>@import 'https://cdn.example', url(https://cdn.example)</p>",
    ],
)
def test_links_and_files_in_the_folder_are_accepted(site: Path, html: str) -> None:
    (site / "docs" / "page.html").write_text(html)
    assert complaints(site) == []


@pytest.mark.parametrize(
    ("address", "wrong"),
    [("/style.css", "is not relative"), ("old.css", "is not there"), ("docs", "is not there")],
)
def test_paths_that_a_page_opened_as_a_file_lacks_are_found(site: Path, address: str, wrong: str) -> None:
    (site / "page.html").write_text(f'<link rel="stylesheet" href="{address}">')
    (found,) = complaints(site)
    assert wrong in found


def test_a_file_to_download_is_no_page(site: Path) -> None:
    (site / "_downloads" / "1").mkdir(parents=True)
    (site / "_downloads" / "1" / "page.html").write_text('<script src="https://js.example/v3/"></script>')
    assert complaints(site) == []


@pytest.mark.parametrize("name", ["theme.css", "picture.svg"])
def test_style_sheets_and_pictures_are_checked_too(site: Path, name: str) -> None:
    css = 'p { src: url("https://cdn.example/fira.woff") }'
    (site / name).write_text(css if name.endswith("css") else f"<svg><style>{css}</style></svg>")
    assert complaints(site) == [f"{name}: https://cdn.example/fira.woff {ELSEWHERE}"]


def test_the_command_fails_for_a_page_that_loads_from_elsewhere_and_for_no_site(site: Path) -> None:
    def code(folder: Path) -> int:
        command = [sys.executable, "-m", "website.hosts", str(folder)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode

    assert code(site) == 0
    assert code(site / "docs") == 1
    (site / "index.html").write_text('<script src="https://cdn.example/mermaid.js"></script>')
    assert code(site) == 1
