"""From the bytes of an image file to pixels in the form that a net takes; called by every reader of images."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from trainkit.data.images.form import Header, ImageForm

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF")
"""Formats, as Pillow names them, that are opened; told by a file's content, not by its name."""

MOST_PIXELS = 89_478_485
"""Pixels of an image at most (a quarter of a GiB in 24 bits): a small file that unfolds to more is an attack."""

_DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
_GREY = ("1", "L", "LA", "La", *_DEEP)
_MODES = (*_GREY, "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)
_WHITE = (255, 255, 255, 255)


class UnreadableImageError(Exception):
    """An image that cannot be used; its message is the reason, to stand after the file's name."""


def read_header(data: bytes) -> Header:
    """Size and colours of an image, without decoding its pixels.

    Args:
        data: Contents of a file.

    Raises:
        UnreadableImageError: It is no image, one of a kind that is not supported, or too large.
    """
    image = _opened(data)
    height, width = image.height, image.width
    if _orientation(image) in _TURNED:
        height, width = width, height
    return Header(height, width, _is_grey(image), image.mode in _DEEP)


def decode(data: bytes, form: ImageForm) -> np.ndarray:
    """Pixels of an image: uint8 [channels, height, width].

    Args:
        data: Contents of a file.
        form: To bring it to.

    Raises:
        UnreadableImageError: It cannot be decoded to its end.
    """
    return fitted(_opened(data), form)


def fitted(image: Image.Image, form: ImageForm) -> np.ndarray:
    """Pixels of an opened image, turned as its EXIF data says, its alpha on white: uint8 [channels, height, width].

    Args:
        image: Of any mode that is supported.
        form: To bring it to.

    Raises:
        UnreadableImageError: It has a mode that is not supported, or cannot be decoded to its end.
    """
    _check_mode(image)
    # A JPEG is decoded at a half, a quarter or an eighth of its size where that leaves twice what is needed.
    longest = 2 * max(form.height, form.width)
    try:
        image.draft(None, (longest, longest))
        image.load()
        image = ImageOps.exif_transpose(image)
    except Exception as error:  # a decoder fed with damaged bytes raises whatever it likes: the reason is handed on
        raise UnreadableImageError(_reason(error)) from error
    if image.mode in _DEEP:
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB")
    image = image.convert("L" if form.channels == 1 else "RGB")
    size, smooth = (form.width, form.height), Image.Resampling.BILINEAR
    if form.resize == "crop":
        image = ImageOps.fit(image, size, smooth)
    elif form.resize == "pad":
        image = ImageOps.pad(image, size, smooth)
    else:
        image = image.resize(size, smooth)
    pixels = np.array(image)  # a copy: what Pillow lends may not be written to
    return np.ascontiguousarray(pixels[None] if form.channels == 1 else pixels.transpose(2, 0, 1))


def _opened(data: bytes) -> Image.Image:
    if not data:
        raise UnreadableImageError("it is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError(f"it unfolds to more than {MOST_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError("it is no image of a known format") from error
    except Exception as error:  # as in fitted
        raise UnreadableImageError(_reason(error)) from error
    if image.width * image.height > MOST_PIXELS:
        raise UnreadableImageError(f"it unfolds to more than {MOST_PIXELS:,} pixels")
    _check_mode(image)
    return image


def _check_mode(image: Image.Image) -> None:
    if image.mode not in _MODES:
        raise UnreadableImageError(f"its pixels are of mode {image.mode}, which 8 bits a channel cannot hold")


def _orientation(image: Image.Image) -> int:
    """How the image is to be turned, 1 to 8; a PNG that says so after its pixels is not asked here."""
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1  # Pillow gives a TIFF the size that it has once it is turned
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception as error:  # as in fitted
        raise UnreadableImageError(f"its EXIF data: {_reason(error)}") from error


def _is_grey(image: Image.Image) -> bool:
    if image.mode in ("P", "PA"):
        palette = image.palette
        if palette is None:
            return True
        # Not by getpalette(), for which a GIF decodes its pixels. Of BGRX only the first three count.
        colours = np.frombuffer(bytes(palette.palette), np.uint8)
        width = len(palette.rawmode or palette.mode)
        colours = colours[: len(colours) // width * width].reshape(-1, width)[:, :3]
        return bool((colours == colours[:, :1]).all())
    return image.mode in _GREY


def _reason(error: Exception) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text[:1].lower() + text[1:]
