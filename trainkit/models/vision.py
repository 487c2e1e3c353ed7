"""Nets for images by the names that torchvision and timm give them, for any number of channels and outputs."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainkit.errors import ConfigError, did_you_mean, one_of
from trainkit.models.pretrained import DEFAULT, Loaded, Matching, default_state, fit_kernel, load_matching, read_state

Package: TypeAlias = Literal["torchvision", "timm"]
Stem: TypeAlias = Literal["auto", "imagenet", "small"]

SMALL_IMAGE = 64
"""Images of fewer pixels a side lose too much in a stem that was made for 224."""

PATCHES = 8
"""Patches along a side of an image, about; they are the tokens of a transformer."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VisionModel(nn.Module):
    """A classifier of torchvision or timm, by name, with weights if there are any.

    Its first convolution takes the channels of the data, its last layer gives the outputs of the task. With weights,
    images are standardised as the weights expect it, whatever the training part looks like, and resized where the
    weights take one size only. Kernels for three channels are summed for one, as timm does.

    Args:
        name: As ``torchvision.models.list_models()`` or ``timm.list_models()`` lists it.
        in_channels: Channels of the images.
        num_outputs: Outputs per sample.
        image_size: Height and width of the images in pixels, or one number for both.
        package: ``torchvision``, or ``timm``, which is an extra.
        weights: ``default`` for the package's own, which are downloaded; a .safetensors, .pt or .pth file; a run's
            directory; None for fresh weights.
        stem: ``imagenet`` as it was made; ``small``, for ResNets: a 3×3 convolution without pooling, so that small
            images keep their size; ``auto``: small below 64 pixels and without weights.
        mean: Per channel, of images in [0, 1], which weights expect; None for what is known of them.
        std: Likewise.
        input_size: Pixels to which images are resized; None resizes only for a net that takes one size.

    Attributes:
        model_name: As given.
        head_names: Name of the layer that gives the outputs.
        matching: What of the weights fits; None without weights.
        takes_pixels: Whether images are to come in [0, 1], not standardised.

    Raises:
        ConfigError: There is no such name, a detector or segmenter is named, timm is missing, or settings do not fit.
        DataError: The weights cannot be read or downloaded, or are of another architecture.

    Shape:
        - Input: float [B, in_channels, height, width].
        - Output: float [B, num_outputs].
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(
        self,
        name: str,
        in_channels: int,
        num_outputs: int,
        image_size: int | Sequence[int],
        package: Package = "torchvision",
        weights: str | None = None,
        stem: Stem = "auto",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        input_size: int | None = None,
    ) -> None:
        super().__init__()
        _check_choice("stem", stem, ("auto", "imagenet", "small"))
        _check_choice("package", package, ("torchvision", "timm"))
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        has_weights = weights is not None or mean is not None
        self.model_name = name
        self.net = _build(name, package, in_channels, num_outputs)
        fixed = _fixed_size(self.net)
        self.input_size = input_size or (fixed if (height, width) != (fixed, fixed) else None)
        is_small = not has_weights and max(height, width) < SMALL_IMAGE and not self.input_size
        if stem == "small" or (stem == "auto" and is_small):
            _shrink_stem(self.net, in_channels, name, is_asked=stem == "small")
        self.head_names = (f"net.{_head_of(self.net, num_outputs)}",)
        self.takes_pixels, self.matching = has_weights, self._load(name, package, weights, mean, std)
        self._keep_statistics(in_channels)

    def _load(
        self,
        name: str,
        package: Package,
        weights: str | None,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
    ) -> Matching | None:
        known = Loaded({}, IMAGENET_MEAN, IMAGENET_STD, "")
        if weights == DEFAULT:
            known = default_state(name, package)
        elif weights is not None:
            config = getattr(self.net, "pretrained_cfg", None) or {}
            statistics = (config.get("mean", IMAGENET_MEAN), config.get("std", IMAGENET_STD))
            known = Loaded(read_state(weights), *statistics, str(weights))
        self._statistics = (tuple(mean or known.mean), tuple(std or known.std))
        return None if weights is None else load_matching(self.net, known.state, known.origin, self.head_names[0][4:])

    def _keep_statistics(self, in_channels: int) -> None:
        shape = (1, -1, 1, 1)
        values = [torch.tensor(numbers, dtype=torch.float32) for numbers in self._statistics]
        if in_channels != len(values[0]):
            values = [numbers.mean().expand(in_channels) for numbers in values]
        mean, std = (numbers.reshape(shape).clone() if self.takes_pixels else None for numbers in values)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def resolved(self) -> dict[str, Any]:
        """Arguments with which the net is built again where its weights are known already."""
        if not self.takes_pixels:
            return {}
        mean, std = self._statistics
        return {"mean": list(mean), "std": list(std)}

    def forward(self, images: Tensor) -> Tensor:
        """Maps images [B, in_channels, height, width] to outputs [B, num_outputs]."""
        if self.mean is not None and self.std is not None:
            images = (images - self.mean) / self.std
        if self.input_size is not None:
            size = (self.input_size, self.input_size)
            images = functional.interpolate(images, size, mode="bilinear", antialias=True)
        outputs: Tensor = self.net(images)
        return outputs


class ViT(nn.Module):
    """A small vision transformer (Dosovitskiy et al., 2021, https://arxiv.org/abs/2010.11929), torchvision's own.

    Args:
        in_channels: Channels of the images.
        num_outputs: Outputs per sample.
        image_height: Pixels.
        image_width: Pixels.
        patch_size: Pixels of a patch's side; None takes what divides the image into some 8×8 patches of 2 to 16.
        width: Values of a token; a multiple of ``num_heads``.
        depth: Layers.
        num_heads: Attention heads.
        mlp_width: Hidden units of a layer's perceptron.
        dropout: Share of values dropped in training.

    Raises:
        ConfigError: Images are not square, or sizes do not divide each other.

    Shape:
        - Input: float [B, in_channels, height, width].
        - Output: float [B, num_outputs].
    """

    head_names = ("net.heads",)

    def __init__(
        self,
        in_channels: int,
        num_outputs: int,
        image_height: int,
        image_width: int,
        patch_size: int | None = None,
        width: int = 192,
        depth: int = 12,
        num_heads: int = 3,
        mlp_width: int = 768,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        from torchvision.models import VisionTransformer

        if image_height != image_width:
            found = f"images of {image_height}×{image_width}"
            raise ConfigError(found, where="model", expected="square ones", hint="data.image_size=N, of data=images")
        patch = patch_size or _patch_of(image_height)
        for key, size, part in (("patch_size", image_height, patch), ("num_heads", width, num_heads)):
            if part < 1 or size % part:
                raise ConfigError(f"{key} {part} does not divide {size}", where=f"model.{key}")
        self.net = VisionTransformer(
            image_height, patch, depth, num_heads, width, mlp_width, dropout=dropout, num_classes=num_outputs
        )
        if in_channels != 3:
            self.net.conv_proj = nn.Conv2d(in_channels, width, patch, patch)
        nn.init.trunc_normal_(self.net.heads.head.weight, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images [B, in_channels, height, width] to outputs [B, num_outputs]."""
        outputs: Tensor = self.net(images)
        return outputs


def _build(name: str, package: Package, in_channels: int, num_outputs: int) -> nn.Module:
    if package == "timm":
        timm = _timm()
        _check_name(name, timm.list_models())
        made: nn.Module = timm.create_model(name, num_classes=num_outputs, in_chans=in_channels)
        return made
    import torchvision.models as zoo

    _check_name(name, zoo.list_models(module=zoo), zoo.list_models())
    aux: dict[str, Any] = {"aux_logits": False, "init_weights": True} if name in ("inception_v3", "googlenet") else {}
    net: nn.Module = zoo.get_model(name, weights=None, num_classes=num_outputs, **aux)
    if in_channels != 3:
        _replace_first_convolution(net, in_channels)
    return net


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        what, hint = "timm is not installed", "pip install 'trainkit-lightning[timm]'"
        raise ConfigError(what, where="model.package", hint=hint) from error


def _check_name(name: str, names: Sequence[str], others: Sequence[str] = ()) -> None:
    if name in names:
        return
    if name in others:
        what = f"'{name}' finds or outlines objects, and gives no outputs of a whole image"
        raise ConfigError(what, where="model.name", expected="a classifier, such as resnet18")
    hint = did_you_mean(name, names) or f"one of {len(names)}, such as {', '.join(list(names)[:4])}"
    raise ConfigError(f"there is no model '{name}'", where="model.name", hint=hint)


def _check_choice(key: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        hint = did_you_mean(str(value), choices)
        raise ConfigError(f"model.{key} is '{value}'", where=f"model.{key}", expected=one_of(choices), hint=hint)


def _replace_first_convolution(net: nn.Module, in_channels: int) -> None:
    name, old = next((name, module) for name, module in net.named_modules() if isinstance(module, nn.Conv2d))
    new = nn.Conv2d(
        in_channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        old.dilation,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    with torch.no_grad():
        new.weight.copy_(fit_kernel(old.weight, in_channels))
    net.set_submodule(name, new)


def _shrink_stem(net: nn.Module, in_channels: int, name: str, is_asked: bool) -> None:
    first, pool = getattr(net, "conv1", None), getattr(net, "maxpool", None)
    if isinstance(first, nn.Conv2d) and pool is not None:
        net.conv1 = nn.Conv2d(in_channels, first.out_channels, 3, 1, 1, bias=first.bias is not None)
        nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
        net.maxpool = nn.Identity()
    elif is_asked:
        raise ConfigError(
            f"{name} has no small stem", where="model.stem", expected="auto or imagenet: ResNets have one"
        )


def _patch_of(size: int) -> int:
    divisors = [patch for patch in range(2, 17) if size % patch == 0] or [1]
    return min(divisors, key=lambda patch: abs(size // patch - PATCHES))


def _fixed_size(net: nn.Module) -> int | None:
    """Pixels a side of a net that takes one size only, as transformers with learned positions do."""
    size = getattr(net, "image_size", None)  # torchvision
    embedding = getattr(net, "patch_embed", None)  # timm
    if size is None and embedding is not None and getattr(embedding, "strict_img_size", False):
        size = getattr(embedding, "img_size", (None,))[0]
    return size if isinstance(size, int) else None


def _head_of(net: nn.Module, num_outputs: int) -> str:
    """Name of the last layer with that many outputs."""
    name: str
    for name, module in reversed(list(net.named_modules())):
        size = getattr(module, "out_features", getattr(module, "out_channels", None))
        if isinstance(module, (nn.Linear, nn.Conv2d)) and size == num_outputs:
            return name
    raise ConfigError("the net has no last layer of that many outputs", where="model.name")
