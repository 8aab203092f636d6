"""Codes of tickets as images that scanners read."""

from __future__ import annotations

import io
import zlib
from struct import pack

import segno

# A code is 216 characters: with error correction M, by which a seventh of the image may be damaged, its QR code is
# of version 8. The border of four modules is what scanners need around it (ISO/IEC 18004).
CORRECTION, BORDER = "m", 4
# The mask makes patterns rare that confuse scanners. To try all eight costs five times the rest, and gains nothing
# where the content is as good as random: ids and a signature.
MASK = 4
# Pixels of a module: the image of version 8 has 57 modules on a side, its border included.
SVG_SCALE, PNG_SCALE = 4, 8
# A module of a PNG, which has one bit for each pixel, is one byte: 0 is dark, and 255 light.
_LIGHT = b"\xff"
_MODULES = bytes.maketrans(b"\0\1", b"\xff\0")


def svg(code: str) -> bytes:
    """The QR code as an SVG image of at most 5 KB."""
    image = io.BytesIO()
    _made(code).save(image, kind="svg", scale=SVG_SCALE, border=BORDER, light="white")
    return image.getvalue()


def png(code: str) -> bytes:
    """The QR code as a PNG image (https://www.w3.org/TR/png-3/) of about 1 KB. Segno would draw it for three times
    as long as it makes the code."""
    matrix = _made(code).matrix
    side = len(matrix) + 2 * BORDER
    above = [_LIGHT * side] * BORDER
    inside = [_LIGHT * BORDER + bytes(row).translate(_MODULES) + _LIGHT * BORDER for row in matrix]
    # Each line of pixels begins with its filter: 0, none.
    lines = b"".join((b"\0" + row) * PNG_SCALE for row in (*above, *inside, *above))
    # One bit for each pixel, greyscale.
    header = pack(">IIBBBBB", side * PNG_SCALE, side * PNG_SCALE, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _made(code: str) -> segno.QRCode:
    return segno.make(code, error=CORRECTION, mask=MASK, boost_error=False, micro=False)
