"""A terminal that is recorded: commands, answers, and an SVG of it that loads nothing, not even a font."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from io import StringIO
from typing import Any

from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.text import Text

COLUMNS = 100
# Rich's own template without the font that it loads from another host: fonts that a system has take its place, and
# `textLength` of each text keeps the columns. Braces that rich does not fill are doubled.
TEMPLATE = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" role="img" xmlns="http://www.w3.org/2000/svg">
    <title>TITLE</title>
    <!-- Recorded by `make picture`: not to be edited. -->
    <style>
    .{unique_id}-matrix {{
        font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
        font-size: {char_height}px;
        line-height: {line_height}px;
    }}
    .{unique_id}-title {{
        font-size: 18px;
        font-weight: bold;
        font-family: system-ui, "DejaVu Sans", Arial, sans-serif;
    }}
    {styles}
    </style>
    <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
    </clipPath>
    {lines}
    </defs>
    {chrome}
    <g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
    </g>
</svg>
"""


class Terminal:
    """What is shown, as if commands were typed. What differs from run to run is replaced as `fixed` says."""

    def __init__(self) -> None:
        self._console = Console(
            record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor"
        )
        self._empty = True
        self.fixed: dict[str, str] = {}

    def command(self, *lines: str) -> None:
        """A command at a prompt, after an empty line unless it is the first."""
        if not self._empty:
            self._console.print()
        for prompt, line in zip(["$ ", *["    "] * (len(lines) - 1)], lines, strict=True):
            self._print(Text.assemble((prompt, "bold green"), (self._with_fixed(line), "bold")))

    def line(self, text: str, style: str = "") -> None:
        self._print(Text(self._with_fixed(text), style))

    def answer(self, status: int, *lines: str) -> None:
        """An answer over HTTP, with its status."""
        for start, line in zip([f"{status} ", *["    "] * (len(lines) - 1)], lines, strict=True):
            shown = Text(self._with_fixed(line))
            JSONHighlighter().highlight(shown)
            self._print(Text.assemble((start, "bold cyan"), shown))

    def svg(self, title: str) -> str:
        """All that was shown, in a window with a title."""
        template = TEMPLATE.replace("TITLE", escape(title))
        svg = self._console.export_svg(title=title, code_format=template, unique_id="booking", clear=False)
        return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"

    def _with_fixed(self, text: str) -> str:
        for varying, fixed in self.fixed.items():
            text = text.replace(varying, fixed)
        return text

    def _print(self, text: Text) -> None:
        self._empty = False
        self._console.print(text, highlight=False)


def shortened(resource: dict[str, Any], names: Sequence[str]) -> str:
    """These members of a resource as JSON, with a sign that there are more."""
    text = json.dumps({name: resource[name] for name in names})
    return text if len(names) == len(resource) else f"{text[:-1]}, …}}"
