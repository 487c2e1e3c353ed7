"""The net for signals: lengths from 1 on, the stages they get, gradients everywhere, and that it learns from place."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainkit.errors import ConfigError
from trainkit.models import CNN1d
from trainkit.models.cnn1d import _Block


def blocks(net: CNN1d) -> list[_Block]:
    return [layer for layer in net.trunk if isinstance(layer, _Block)]


@pytest.mark.parametrize(("channels", "length"), [(1, 40), (3, 41), (12, 1), (2, 7), (1, 333)])
@pytest.mark.parametrize("kernel_size", [1, 5])
def test_shapes_and_gradients(channels: int, length: int, kernel_size: int) -> None:
    net = CNN1d(channels, 5, sequence_length=length, width=8, kernel_size=kernel_size, dropout=0.0)
    outputs = net(torch.randn(4, channels, length))
    assert outputs.shape == (4, 5)
    outputs.square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert bool((parameter.grad != 0).any()), name


@pytest.mark.parametrize(
    ("length", "stages", "last_length"),
    [(1, 1, 1), (20, 1, 20), (21, 2, 11), (40, 2, 20), (100, 4, 13), (5000, 4, 625)],
)
def test_stages_follow_the_length(length: int, stages: int, last_length: int) -> None:
    net = CNN1d(1, 2, sequence_length=length, width=4).eval()
    assert len(blocks(net)) == stages
    assert net.head.in_features == 4 * 2 ** (stages - 1)
    assert net.trunk(torch.zeros(1, 1, length)).shape[2] == last_length


def test_depth_is_blocks_per_stage() -> None:
    net = CNN1d(1, 2, sequence_length=40, width=4, depth=3)
    assert [block.conv1.stride[0] for block in blocks(net)] == [1, 1, 1, 2, 1, 1]
    assert len(blocks(CNN1d(1, 2, sequence_length=5000, max_stages=1))) == 1


def test_a_block_that_changes_nothing_has_a_free_shortcut() -> None:
    assert isinstance(_Block(4, 4, 5, 1).shortcut, nn.Identity)
    assert [type(layer) for layer in _Block(4, 8, 5, 1).shortcut.children()] == [nn.Conv1d, nn.BatchNorm1d]


def test_a_signal_of_another_length_is_taken() -> None:
    """The length decides the stages only."""
    net = CNN1d(2, 3, sequence_length=40).eval()
    assert net(torch.randn(4, 2, 65)).shape == (4, 3)


def test_one_sample_of_evaluation_does_not_depend_on_the_others() -> None:
    net = CNN1d(3, 4, sequence_length=30, width=4).eval()
    signals = torch.randn(5, 3, 30)
    torch.testing.assert_close(net(signals)[2:3], net(signals[2:3]))


def test_inputs_are_left_as_they_are() -> None:
    signals = torch.randn(2, 1, 30)
    before = signals.clone()
    CNN1d(1, 2, sequence_length=30, width=4)(signals)
    assert torch.equal(signals, before)


@pytest.mark.parametrize("kernel_size", [0, 4, -1])
def test_an_even_kernel_is_refused(kernel_size: int) -> None:
    with pytest.raises(ConfigError) as error:
        CNN1d(1, 2, sequence_length=30, kernel_size=kernel_size)
    assert str(error.value) == (
        f"a kernel of {kernel_size} samples\n  where    model.kernel_size\n  expected an odd number"
    )


def test_it_tells_a_rise_from_a_fall_wherever_it_is() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = 0.3 * torch.randn(256, 1, 40, generator=generator)
    classes, places = torch.arange(256) % 2, torch.randint(5, 30, (256,), generator=generator)
    for signal, up, place in zip(noise, classes.tolist(), places.tolist(), strict=True):
        signal[0, place : place + 5] += torch.linspace(-2, 2, 5) * (1 if up else -1)
    net = CNN1d(1, 2, sequence_length=40, width=8, dropout=0.0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    for _ in range(30):
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(net(noise[:128]), classes[:128]))
        optimizer.step()
    assert float((net.eval()(noise[128:]).argmax(dim=1) == classes[128:]).float().mean()) > 0.95
