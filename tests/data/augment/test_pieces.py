"""Each augmentation: what it does to pictures and signals, how often, and that samples do not depend on each other."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from trainkit.data.augment import (
    Augment,
    Augmentation,
    ColorJitter,
    Crop,
    CutMix,
    Draws,
    Erase,
    Flip,
    Mixup,
    Noise,
    OneOf,
    RandAugment,
    ResizedCrop,
    Rotate,
    Samples,
    Shift,
    TrivialAugment,
)
from trainkit.data.augment.operations import autocontrast, equalize, hue, posterize, sharpness, solarize
from trainkit.data.augment.warping import rotations, warped
from trainkit.errors import ConfigError

NUM = 4_000
PICTURES: list[Augmentation] = [
    *(Flip(), Flip(0.3, "vertical"), Crop(3), Crop(2, "edge"), Crop(2, "reflect"), ResizedCrop(), Rotate(30, 0.5)),
    *(ColorJitter(hue=0.2), Erase(), Erase(value=7), Noise(3.0), RandAugment(), TrivialAugment()),
    OneOf({"a": Rotate(), "b": Erase()}),
]


def drawn(count: int, epoch: int = 0) -> Draws:
    return Draws.of(torch.arange(count), 0, epoch)


def images(count: int, channels: int = 3, dtype: torch.dtype = torch.uint8) -> Tensor:
    made = torch.randint(0, 256, (count, channels, 9, 7), generator=torch.Generator().manual_seed(1))
    return made.to(torch.uint8) if dtype == torch.uint8 else (made / 255).to(dtype)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("piece", PICTURES, ids=lambda piece: type(piece).__name__)
def test_shape_and_dtype_stay_and_a_sample_does_not_depend_on_the_others(
    piece: Augmentation, channels: int, dtype: torch.dtype
) -> None:
    given = images(64, channels, dtype)
    before = given.clone()
    whole = piece(given, drawn(64))
    assert (whole.shape, whole.dtype) == (given.shape, given.dtype)
    assert torch.equal(given, before), "inputs are not changed"
    places = torch.tensor([50, 3, 17])
    few = piece(given[places], Draws.of(places, 0, 0))
    torch.testing.assert_close(few, whole[places], rtol=1e-3, atol=1 if dtype == torch.uint8 else 1e-3)
    assert not torch.equal(whole, given) and not torch.equal(piece(given, drawn(64, epoch=1)), whole)


@pytest.mark.parametrize(("direction", "axis"), [("horizontal", -1), ("vertical", -2)])
@pytest.mark.parametrize("p", [0.5, 0.2])
def test_flips_come_as_often_as_asked_for(p: float, direction: Any, axis: int) -> None:
    given = images(NUM)
    made = Flip(p, direction)(given, drawn(NUM))
    mirrored = (made == given.flip(axis)).flatten(1).all(1)
    same = (made == given).flatten(1).all(1)
    assert bool((mirrored ^ same).all())
    assert float(mirrored.float().mean()) == pytest.approx(p, abs=4 * (p * (1 - p) / NUM) ** 0.5)


def test_crops_move_by_every_shift_equally_often() -> None:
    given = torch.zeros(NUM, 1, 9, 7)
    given[:, :, 4, 3] = 1
    made = Crop(2)(given, drawn(NUM)).flatten(1)
    assert bool((made.sum(1) == 1).all())
    places = made.argmax(1)
    shifts = (places // 7 - 4 + 2) * 5 + (places % 7 - 3 + 2)
    share = torch.bincount(shifts, minlength=25) / NUM
    assert len(share) == 25 and float((share - 1 / 25).abs().max()) < 4 * (1 / 25 / NUM) ** 0.5


def test_large_pictures_are_cropped_as_small_ones_are() -> None:
    """The windows of large ones are cut out one by one."""
    small = torch.rand(8, 3, 50, 50, generator=torch.Generator().manual_seed(0))
    large = small.repeat(1, 2, 1, 1)
    assert small[0].numel() < 2**13 < large[0].numel()
    assert torch.equal(Crop(4)(large, drawn(8)), Crop(4)(small, drawn(8)).repeat(1, 2, 1, 1))


def test_what_comes_in_at_the_edge_of_a_crop() -> None:
    row = torch.arange(1.0, 8.0).expand(NUM, 1, 9, 7)
    found = {mode: {tuple(r) for r in Crop(1, mode)(row, drawn(NUM))[:, 0, 4].int().tolist()} for mode in MODES}
    inner, left = (1, 2, 3, 4, 5, 6, 7), (2, 3, 4, 5, 6, 7)
    assert found["zeros"] == {inner, (*left, 0), (0, *inner[:-1])}
    assert found["edge"] == {inner, (*left, 7), (1, *inner[:-1])}
    assert found["reflect"] == {inner, (*left, 6), (2, *inner[:-1])}


MODES: tuple[Any, ...] = ("zeros", "edge", "reflect")


def test_angles_are_uniform_within_the_range() -> None:
    side = 31
    given = torch.zeros(NUM, 1, side, side)
    given[:, :, 13:18, 24:29] = 1  # a square to the right of the centre
    made = Rotate(40.0)(given, drawn(NUM))[:, 0]
    at = torch.arange(side) - (side - 1) / 2
    total = made.sum((1, 2))
    x, y = (made * at).sum((1, 2)) / total, (made * at[:, None]).sum((1, 2)) / total
    angles = torch.atan2(-y, x) * 180 / math.pi
    assert 38 < float(angles.max()) < 41 and -41 < float(angles.min()) < -38
    share = torch.histc(angles, bins=8, min=-40, max=40) / NUM
    assert float((share - 1 / 8).abs().max()) < 5 * (1 / 8 / NUM) ** 0.5 + 0.01


def test_a_quarter_turn_is_that_of_torch_even_where_pictures_are_not_square() -> None:
    square = torch.rand(2, 3, 8, 8)
    quarter = warped(square, rotations(torch.full((2,), math.pi / 2), square))
    torch.testing.assert_close(quarter, square.rot90(1, (2, 3)), rtol=0, atol=1e-5)
    wide = torch.zeros(1, 1, 5, 11)
    wide[0, 0, 2, 7] = 1  # two pixels to the right of the centre
    turned = warped(wide, rotations(torch.tensor([math.pi / 2]), wide))
    assert float(turned[0, 0, 0, 5]) == pytest.approx(1, abs=1e-5)


def test_resized_crops_have_areas_within_the_range_and_nothing_from_outside() -> None:
    width, height = 40, 30
    rows, columns = torch.meshgrid(torch.arange(height) + 1.0, torch.arange(width) + 1.0, indexing="ij")
    given = torch.stack([rows, columns]).expand(NUM, 2, height, width)
    made = ResizedCrop((0.3, 0.8), (1.0, 1.0))(given, drawn(NUM))
    assert float(made.min()) >= 0.5, "no black comes in from outside"
    tall = (made[:, 0, -3, 20] - made[:, 0, 2, 20]) / (height - 5)
    wide = (made[:, 1, 15, -3] - made[:, 1, 15, 2]) / (width - 5)
    area = tall * wide
    assert 0.28 < float(area.min()) < 0.32 and 0.77 < float(area.max()) < 0.82
    share = torch.histc(area, bins=5, min=0.3, max=0.8) / NUM
    assert float((share - 0.2).abs().max()) < 5 * (0.16 / NUM) ** 0.5 + 0.01
    assert ResizedCrop((1.0, 1.0), (1.0, 1.0))(given[:2], drawn(2)).allclose(given[:2], atol=1e-4)


def test_erased_areas_are_as_large_and_as_frequent_as_asked_for() -> None:
    given = torch.ones(NUM, 1, 32, 32)
    made = Erase(0.4, (0.1, 0.2), (0.5, 2.0), value=0)(given, drawn(NUM))
    share = 1 - made.mean((1, 2, 3))
    is_erased = share > 0
    assert float(is_erased.float().mean()) == pytest.approx(0.4, abs=4 * (0.24 / NUM) ** 0.5)
    assert float(share.max()) < 0.23  # an edge of the picture may cut a part off
    pictures = images(8)
    mean = Erase(1.0, (0.5, 0.5))(pictures, drawn(8))
    changed = mean != pictures
    expected = pictures.float().mean((2, 3), keepdim=True).round().byte().expand_as(pictures)
    assert bool(changed.any()) and torch.equal(mean[changed], expected[changed])


def test_jitter_changes_each_colour_within_its_range() -> None:
    given = torch.full((NUM, 3, 2, 2), 0.4)
    bright = ColorJitter(0.5, 0, 0)(given, drawn(NUM))[:, 0, 0, 0] / 0.4
    assert 0.5 <= float(bright.min()) < 0.51 and 1.49 < float(bright.max()) <= 1.5
    assert torch.equal(ColorJitter(0, 0, 0)(images(4), drawn(4)), images(4))
    grey = images(4).float().mean(1, keepdim=True).expand(-1, 3, -1, -1) / 255
    torch.testing.assert_close(ColorJitter(0, 0, 0.9, 0.5)(grey, drawn(4)), grey, rtol=0, atol=1e-5)


def test_operations_are_those_of_torchvision() -> None:
    from torchvision.transforms.v2 import functional as vision

    given = torch.rand(4, 3, 16, 12, generator=torch.Generator().manual_seed(0))
    some = torch.full((4,), 0.6)
    torch.testing.assert_close(sharpness(given, some), vision.adjust_sharpness(given, 0.6), rtol=0, atol=1e-5)
    torch.testing.assert_close(solarize(given, some), vision.solarize(given, 0.6), rtol=0, atol=0)
    torch.testing.assert_close(autocontrast(given), vision.autocontrast(given), rtol=0, atol=1e-5)
    levels = (given * 255).round().byte()
    found = posterize(levels / 255, torch.full((4,), 3.0)) * 255
    assert torch.equal(found.round().byte(), vision.posterize(levels, 3))
    large = torch.randint(20, 200, (1, 1, 512, 512), dtype=torch.uint8)
    spread = (equalize(large / 255) * 255).round().int()
    assert (spread - vision.equalize(large).int()).abs().max() <= 1
    third = hue(given, torch.full((4,), 1 / 3))
    torch.testing.assert_close(third, given.roll(1, dims=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("policy", [RandAugment(num_ops=1, magnitude=30), TrivialAugment()])
def test_policies_choose_every_operation(policy: Any) -> None:
    """One in fourteen is the identity; any operation more, and fewer pictures stay as they are."""
    pictures = torch.rand(NUM, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    made = policy(pictures, drawn(NUM))
    same = (made - pictures).abs().flatten(1).amax(1) < 1e-6
    assert float(same.float().mean()) == pytest.approx(1 / 14, abs=0.03)
    assert float(made.min()) >= 0 and float(made.max()) <= 1


def test_signals_are_moved_in_a_circle_and_noise_has_its_size() -> None:
    given = torch.arange(40.0).expand(NUM, 2, 40)
    moved = Shift(0.1)(given, drawn(NUM))
    shift = moved[:, 0, 0].long()
    shift = torch.where(shift > 20, shift - 40, shift)
    share = torch.bincount(shift + 4, minlength=9) / NUM
    assert len(share) == 9 and float((share - 1 / 9).abs().max()) < 4 * (1 / 9 / NUM) ** 0.5
    assert torch.equal(moved[0, 1], given[0, 1].roll(-int(shift[0])))
    noise = Noise(0.5)(given, drawn(NUM)) - given
    assert float(noise.std()) == pytest.approx(0.5, abs=0.01) and abs(float(noise.mean())) < 0.01


def test_one_of_several_is_chosen_for_each_sample_equally_often() -> None:
    given = torch.arange(1.0, 8.0).expand(NUM, 1, 9, 7)
    made = OneOf({"flip": Flip(1.0), "erase": Erase(1.0, (1.0, 1.0), (1.0, 1.0), value=-1)})(given, drawn(NUM))
    flipped = (made == given.flip(-1)).flatten(1).all(1)
    assert float(flipped.float().mean()) == pytest.approx(0.5, abs=4 * (0.25 / NUM) ** 0.5)
    assert bool((made[~flipped] == -1).any())


@pytest.mark.parametrize("piece", PICTURES, ids=lambda piece: type(piece).__name__)
def test_lower_precision_of_the_net_does_not_reach_augmentation(piece: Augmentation) -> None:
    samples, augment = Samples(images(32, dtype=torch.float32), torch.zeros(32)), Augment({"piece": piece})
    with torch.autocast("cpu", torch.bfloat16):
        made = augment(samples, torch.arange(32), 0)
    assert torch.equal(made.inputs, augment(samples, torch.arange(32), 0).inputs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")
@pytest.mark.parametrize("piece", PICTURES, ids=lambda piece: type(piece).__name__)
def test_a_gpu_draws_the_same(piece: Augmentation) -> None:
    ids, augment = torch.arange(64), Augment({"piece": piece}, 3)
    here = augment(Samples(images(64), torch.zeros(64)), ids, 1).inputs
    there = augment(Samples(images(64).cuda(), torch.zeros(64).cuda()), ids, 1).inputs.cpu()
    assert float(((here.int() - there.int()).abs() <= 1).float().mean()) > 0.99


def test_another_augmentation_leaves_what_one_does_as_it_is() -> None:
    samples, ids = Samples(images(64), torch.zeros(64)), torch.arange(64)
    alone = Augment({"flip": Flip()}, 3)(samples, ids, 2).inputs
    beside = Augment({"none": Crop(1), "flip": Flip()}, 3)
    beside.pieces["none"] = Flip(0.0)
    assert torch.equal(beside(samples, ids, 2).inputs, alone)
    assert not torch.equal(Augment({"mirror": Flip()}, 3)(samples, ids, 2).inputs, alone)
    assert not torch.equal(Augment({"flip": Flip()}, 4)(samples, ids, 2).inputs, alone)


@pytest.mark.parametrize(
    ("build", "where"),
    [
        (lambda: Flip(-0.1), "p"),
        (lambda: Flip(direction="up"), "direction"),  # type: ignore[arg-type]
        (lambda: Crop(0), "padding"),
        (lambda: Crop(1, "black"), "mode"),  # type: ignore[arg-type]
        (lambda: ResizedCrop((0.0, 1.0)), "scale"),
        (lambda: ResizedCrop((0.5, 1.0, 1.0)), "scale"),
        (lambda: ResizedCrop(ratio=(2.0, 1.0)), "ratio"),
        (lambda: Rotate(181), "degrees"),
        (lambda: Rotate(math.nan), "degrees"),
        (lambda: ColorJitter(brightness=-1), "brightness"),
        (lambda: ColorJitter(max_value=0), "max_value"),
        (lambda: Erase(scale=(0.0, 1.5)), "scale"),
        (lambda: RandAugment(0), "num_ops"),
        (lambda: Mixup(math.nan), "alpha"),
        (lambda: CutMix(1.0, 2.0), "p"),
        (lambda: Noise(0.0), "scale"),
        (lambda: Shift(0.6), "share"),
        (lambda: OneOf({}), "choices"),
        (lambda: OneOf({"a": torch.nn.Flatten()}), "choices.a"),  # type: ignore[dict-item]
        (lambda: Augment({}), "augment"),
        (lambda: Augment({"a": torch.nn.Flatten()}), "augment.a"),  # type: ignore[dict-item]
    ],
)
def test_settings_out_of_range_are_named(build: Any, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build()
    assert caught.value.where == where
