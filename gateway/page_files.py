"""The files that pages load: read once, compressed, and served under an address that changes with them."""

from __future__ import annotations

import gzip
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from gateway.brand import stylesheet
from gateway.docs import ASSETS
from gateway.settings import GatewaySettings
from gateway.shared import DIGEST_BYTES, tagged

FOLDER = Path(__file__).parent / "pages"
# The stylesheet of all pages.
STYLESHEET = "pages.css"
SHELL = "page.html"
MESSAGES = "messages/"
MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}
# How one of our modules names another that it needs.
IMPORTED = re.compile(r'^(?:import|}) .*"\./([\w.-]+)"', re.MULTILINE)
TEXTS = frozenset({".css", ".js", ".json", ".svg"})
# Comments of our scripts that have lines of their own: a third of what browsers would load. `/*!` begins a licence.
COMMENTS = re.compile(r"^[ \t]*(?://[^\n]*|/\*\*(?:(?!\*/).)*\*/[ \t]*)$", re.MULTILINE | re.DOTALL)


class PageFile(NamedTuple):
    """A file that is served. `compressed`: by gzip; None where that makes it no smaller. `imports`: the modules
    that it names."""

    body: bytes
    compressed: bytes | None
    media_type: str
    tag: str
    imports: tuple[str, ...]


class PageFiles:
    """The files of `pages/`, whose stylesheet has the organiser's colour; holdfast.js, and the organiser's logo."""

    def __init__(self, settings: GatewaySettings) -> None:
        """Raises OSError where the logo cannot be read."""
        shipped = _shipped()
        own = {STYLESHEET: shipped[STYLESHEET].body + stylesheet(settings.shop_colour).encode()}
        self.logo: str | None = None
        if settings.shop_logo is not None:
            self.logo = f"logo{settings.shop_logo.suffix.lower()}"
            own[self.logo] = settings.shop_logo.read_bytes()
        self._files = shipped | {name: _file(name, body) for name, body in own.items()}
        digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        for name, file in sorted(self._files.items()):
            digest.update(f"{name} {file.tag} ".encode())
        # Changes with every file: what is under it may be cached for ever, and modules of two releases don't meet.
        self.release = digest.hexdigest()
        self.shell = (FOLDER / SHELL).read_text()
        # `door.en.json` has messages of one page alone.
        names = (Path(name).stem for name in self._files if name.startswith(MESSAGES))
        self.languages = sorted(name for name in names if "." not in name)

    def modules(self, script: str) -> list[str]:
        """Those that `script` needs, also through others: browsers get them at once, not one after the other. The
        largest comes first, as a browser that asks for six at a time would else wait for it at the end."""
        found: dict[str, None] = {}
        waiting = [script]
        while waiting:
            new = [name for name in self._files[waiting.pop()].imports if name not in found]
            found |= dict.fromkeys(new)
            waiting += new
        return sorted(found, key=lambda name: -len(self._files[name].body))

    def find(self, name: str) -> PageFile | None:
        return self._files.get(name)

    def stylesheets(self, script: str) -> list[str]:
        """The one of all pages, then those of the modules that `script` needs."""
        own = (f"{Path(name).stem}.css" for name in [script, *self.modules(script)])
        return [STYLESHEET, *(name for name in own if name in self._files)]


@cache
def _shipped() -> dict[str, PageFile]:
    """Those that every installation has, read and compressed once in a process."""
    bodies = {
        path.relative_to(FOLDER).as_posix(): path.read_bytes()
        for path in sorted(FOLDER.rglob("*"))
        if path.suffix in MEDIA_TYPES and path.name != SHELL
    }
    bodies["holdfast.js"] = (ASSETS / "holdfast.js").read_bytes()
    for name in bodies:
        if name.endswith(".js") and "/" not in name:
            bodies[name] = without_comments(bodies[name].decode()).encode()
    return {name: _file(name, body) for name, body in bodies.items()}


def without_comments(script: str) -> str:
    """The script, with each statement in its line: errors in a browser name the lines of the file."""
    return COMMENTS.sub(lambda comment: "\n" * comment.group().count("\n"), script)


def _file(name: str, body: bytes) -> PageFile:
    suffix = Path(name).suffix
    compressed = gzip.compress(body, mtime=0) if suffix in TEXTS else body
    return PageFile(
        body,
        compressed if len(compressed) < len(body) else None,
        MEDIA_TYPES[suffix],
        tagged(body),
        tuple(IMPORTED.findall(body.decode())) if suffix == ".js" else (),
    )
