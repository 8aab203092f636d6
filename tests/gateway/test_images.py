"""The image that is kept of a file: what is refused, and what is left of it."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from common.contracts.errors import ImageInvalid
from common.contracts.messages import SetEventImage
from common.contracts.values import IMAGE_BYTES_MAX
from gateway.images import ANY, FORMATS, PIXELS_MAX, SENT_BYTES_MAX, encoded
from tests.gateway.stage import EVENT_ID, Client, ScriptedBooking, as_json, bearer, event

OPERATOR = bearer("root", operator=True)
PATH = f"/admin/events/{EVENT_ID}/image"


def file(kind: str = "PNG", size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: Any) -> bytes:
    output = BytesIO()
    Image.linear_gradient("L").resize(size).convert(mode).save(output, kind, **options)
    return output.getvalue()


def noise(size: tuple[int, int]) -> bytes:
    output = BytesIO()
    Image.effect_noise(size, 100).convert("RGB").save(output, "JPEG", quality=70)
    return output.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


def png_that_says(width: int, height: int) -> bytes:
    """A PNG whose header says how many pixels it has: nothing else of it needs to be true."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def with_text(png: bytes, text: bytes) -> bytes:
    """A PNG with a text behind its header."""
    chunk = b"tEXt" + text
    return png[:33] + struct.pack(">I", len(text)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    output = BytesIO()
    frames[0].save(output, kind, save_all=True, append_images=frames[1:])
    return output.getvalue()


WHOLE = "It must be a whole PNG, JPEG or WebP"
PIXELS = "It must have at most 16000000 pixels"
BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", WHOLE),
    "text": (b"<html>", WHOLE),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', WHOLE),
    "gif": (file("GIF"), WHOLE),
    "bmp": (file("BMP"), WHOLE),
    "tiff": (file("TIFF"), WHOLE),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", WHOLE),
    "half a png": (file("PNG", (400, 300))[:-200], WHOLE),
    "half a jpeg": (file("JPEG", (400, 300))[:-200], WHOLE),
    "half a webp": (file("WEBP", (400, 300))[:-50], WHOLE),
    "the head of a png": (b"\x89PNG\r\n\x1a\n", WHOLE),
    "the head of a jpeg": (b"\xff\xd8\xff\xe0", WHOLE),
    "a png with broken pixels": (png_that_says(9, 9)[:-40] + bytes(40), WHOLE),
    "too many pixels": (file("PNG", (4001, 4000), "1"), PIXELS),
    "a header with very many pixels": (png_that_says(30_000, 30_000), PIXELS),
    "a header with as many as can be": (png_that_says(2**31 - 1, 2**31 - 1), PIXELS),
    "no pixels": (png_that_says(0, 9), WHOLE),
    "moving png": (animated("PNG"), "It must be one image, and not an animation"),
    "moving webp": (animated("WEBP"), "It must be one image, and not an animation"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(name: str) -> None:
    data, reason = BAD[name]
    with pytest.raises(ImageInvalid) as refused:
        encoded(data, ANY)
    assert refused.value.detail.startswith(reason)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_each_format_is_kept_as_webp(kind: str) -> None:
    for media_type in (FORMATS[kind], ANY):
        kept = encoded(file(kind), media_type)
        image = opened(kept.data)
        assert (image.format, image.size, (kept.width, kept.height)) == ("WEBP", (40, 30), (40, 30))
    for other in set(FORMATS.values()) - {FORMATS[kind]}:
        with pytest.raises(ImageInvalid, match="Content-Type"):
            encoded(file(kind), other)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "1", "P", "CMYK", "I;16"])
def test_each_kind_of_colour_is_kept(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    image = opened(encoded(file(kind, mode="L" if mode == "I;16" else mode), ANY).data)
    assert image.mode in ("RGB", "RGBA")
    darkest, _ = image.convert("L").getextrema()
    assert isinstance(darkest, int)
    assert darkest < 30


def test_what_is_transparent_stays_so() -> None:
    output = BytesIO()
    Image.new("RGBA", (9, 9), (255, 0, 0, 0)).save(output, "PNG")
    assert opened(encoded(output.getvalue(), ANY).data).getpixel((4, 4))[3] == 0  # type: ignore[index]


def photograph(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a maker"
    exif.get_ifd(0x8825)[1] = "N"
    return file("JPEG", (40, 30), exif=exif, comment=b"a comment", icc_profile=b"a profile")


def test_metadata_is_dropped_and_what_it_says_of_the_orientation_is_done() -> None:
    for orientation, size in ((1, (40, 30)), (6, (30, 40))):
        kept = encoded(photograph(orientation), "image/jpeg")
        image = opened(kept.data)
        assert ((kept.width, kept.height), image.size) == (size, size)
        assert not image.getexif()
        assert not image.info.keys() & {"exif", "xmp", "icc_profile", "comment"}
        assert not any(each in kept.data for each in (b"EXIF", b"XMP ", b"ICCP", b"a maker", b"a comment"))


def test_what_lies_behind_or_inside_the_image_is_not_kept() -> None:
    """Files that are an image for one reader, and a page or an archive for another."""
    script = b"<script>alert(1)</script>"
    for data in (
        file("PNG") + script,
        file("JPEG") + script,
        file("JPEG", comment=script),
        with_text(file("PNG"), script),
        file("WEBP", xmp=script),
    ):
        kept = encoded(data, ANY).data
        assert script not in kept
        assert struct.unpack("<I", kept[4:8])[0] + 8 == len(kept)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1600, 900), (1600, 900)), ((3200, 1800), (1600, 900)), ((100, 4000), (40, 1600)), ((5000, 1), (1600, 1))],
)
def test_large_images_become_smaller(size: tuple[int, int], expected: tuple[int, int]) -> None:
    kept = encoded(file("PNG", size), ANY)
    assert (kept.width, kept.height) == expected == opened(kept.data).size


