"""`python -m website.hosts site`: everything that a page loads by itself comes from the site's folder, so that it
looks the same without a network and tells no other host who reads it. Links to follow may lead anywhere."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What browsers load of an element's attribute: HTML's and SVG's. `link` is below, as its `rel` decides.
LOADED = {
    "audio": ("src",), "embed": ("src",), "feimage": ("href", "xlink:href"), "iframe": ("src",),
    "image": ("href", "xlink:href"), "img": ("src", "srcset"), "input": ("src",), "object": ("data",),
    "script": ("src", "href", "xlink:href"), "source": ("src", "srcset"), "track": ("src",),
    "use": ("href", "xlink:href"), "video": ("src", "poster"),
}  # fmt: skip
LOADED_LINKS = frozenset({
    "apple-touch-icon", "dns-prefetch", "icon", "manifest", "mask-icon", "modulepreload", "preconnect", "prefetch",
    "preload", "stylesheet",
})  # fmt: skip
# url(…) and @import "…" of CSS.
CSS_LOADS = re.compile(r"""url\(\s*['"]?([^'")]+)['"]?\s*\)|@import\s+['"]([^'"]+)['"]""")
# Where Sphinx puts files that a page links for download, as the clients' examples: they are no pages of the site.
DOWNLOADS = "_downloads"
CSS_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def loaded_by_css(text: str) -> Iterator[str]:
    for one in CSS_LOADS.finditer(CSS_COMMENT.sub("", text)):
        yield (one[1] or one[2]).strip()


class Page(HTMLParser):
    """Collects in `loads` the addresses of what an HTML or SVG file loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self._in_style = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        values = {name: value for name, value in attrs if value}
        self.loads += loaded_by_css(values.get("style", ""))
        if tag == "link" and LOADED_LINKS & set(values.get("rel", "").lower().split()):
            self.loads.append(values.get("href", ""))
        for name in LOADED.get(tag, ()):
            if name == "srcset":
                self.loads += [part.split()[0] for part in values.get(name, "").split(",") if part.strip()]
            elif name in values:
                self.loads.append(values[name].strip())

    def handle_endtag(self, tag: str) -> None:
        self._in_style = self._in_style and tag != "style"

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.loads += loaded_by_css(data)


def loads(path: Path) -> list[str]:
    """The addresses of what the file loads, as they stand in it."""
    text = path.read_text(encoding="utf-8")
    return list(loaded_by_css(text)) if path.suffix == ".css" else Page(text).loads


def complaint(path: Path, address: str) -> str | None:
    """What is wrong with an address that the file loads; None when nothing is."""
    parts = urlsplit(address)
    if parts.scheme == "data":
        return None
    if parts.scheme or parts.netloc:
        return "comes from another host"
    if parts.path.startswith("/"):
        return "is not relative, so a page that is opened as a file does not find it"
    if parts.path and not (path.parent / unquote(parts.path)).is_file():
        return "is not there"
    return None


def complaints(folder: Path) -> list[str]:
    """A line for each load of each page, style sheet and picture that is wrong."""
    files = sorted(path for suffix in ("html", "css", "svg") for path in folder.rglob(f"*.{suffix}"))
    return [
        f"{path.relative_to(folder)}: {address} {wrong}"
        for path in files
        if DOWNLOADS not in path.relative_to(folder).parts
        for address in loads(path)
        if (wrong := complaint(path, address))
    ]


def main(arguments: list[str]) -> int:
    """The exit code: 0 when nothing is wrong, 1 when something is or there is no site, 2 without a folder."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m website.hosts FOLDER\n")
        return 2
    folder = Path(arguments[0])
    found = complaints(folder) if (folder / "index.html").is_file() else [f"{folder}: has no index.html"]
    sys.stderr.write("".join(f"{line}\n" for line in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
