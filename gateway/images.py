"""The image of an event, made anew of what an operator has sent.

Nothing of the file that was sent is kept but what can be seen: no metadata (such as where a photograph was taken),
no second format inside the first, nothing behind its end.
"""

from __future__ import annotations

from io import BytesIO
from typing import NamedTuple

from PIL import Image, ImageOps

from common.contracts.errors import HoldfastError, ImageInvalid
from common.contracts.values import IMAGE_BYTES_MAX

# Bytes of a file that is sent: a photograph of a few megapixels.
SENT_BYTES_MAX = 1_048_576
# A small file may have very many pixels. Decoded, these take 64 MB.
PIXELS_MAX = 16_000_000
# By the format that the file has: its media type. MPO, which telephones make, is JPEG with further images behind
# the first; the first is used.
FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "MPO": "image/jpeg", "WEBP": "image/webp"}
# What is sent without a type of its own is looked into as well.
ANY = "application/octet-stream"
MEDIA_TYPES = (*dict.fromkeys(FORMATS.values()), ANY)
KEPT_AS = "image/webp"
# The longest side in pixels, and WebP's quality: the first is a page's width on a fine screen. The others are tried
# until the image has at most IMAGE_BYTES_MAX bytes, which the first mostly gives.
TRIES = ((1600, 80), (1600, 60), (1200, 60), (800, 50))


class EncodedImage(NamedTuple):
    data: bytes
    width: int
    height: int


def encoded(sent: bytes, media_type: str) -> EncodedImage:
    """The image that is kept of the file `sent` as `media_type`. Raises ImageInvalid. It takes up to a second."""
    image = _decoded(sent, media_type)
    for longest, quality in TRIES:
        image.thumbnail((longest, longest))
        output = BytesIO()
        image.save(output, "WEBP", quality=quality, exif=b"", icc_profile=b"", xmp=b"")
        if len(data := output.getvalue()) <= IMAGE_BYTES_MAX:
            return EncodedImage(data, *image.size)
    raise ImageInvalid(f"It cannot be made as small as {IMAGE_BYTES_MAX} bytes")


def _decoded(sent: bytes, media_type: str) -> Image.Image:
    """The one frame of it, upright, in colours that WebP has."""
    try:
        image: Image.Image = Image.open(BytesIO(sent), formats=("PNG", "JPEG", "WEBP"))
        _check(image, media_type)
        longest = 2 * TRIES[0][0]
        image.draft(None, (longest, longest))  # a JPEG that is larger is decoded smaller, in less time
        ImageOps.exif_transpose(image, in_place=True)
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    except ImageInvalid:
        raise
    except Image.DecompressionBombError:
        raise _too_many_pixels() from None
    except Exception:  # the decoders raise whatever they stumble over
        raise ImageInvalid("It must be a whole PNG, JPEG or WebP") from None


def _check(image: Image.Image, media_type: str) -> None:
    """By what the file says of itself, before its pixels are decoded."""
    found = FORMATS[str(image.format)]
    if media_type not in (found, ANY):
        raise ImageInvalid(f"The Content-Type is {media_type}, and the file is {found}")
    if image.width * image.height > PIXELS_MAX:
        raise _too_many_pixels()
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise ImageInvalid("It must be one image, and not an animation")


def _too_many_pixels() -> HoldfastError:
    return ImageInvalid(f"It must have at most {PIXELS_MAX} pixels, its width times its height")
