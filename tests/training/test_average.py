"""The moving average of weights, beside flat parameters and without them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainkit.optim.flat import FlatParameters
from trainkit.training.average import WeightAverage


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 5, 3).to(memory_format=torch.channels_last), nn.Flatten(), nn.Linear(5, 3))


def trained(is_flat: bool, frozen: bool = False, dtype: torch.dtype = torch.float32) -> tuple[WeightAverage, nn.Module]:
    """A net of which some steps were taken, and its average."""
    module, average = net().to(dtype), WeightAverage(0.9)
    if frozen:
        module[0].requires_grad_(False)
    average.begin(module)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, fused=True)
    flat = FlatParameters(optimizer) if is_flat else None
    average.follow(flat)
    for step in range(30):
        inputs = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(step)).to(dtype)
        optimizer.zero_grad()
        module(inputs).square().sum().backward()
        if flat is not None:
            flat.end_look()
            with torch.no_grad():
                flat.step()
        else:
            optimizer.step()
        average.update()
    if flat is not None:
        flat.release()
        average.follow(None)
    return average, module


def weights(average: WeightAverage) -> dict[str, Tensor]:
    found: dict[str, Tensor] = average.state()["weights"]
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("frozen", [False, True], ids=["all", "some"])
def test_averages_the_same_beside_flat_parameters(frozen: bool, dtype: torch.dtype) -> None:
    flat, _ = trained(True, frozen, dtype)
    apart, module = trained(False, frozen, dtype)
    tolerance = 1e-6 if dtype == torch.float32 else 2e-3
    assert list(weights(flat)) == [name for name, _ in module.named_parameters()]
    for name, value in weights(apart).items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(weights(flat)[name], value, rtol=tolerance, atol=tolerance)
        assert weights(flat)[name].stride() == value.stride()


def test_updates_the_parameters_of_a_buffer_by_one_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    module, average = net(), WeightAverage(0.9)
    lerp: Any = torch._foreach_lerp_
    counts: list[int] = []

    def counted(into: list[Tensor], *rest: object) -> None:
        counts.append(len(into))
        lerp(into, *rest)

    monkeypatch.setattr(torch, "_foreach_lerp_", counted)
    average.begin(module)
    average.update()
    flat = FlatParameters(torch.optim.AdamW(module.parameters(), fused=True))
    average.follow(flat)
    average.update()
    flat.release()
    average.follow(None)
    average.update()
    assert counts == [4, 1, 4]


def test_has_memory_of_its_own_again_when_the_parameters_have() -> None:
    average, _ = trained(True)
    assert all(value.untyped_storage().nbytes() == value.nbytes for value in weights(average).values())


def test_goes_on_where_a_state_left_off_in_either_layout() -> None:
    average, module = trained(True)
    again = WeightAverage(0.9)
    again.load(average.state())
    again.begin(module)
    again.follow(FlatParameters(torch.optim.AdamW(module.parameters(), fused=True)))
    assert again.num_updates == 30
    assert all(value.equal(weights(average)[name]) for name, value in weights(again).items())
