"""The form of all images: their own, or the one asked for."""

from __future__ import annotations

from typing import Any

import pytest

from trainkit.data.images.form import Header, ImageForm, check_form, choose_form
from trainkit.errors import ConfigError, DataError

GREY, COLOUR = Header(20, 30, True, False), Header(20, 30, False, False)


def test_the_images_own_size_and_colours() -> None:
    assert choose_form(None, "crop", "auto", [GREY, GREY]) == ImageForm(20, 30, 1)
    assert choose_form(None, "pad", "auto", [GREY, COLOUR]) == ImageForm(20, 30, 3, "pad")
    assert choose_form(None, "crop", 1, [COLOUR]).shape == (1, 20, 30)


def test_the_size_asked_for() -> None:
    other = Header(99, 30, False, False)
    assert choose_form(16, "crop", "auto", [COLOUR, other]).shape == (3, 16, 16)
    assert choose_form([16], "crop", "auto", [COLOUR]).shape == (3, 16, 16)
    assert choose_form([16, 24], "crop", 3, [GREY]).shape == (3, 16, 24)


@pytest.mark.parametrize(("shorter", "suggested"), [(20, 32), (70, 64), (900, 224)])
def test_several_sizes_are_named_and_one_is_suggested(shorter: int, suggested: int) -> None:
    headers = [Header(shorter, 1000 + width // 2, True, False) for width in range(12)]
    with pytest.raises(DataError) as caught:
        choose_form(None, "crop", "auto", headers)
    text = str(caught.value)
    assert f"the images are of 6 sizes: 1000×{shorter} (2), 1001×{shorter} (2), " in text and ", …\n" in text
    assert f"data.image_size={suggested} " in text


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ((0, "crop", "auto"), "image_size"),
        (([8, 8, 3], "crop", "auto"), "image_size"),
        (([8, 8.5], "crop", "auto"), "image_size"),
        ((True, "crop", "auto"), "image_size"),
        ((8, "cut", "auto"), "resize"),
        ((8, "crop", 4), "channels"),
        ((8, "crop", True), "channels"),
        ((8, "crop", "rgb"), "channels"),
    ],
)
def test_settings_out_of_range(settings: Any, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_form(*settings)
    assert caught.value.where == f"data.{key}"
