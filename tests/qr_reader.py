"""Reads the images of tickets with a decoder that is not ours, as a camera shows them to it: as grey pixels."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence

import zxingcpp

BLACK, WHITE = 0, 255
# Pixels of a module of an SVG image, which has no pixels of its own.
SCALE = 4


def read_png(image: bytes) -> str:
    """What the QR code says. The image has one bit for each pixel, and rows that are given as they are
    (filter 0) or as the difference from the one above (2): https://www.w3.org/TR/png-3/#9Filter-types"""
    chunks = dict(_chunks(image))
    width, height, depth, kind = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, kind) == (1, 0), "not of one bit of grey"
    raw, size = zlib.decompress(chunks[b"IDAT"]), 1 + (width + 7) // 8
    rows = [bytes(size - 1)]
    for at in range(0, len(raw), size):
        filtered, row = raw[at], raw[at + 1 : at + size]
        assert filtered in (0, 2)
        rows.append(bytes((a + b) % 256 for a, b in zip(row, rows[-1], strict=True)) if filtered else row)
    assert len(rows) == height + 1
    pixels = range(width)
    return _decoded([[WHITE if row[x // 8] >> (7 - x % 8) & 1 else BLACK for x in pixels] for row in rows[1:]])


def _chunks(image: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at < len(image):
        (size,) = struct.unpack(">I", image[at : at + 4])
        yield image[at + 4 : at + 8], image[at + 8 : at + 8 + size]
        at += 12 + size


def read_svg(image: bytes) -> str:
    """What the QR code says. Its modules are lines along the middle of their rows."""
    text = image.decode()
    side = int(re.findall(r'd="M0 0h(\d+)v', text)[0])
    rows = [[WHITE] * side for _ in range(side)]
    (path,) = re.findall(r'stroke="#000" d="([^"]+)"', text)
    x = y = 0.0
    for step, numbers in re.findall(r"([Mmh])([-\d. ]+)", path):
        by = [float(number) for number in numbers.split()]
        if step == "h":
            rows[int(y)][int(x) : int(x + by[0])] = [BLACK] * int(by[0])
            x += by[0]
        else:
            x, y = (by[0], by[1]) if step == "M" else (x + by[0], y + by[1])
    return _decoded([[grey for grey in row for _ in range(SCALE)] for row in rows for _ in range(SCALE)])


def _decoded(rows: Sequence[Sequence[int]]) -> str:
    pixels = memoryview(bytes(grey for row in rows for grey in row)).cast("B", shape=[len(rows), len(rows[0])])
    # Among the modules of a code there can be what looks like a code of another kind.
    (found,) = zxingcpp.read_barcodes(pixels, formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode))
    text: str = found.text
    return text
