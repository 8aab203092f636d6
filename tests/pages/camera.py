"""A camera that sees what a test holds before it: Chromium plays a file in its place."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from gateway.tickets import drawn

WIDTH, HEIGHT = 640, 480
CODE_PIXELS = 330
TABLE = 110  # how bright it is around the code
COLOURLESS = bytes([128]) * (WIDTH * HEIGHT // 4)


class Camera:
    """Reads its file anew whenever a page starts it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.arguments = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={path}")
        self._play(Image.new("L", (WIDTH, HEIGHT), TABLE))

    def shows(self, code: str) -> None:
        """A ticket's QR code, held a little askew."""
        ticket = Image.open(io.BytesIO(drawn(code, "png"))).convert("L").resize((CODE_PIXELS, CODE_PIXELS))
        seen = Image.new("L", (WIDTH, HEIGHT), TABLE)
        seen.paste(ticket.rotate(7, expand=True, fillcolor=TABLE), (130, 50))
        self._play(seen)

    def _play(self, seen: Image.Image) -> None:
        """One image as a film: https://wiki.multimedia.cx/index.php/YUV4MPEG2"""
        header = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F10:1 Ip A1:1 C420mpeg2\n".encode()
        self._path.write_bytes(header + b"FRAME\n" + seen.tobytes() + COLOURLESS * 2)
