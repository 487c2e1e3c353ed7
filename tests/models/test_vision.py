"""Nets of torchvision and timm by name, for any channels and outputs, and the small vision transformer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from trainkit.errors import ConfigError
from trainkit.models import VisionModel, ViT


@pytest.mark.parametrize(
    ("name", "package", "head"),
    [
        ("resnet18", "torchvision", "net.fc"),
        ("mobilenet_v3_small", "torchvision", "net.classifier.3"),
        ("squeezenet1_1", "torchvision", "net.classifier.1"),
        ("resnet10t", "timm", "net.fc"),
        ("tf_efficientnet_lite0", "timm", "net.classifier"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_channels_and_outputs_are_those_of_the_data(name: str, package: str, head: str, channels: int) -> None:
    torch.manual_seed(0)
    net = VisionModel(name, channels, 5, 64, package=package).eval()  # type: ignore[arg-type]
    assert net(torch.randn(2, channels, 64, 64)).shape == (2, 5)
    assert net.head_names == (head,) and not net.takes_pixels and net.matching is None
    assert net.resolved() == {}


def test_small_images_get_a_stem_that_keeps_their_size() -> None:
    def resnet(size: int, **settings: Any) -> Any:
        return VisionModel("resnet18", 3, 2, size, **settings).net

    assert (resnet(32).conv1.stride, resnet(64).conv1.stride) == ((1, 1), (2, 2))
    assert isinstance(resnet(32).maxpool, nn.Identity)
    assert resnet(32, stem="imagenet").conv1.stride == (2, 2)
    assert resnet(224, stem="small").conv1.stride == (1, 1)


def test_a_net_of_one_size_gets_images_resized() -> None:
    net = VisionModel("vit_tiny_patch16_224", 1, 3, 32, package="timm").eval()
    assert net.input_size == 224 and net(torch.rand(1, 1, 32, 32)).shape == (1, 3)
    assert VisionModel("vit_tiny_patch16_224", 1, 3, 224, package="timm").input_size is None


@pytest.mark.parametrize(
    ("settings", "what", "told"),
    [
        ({"name": "resnet1"}, "there is no model 'resnet1'", "did you mean 'resnet18'?"),
        ({"name": "resnet10", "package": "timm"}, "there is no model 'resnet10'", "did you mean 'resnet10t'?"),
        ({"name": "fcn_resnet50"}, "'fcn_resnet50' finds or outlines objects, and gives no outputs of a whole image",
         "a classifier, such as resnet18"),
        ({"stem": "tiny"}, "model.stem is 'tiny'", "one of auto, imagenet, small"),
        ({"package": "keras"}, "model.package is 'keras'", "one of torchvision, timm"),
        ({"name": "vgg11", "stem": "small"}, "vgg11 has no small stem", "auto or imagenet: ResNets have one"),
    ],
)  # fmt: skip
def test_what_there_is_not(settings: dict[str, str], what: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        VisionModel(**{"name": "resnet18", "in_channels": 3, "num_outputs": 2, "image_size": 64, **settings})  # type: ignore[arg-type]
    assert error.value.what == what and told in (error.value.hint, error.value.expected)


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ConfigError) as error:
        VisionModel("resnet10t", 3, 2, 64, package="timm")
    assert (error.value.what, error.value.hint) == ("timm is not installed", "pip install 'trainkit-lightning[timm]'")


@pytest.mark.parametrize(("size", "patch"), [(8, 2), (28, 4), (32, 4), (64, 8), (224, 16), (7, 7), (23, 1)])
def test_a_transformer_cuts_images_into_some_patches(size: int, patch: int) -> None:
    net = ViT(1, 3, size, size, width=12, depth=1, mlp_width=8)
    assert net.net.patch_size == patch and net(torch.randn(2, 1, size, size)).shape == (2, 3)


def test_a_transformer_says_what_does_not_divide() -> None:
    for settings, what in (
        ({"image_width": 10}, "images of 8×10"),
        ({"patch_size": 3}, "patch_size 3 does not divide 8"),
        ({"width": 13}, "num_heads 3 does not divide 13"),
    ):
        with pytest.raises(ConfigError) as error:
            ViT(**{"in_channels": 1, "num_outputs": 2, "image_height": 8, "image_width": 8, **settings})
        assert error.value.what == what
