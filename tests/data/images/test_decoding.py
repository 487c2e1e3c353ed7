"""One image: every format and mode, orientation, transparency, fitting, and whatever is damaged."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainkit.data.images import decoding
from trainkit.data.images.decoding import UnreadableImageError, decode, fitted, read_header
from trainkit.data.images.form import Header, ImageForm

FORM = ImageForm(6, 10, 3)
WHOLE = np.random.default_rng(0).integers(0, 256, (6, 10, 3)).astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def smooth(height: int = 60, width: int = 100) -> np.ndarray:
    """A ramp that survives JPEG."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * y / height, 255 * x / width, 255 - 255 * y / height], axis=2).astype(np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_formats_without_loss_give_the_pixels(kind: str) -> None:
    data = encoded(WHOLE, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert read_header(data) == Header(6, 10, False, False)
    pixels = decode(data, FORM)
    assert pixels.dtype == np.uint8 and pixels.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(pixels, WHOLE.transpose(2, 0, 1))


def test_jpeg_gives_about_the_pixels() -> None:
    pixels = decode(encoded(smooth(), "JPEG", quality=95), ImageForm(60, 100, 3))
    assert np.abs(pixels.astype(int) - smooth().transpose(2, 0, 1)).mean() < 3


def test_a_gif_gives_its_first_picture() -> None:
    first, second = (Image.fromarray(np.full((6, 10), level, np.uint8)) for level in (40, 200))
    data = encoded(first, "GIF", save_all=True, append_images=[second])
    assert read_header(data) == Header(6, 10, True, False)
    np.testing.assert_array_equal(decode(data, ImageForm(6, 10, 1)), np.full((1, 6, 10), 40))


def test_the_format_is_told_by_the_content() -> None:
    with pytest.raises(UnreadableImageError, match="it is no image of a known format"):
        read_header(b"%PDF-1.7 and so on")
    with pytest.raises(UnreadableImageError, match="it is no image of a known format"):
        read_header(encoded(Image.new("L", (4, 4)), "PPM"))  # Pillow reads it, and nobody asked for it
    with pytest.raises(UnreadableImageError, match="it is empty"):
        read_header(b"")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(smooth(), kind, exif=exif)
    upright = smooth()
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, -1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright),
    }[orientation]
    header = read_header(data)
    assert (header.height, header.width) == turned.shape[:2]
    pixels = decode(data, ImageForm(turned.shape[0], turned.shape[1], 3))
    assert np.abs(pixels.astype(int) - turned.transpose(2, 0, 1)).mean() < 4


def test_transparency_is_laid_on_white() -> None:
    clear = np.zeros((6, 10, 4), np.uint8)
    clear[:3, :, 3] = 255  # black above, nothing below
    expected = np.repeat([0, 255], 3)[:, None] * np.ones((1, 10), int)
    for channels in (1, 3):
        pixels = decode(encoded(clear), ImageForm(6, 10, channels))
        np.testing.assert_array_equal(pixels, np.broadcast_to(expected, (channels, 6, 10)))
    half = Image.fromarray(np.full((6, 10, 2), [100, 128], np.uint8))  # grey with alpha
    assert read_header(encoded(half)).is_grey
    assert set(decode(encoded(half), ImageForm(6, 10, 1)).ravel().tolist()) == {177}
    palette = Image.new("P", (10, 6), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    assert set(decode(encoded(palette, transparency=0), FORM).ravel().tolist()) == {255}


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "LA"])
def test_modes_of_8_bits(mode: str) -> None:
    image = Image.fromarray(np.full((6, 10), 255, np.uint8)).convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    assert set(decode(encoded(image, kind), FORM).ravel().tolist()) == {255}