def test_an_image_that_hardly_shrinks_is_kept_within_the_bound() -> None:
    kept = encoded(noise((1400, 1000)), ANY)
    assert len(kept.data) <= IMAGE_BYTES_MAX
    assert opened(kept.data).size == (kept.width, kept.height)


def test_the_first_of_several_images_in_a_telephones_file_is_kept() -> None:
    first, second = (Image.new("RGB", (9, 9), colour) for colour in ("red", "blue"))
    output = BytesIO()
    first.save(output, "MPO", save_all=True, append_images=[second])
    red, _, blue = opened(encoded(output.getvalue(), "image/jpeg").data).getpixel((4, 4))  # type: ignore[misc]
    assert red > 200 > 50 > blue


# --- the request --------------------------------------------------------------------------------------------


async def test_an_image_is_sent_to_booking_as_it_is_kept(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(SetEventImage, as_json(event(version=2)))
    headers = OPERATOR | {"Content-Type": "image/png", "If-Match": '"1"', "Idempotency-Key": "k"}
    response = await gateway.put(PATH, data=file(), headers=headers)
    assert (response.status, await response.json()) == (200, as_json(event(version=2)))
    response = await gateway.delete(PATH, headers=OPERATOR)
    assert response.status == 200
    put, deleted = actor.messages(SetEventImage)
    assert (put.event_id, put.width, put.height, put.if_match) == (EVENT_ID, 40, 30, (1,))
    assert opened(base64.b64decode(put.data)).format == "WEBP"
    assert (put.request.operation, put.request.key) == (f"PUT {PATH}", "k")
    assert (deleted.data, deleted.request.operation, deleted.if_match) == (None, f"DELETE {PATH}", None)


async def test_another_file_under_the_same_key_is_another_request(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(SetEventImage, as_json(event()))
    for data in (file(), file(), file(size=(41, 30))):
        await gateway.put(PATH, data=data, headers=OPERATOR | {"Idempotency-Key": "k"})
    one, same, other = (each.request.content_hash for each in actor.messages(SetEventImage))
    assert one == same != other


Sent = tuple[Callable[[], bytes], str, int, str]
REQUESTS: dict[str, Sent] = {
    "another type": (file, "image/gif", 415, "unsupported_media_type"),
    "svg": (lambda: BAD["svg"][0], "image/svg+xml", 415, "unsupported_media_type"),
    "json": (lambda: b"{}", "application/json", 415, "unsupported_media_type"),
    "svg as png": (lambda: BAD["svg"][0], "image/png", 422, "image_invalid"),
    "jpeg as png": (lambda: file("JPEG"), "image/png", 422, "image_invalid"),
    "truncated": (lambda: BAD["half a jpeg"][0], "image/jpeg", 422, "image_invalid"),
    "very many pixels": (lambda: png_that_says(30_000, 30_000), "image/png", 422, "image_invalid"),
    "empty": (lambda: b"", "image/png", 422, "image_invalid"),
    "too large": (lambda: file("PNG") + bytes(SENT_BYTES_MAX), "image/png", 413, "payload_too_large"),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_with_a_bad_file_is_refused_and_changes_nothing(
    gateway: Client, actor: ScriptedBooking, name: str
) -> None:
    data, media_type, status, code = REQUESTS[name]
    response = await gateway.put(PATH, data=data(), headers=OPERATOR | {"Content-Type": media_type})
    assert (response.status, (await response.json())["code"]) == (status, code)
    assert actor.received == []


async def test_a_file_may_be_larger_than_other_bodies(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(SetEventImage, as_json(event()))
    data = file("PNG") + bytes(SENT_BYTES_MAX - len(file("PNG")))
    response = await gateway.put(PATH, data=data, headers=OPERATOR | {"Content-Type": "image/png"})
    assert response.status == 200
    response = await gateway.patch(f"/admin/events/{EVENT_ID}", data=data, headers=OPERATOR)
    assert response.status in (413, 415)


def test_as_many_pixels_as_may_be_are_read() -> None:
    assert encoded(file("PNG", (4000, PIXELS_MAX // 4000), "1"), ANY).width == 1600
