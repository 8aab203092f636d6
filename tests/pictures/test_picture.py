"""The README's picture is a whole SVG that loads nothing, and says nothing of the machine that it was made on."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pictures.__main__ import PICTURE, ROOT
from pictures.terminal import TEMPLATE, Terminal, shortened
from website.hosts import Page, complaint

SVG = "{http://www.w3.org/2000/svg}"


def text_of(svg: str) -> str:
    """What a reader sees, line by line, without the spaces at their beginning."""
    lines: dict[str, str] = {}
    for element in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        line = element.attrib["y"]
        lines[line] = lines.get(line, "") + (element.text or "").replace("\xa0", " ").strip("\n")
    return "\n".join(lines.values())


def loaded(svg: str, path: Path) -> list[str]:
    return [address for address in Page(svg).loads if not address.startswith("#") or complaint(path, address)]


@pytest.fixture(scope="module")
def picture() -> str:
    return PICTURE.read_text(encoding="utf-8")


def test_the_readme_shows_the_picture() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"]({PICTURE.relative_to(ROOT)})" in readme


def test_the_picture_shows_a_first_booking_to_its_end(picture: str) -> None:
    seen = text_of(picture)
    for part in ("make up", '"Idempotency-Key: my-first"', '201 {"id": "', "socket: ", "confirmed, payment paid"):
        assert part in seen
    assert (seen.count('"available": 200'), seen.count('"available": 198')) == (1, 1)


def test_the_picture_loads_nothing_and_needs_no_font_of_another_host(picture: str) -> None:
    assert loaded(picture, PICTURE) == []
    assert "@font-face" not in picture


def test_the_picture_has_the_usual_ports_and_no_path_of_a_machine(picture: str) -> None:
    seen = text_of(picture)
    assert set(re.findall(r"127\.0\.0\.1:(\d+)", seen)) == {"8080", "12111"}
    assert re.findall(r"(?<![\w.:/])/(?:tmp|home|root|var|usr|work)\b", seen) == []


def test_values_that_differ_between_runs_are_replaced() -> None:
    terminal = Terminal()
    terminal.fixed = {":15123": ":8080", "0b6f": "1a2b-…"}
    terminal.command("curl http://127.0.0.1:15123/bookings/0b6f")
    terminal.answer(201, '{"id": "0b6f"}', "more of 0b6f")
    terminal.line("socket: 0b6f")
    seen = text_of(terminal.svg("A title & more"))
    assert seen.splitlines() == [
        "A title & more",
        "$ curl http://127.0.0.1:8080/bookings/1a2b-…",
        '201 {"id": "1a2b-…"}',
        "more of 1a2b-…",
        "socket: 1a2b-…",
    ]


def test_the_template_is_rich_s_but_for_its_font() -> None:
    """Every part that rich fills is in ours, so that a newer rich which fills others is noticed."""
    from rich._export_format import CONSOLE_SVG_FORMAT

    filled = re.compile(r"(?<!\{)\{(\w+)\}(?!\})")
    assert set(filled.findall(TEMPLATE)) == set(filled.findall(CONSOLE_SVG_FORMAT))
    assert loaded(CONSOLE_SVG_FORMAT, PICTURE) != []


def test_a_shortened_answer_says_that_there_is_more() -> None:
    assert shortened({"id": 1, "status": "pending"}, ("id",)) == '{"id": 1, …}'
    assert shortened({"id": 1}, ("id",)) == '{"id": 1}'