def test_palettes_are_grey_where_their_colours_are() -> None:
    assert read_header(encoded(Image.fromarray(WHOLE[:, :, 0]).convert("P"))).is_grey
    assert not read_header(encoded(Image.fromarray(WHOLE).convert("P"))).is_grey
    bmp = encoded(Image.fromarray(WHOLE[:, :, 0]).convert("P"), "BMP")
    assert read_header(bmp).is_grey


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_of_16_bits_the_upper_8_count(kind: str) -> None:
    deep = (np.arange(60).reshape(6, 10) * 1000 + 255).astype(np.uint16)
    data = encoded(deep, kind)
    assert read_header(data) == Header(6, 10, True, True)
    np.testing.assert_array_equal(decode(data, ImageForm(6, 10, 1))[0], deep >> 8)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_numbers_of_32_bits_are_refused_by_name(mode: str) -> None:
    with pytest.raises(UnreadableImageError, match=f"mode {mode}, which 8 bits a channel cannot hold"):
        read_header(encoded(Image.new(mode, (4, 4)), "TIFF"))


def test_bombs_are_refused_before_they_unfold(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(np.zeros((20, 20), np.uint8))
    read_header(data)
    monkeypatch.setattr(decoding, "MOST_PIXELS", 399)
    with pytest.raises(UnreadableImageError, match="it unfolds to more than 399 pixels"):
        read_header(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's own bar, which it warns at
    with pytest.raises(UnreadableImageError, match="it unfolds to more than"):
        read_header(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF"])
def test_a_file_cut_anywhere_is_read_or_named_unreadable(kind: str) -> None:
    data = encoded(smooth(), kind)
    refused = 0
    for size in np.linspace(0, len(data) - 1, 40).astype(int):
        try:
            decode(data[:size], ImageForm(60, 100, 3))
        except UnreadableImageError as error:
            assert str(error)
            refused += 1
    assert refused >= 35


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF"])
def test_damaged_bytes_give_pixels_or_a_reason_and_nothing_else(kind: str) -> None:
    draw = np.random.default_rng(1)
    whole = np.frombuffer(encoded(smooth(20, 30), kind), np.uint8)
    outcomes = set[object]()
    for _ in range(150):
        data = whole.copy()
        data[draw.integers(0, len(data), 4)] = draw.integers(0, 256, 4)
        try:
            read_header(data.tobytes())
            outcomes.add(decode(data.tobytes(), FORM).shape)
        except UnreadableImageError as error:
            outcomes.add(type(error).__name__)
    assert "UnreadableImageError" in outcomes and outcomes <= {(3, 6, 10), "UnreadableImageError"}


def test_fitting() -> None:
    image = Image.fromarray(np.repeat([[0, 100, 200, 250]], 2, axis=0).astype(np.uint8))  # twice as wide as high

    def row(resize: Any) -> list[int]:
        pixels = fitted(image, ImageForm(2, 2, 1, resize))
        assert pixels.shape == (1, 2, 2)
        values: list[int] = pixels[0, 0].tolist()
        return values

    assert row("crop") == [100, 200]
    squashed = row("squash")
    assert 30 < squashed[0] < 90 and 200 < squashed[1] < 245
    assert fitted(image, ImageForm(4, 4, 1, "pad"))[0, :, 1].tolist() == [0, 100, 100, 0]
    assert fitted(image, ImageForm(4, 8, 1)).shape == (1, 4, 8)  # smaller images grow


def test_large_jpegs_are_decoded_at_a_part_of_their_size_and_look_the_same() -> None:
    large = np.kron(smooth(30, 50), np.ones((16, 16, 1))).astype(np.uint8)
    data = encoded(large, "JPEG", quality=95)
    whole = fitted(Image.fromarray(large), ImageForm(30, 50, 3))
    assert np.abs(decode(data, ImageForm(30, 50, 3)).astype(int) - whole).mean() < 3


def test_an_image_of_a_script_is_turned_and_decoded_as_its_file() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(smooth(480, 800), "JPEG", exif=exif)
    np.testing.assert_array_equal(fitted(Image.open(io.BytesIO(data)), FORM), decode(data, FORM))
