"""The convolutional net: sizes from 6×6 on, the stages they get, and gradients everywhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainkit.models import CNN
from trainkit.models.cnn import _Block


def blocks(net: CNN) -> list[_Block]:
    return [layer for layer in net.trunk if isinstance(layer, _Block)]


@pytest.mark.parametrize(
    ("channels", "height", "width"),
    [(1, 6, 6), (1, 8, 8), (1, 28, 28), (3, 33, 40), (3, 40, 33), (4, 64, 7), (2, 17, 1)],
)
def test_shapes_and_gradients(channels: int, height: int, width: int) -> None:
    net = CNN(channels, 5, image_size=height, width=8, dropout=0.0)
    outputs = net(torch.randn(4, channels, height, width))
    assert outputs.shape == (4, 5)
    outputs.square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert bool((parameter.grad != 0).any()), name


@pytest.mark.parametrize(
    ("image_size", "stages", "last_map"),
    [(6, 1, 6), (7, 1, 7), (8, 2, 4), (16, 3, 4), (17, 2, 5), (28, 2, 7), (32, 3, 4), (33, 3, 5), (224, 3, 28)],
)
def test_stages_follow_the_size_of_the_image(image_size: int, stages: int, last_map: int) -> None:
    net = CNN(1, 2, image_size=image_size, width=4).eval()
    assert len(blocks(net)) == stages
    assert net.head.in_features == 4 * 2 ** (stages - 1)
    assert net.trunk(torch.zeros(1, 1, image_size, image_size)).shape[2:] == (last_map, last_map)


def test_depth_is_blocks_per_stage() -> None:
    net = CNN(1, 2, image_size=8, width=4, depth=3)
    assert [block.conv1.stride[0] for block in blocks(net)] == [1, 1, 1, 2, 1, 1]
    assert len(blocks(CNN(1, 2, image_size=224, max_stages=1))) == 1


def test_a_block_that_changes_nothing_has_a_free_shortcut() -> None:
    assert isinstance(_Block(4, 4, 1).shortcut, nn.Identity)
    assert [type(layer) for layer in _Block(4, 8, 1).shortcut.children()] == [nn.Conv2d, nn.BatchNorm2d]


def test_one_sample_of_evaluation_does_not_depend_on_the_others() -> None:
    net = CNN(3, 4, image_size=8, width=4).eval()
    images = torch.randn(5, 3, 8, 8)
    torch.testing.assert_close(net(images)[2:3], net(images[2:3]))


def test_inputs_are_left_as_they_are() -> None:
    images = torch.randn(2, 1, 8, 8)
    before = images.clone()
    CNN(1, 2, image_size=8, width=4)(images)
    assert torch.equal(images, before)


def test_images_of_other_channels_are_refused() -> None:
    with pytest.raises(RuntimeError, match="to have 3 channels, but got 1 channels instead"):
        CNN(3, 2, image_size=8)(torch.zeros(2, 1, 8, 8))
