"""Nets that are one layer after the other, carried forward and back by the same operations, without autograd.

On a CPU the bookkeeping of autograd costs a small net as much as its arithmetic. A chain of well-known layers needs
none of it: each calls the operation that autograd would, and writes its gradients where they are wanted.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as module_hooks

from trainkit.data.preprocessing import Standardize
from trainkit.models.mlp import MLP
from trainkit.models.network import Network
from trainkit.types import Inputs

Operation = Callable[..., Tensor]
_relu_backward: Operation = torch.ops.aten.threshold_backward.default
_silu_backward: Operation = torch.ops.aten.silu_backward.default
_gelu_backward: Operation = torch.ops.aten.gelu_backward.default
_tanh_backward: Operation = torch.ops.aten.tanh_backward.default
_batch_norm_backward: Callable[..., list[Tensor]] = torch.ops.aten.native_batch_norm_backward.default
_layer_norm_backward: Callable[..., list[Tensor]] = torch.ops.aten.native_layer_norm_backward.default

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
GLOBAL_HOOKS = tuple(f"_global{name}" for name in HOOKS)


class Link(Protocol):
    """A layer of a chain."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs in training; keeps what ``backward`` needs."""

    def backward(self, grad: Tensor, is_first: bool) -> Tensor | None:
        """Gradient by the inputs, which is left out of the first; writes those of parameters into their ``grad``."""


class _Linear:
    def __init__(self, layer: nn.Linear) -> None:
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        return functional.linear(inputs, self.layer.weight, self.layer.bias)

    def backward(self, grad: Tensor, is_first: bool) -> Tensor | None:
        layer = self.layer
        torch.mm(grad.t(), self.inputs, out=layer.weight.grad)
        if layer.bias is not None:
            torch.sum(grad, 0, out=layer.bias.grad)
        return None if is_first else grad.mm(layer.weight)


class _BatchNorm:
    def __init__(self, layer: nn.BatchNorm1d) -> None:
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        layer = self.layer
        assert layer.num_batches_tracked is not None and layer.momentum is not None
        layer.num_batches_tracked.add_(1)
        buffers = (layer.running_mean, layer.running_var)
        outputs, *statistics = torch.native_batch_norm(
            inputs, layer.weight, layer.bias, *buffers, True, layer.momentum, layer.eps
        )
        self.saved = inputs, layer.weight, *buffers, *statistics
        return outputs

    def backward(self, grad: Tensor, is_first: bool) -> Tensor | None:
        layer = self.layer
        inputs, weight, bias = _batch_norm_backward(grad, *self.saved, True, layer.eps, [not is_first, True, True])
        _write(layer, weight, bias)
        return inputs


class _LayerNorm:
    def __init__(self, layer: nn.LayerNorm) -> None:
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        layer = self.layer
        outputs, mean, deviation = torch.native_layer_norm(
            inputs, layer.normalized_shape, layer.weight, layer.bias, layer.eps
        )
        self.saved = inputs, layer.normalized_shape, mean, deviation, layer.weight, layer.bias
        return outputs

    def backward(self, grad: Tensor, is_first: bool) -> Tensor | None:
        inputs, weight, bias = _layer_norm_backward(grad, *self.saved, [not is_first, True, True])
        _write(self.layer, weight, bias)
        return inputs


class _Activation:
    def __init__(self, layer: Any) -> None:
        self.layer = layer


class _ReLU(_Activation):
    def forward(self, inputs: Tensor) -> Tensor:
        self.outputs = torch.relu(inputs)
        return self.outputs

    def backward(self, grad: Tensor, is_first: bool) -> Tensor | None:
        return _relu_backward(grad, self.outputs, 0)


class _SiLU(_Activation):
    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        return functional.silu(inputs)

    def backward(self, grad: Tensor, is_first: bool) -> Tensor | None:
        return _silu_backward(grad, self.inputs)


class _GELU(_Activation):
    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        return functional.gelu(inputs, approximate=self.layer.approximate)

    def backward(self, grad: Tensor, is_first: bool) -> Tensor | None:
        return _gelu_backward(grad, self.inputs, approximate=self.layer.approximate)


class _Tanh(_Activation):
    def forward(self, inputs: Tensor) -> Tensor:
        self.outputs = torch.tanh(inputs)
        return self.outputs

    def backward(self, grad: Tensor, is_first: bool) -> Tensor | None:
        return _tanh_backward(grad, self.outputs)


class _Dropout:
    def __init__(self, layer: nn.Dropout) -> None:
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        kept = 1 - self.layer.p
        self.noise = torch.empty_like(inputs).bernoulli_(kept).div_(kept)
        return inputs * self.noise

    def backward(self, grad: Tensor, is_first: bool) -> Tensor | None:
        return None if is_first else grad * self.noise


LINKS: dict[type[nn.Module], Callable[[Any], Link]] = {
    nn.Linear: _Linear,
    nn.BatchNorm1d: _BatchNorm,
    nn.LayerNorm: _LayerNorm,
    nn.ReLU: _ReLU,
    nn.SiLU: _SiLU,
    nn.GELU: _GELU,
    nn.Tanh: _Tanh,
    nn.Dropout: _Dropout,
}


FORWARDS: dict[type[nn.Module], Any] = {kind: inspect.getattr_static(kind, "forward") for kind in (*LINKS, nn.Identity)}
"""As torch has them; one that was replaced is left to autograd."""


class Chain:
    """A network that is one simple layer after the other, on a CPU in float32.

    Args:
        module: The TrainModule of a network that ``chain_of`` found to be such.
        layers: Of its net, in order.
        flattens: Whether inputs of several axes become vectors first.
    """

    def __init__(self, module: Any, layers: list[nn.Module], flattens: bool) -> None:
        network = module.model
        self.inputs, self.flattens = network.inputs, flattens
        self.modules = [module, *network.modules()]
        self.params = list(network.parameters())
        self.links = [LINKS[type(layer)](layer) for layer in layers]
        self._scaling: tuple[Tensor, Tensor] | None = None

    def suits(self) -> bool:
        """Whether nobody would notice: all in training, with no hooks, and no autograd of anyone's asked for.

        To be asked before each execution.
        """
        if type(self.inputs) is Standardize:
            self._scaling = self.inputs.mean, self.inputs.scale
        if any(getattr(module_hooks, name) for name in GLOBAL_HOOKS) or torch.is_anomaly_enabled():
            return False
        if torch.is_autocast_enabled("cpu"):
            return False
        for module in self.modules:
            values = module.__dict__
            if "forward" in values or any(values[name] for name in HOOKS) or not module.training:
                return False
        return all(p.requires_grad and not p._backward_hooks and not _followed(p) for p in self.params)

    def prepare(self, inputs: Inputs) -> Tensor | None:
        """What goes into the first layer, float32 [B, D]; None where that is something else."""
        if self._scaling is not None and isinstance(inputs, Tensor) and inputs.dtype == torch.float32:
            values: Any = torch.sub(inputs, self._scaling[0]).div_(self._scaling[1])
        else:
            values = self.inputs(inputs)
        if not isinstance(values, Tensor) or values.dtype != torch.float32:
            return None
        if self.flattens:
            values = values.flatten(1)
        return values if values.ndim == 2 and len(values) > 1 else None  # of one row, bits differ and BatchNorm refuses

    def forward(self, values: Tensor) -> Tensor:
        """Outputs [B, ...] of what ``prepare`` gave, without a graph."""
        for link in self.links:
            values = link.forward(values)
        return values

    def backward(self, grad: Tensor) -> None:
        """Writes the gradients of all parameters, given that by the outputs."""
        values: Tensor | None = grad
        for link in reversed(self.links):
            assert values is not None
            values = link.backward(values, link is self.links[0])


def chain_of(module: Any) -> Chain | None:
    """The chain that a module's network is, or None.

    Args:
        module: A TrainModule, whose training begins.
    """
    network = module.model
    if type(network) is not Network or network.head is not None or network.dtype is not None:
        return None
    layers, flattens = _in_order(network.net), type(network.net) is MLP
    if layers and type(layers[0]) is nn.Flatten and (layers[0].start_dim, layers[0].end_dim) == (1, -1):
        layers, flattens = layers[1:], True
    if not all(map(_is_simple, layers)):
        return None
    layers = [layer for layer in layers if not _does_nothing(layer)]
    params = list(network.parameters())
    own = list(itertools.chain.from_iterable(layer.parameters(recurse=False) for layer in layers))
    is_whole = len(own) == len(params) == len({id(p) for p in own})  # none is shared, and none beside the layers
    is_plain = all(p.dtype == torch.float32 and p.device.type == "cpu" and type(p) is nn.Parameter for p in params)
    return Chain(module, layers, flattens) if is_whole and is_plain and own else None


def _followed(p: nn.Parameter) -> bool:
    """Whether somebody is to be called once its gradient is there."""
    return bool(getattr(p, "_post_accumulate_grad_hooks", None))


def signature(module: Any) -> list[Any]:
    """What a chain was made of; another one is to be looked for where this has changed."""
    network = module.model
    layers = _in_order(network.net) if type(network) is Network else []
    settings = ((layer.__dict__.get("p"), layer.__dict__.get("momentum"), type(layer).forward) for layer in layers)
    return [*map(id, layers), *settings]


def _in_order(net: nn.Module) -> list[nn.Module]:
    """Layers of a net in order; the net itself where it is no sequence of them."""
    if type(net) is MLP:
        return [*net.trunk, net.head]
    if type(net) is nn.Sequential:
        return list(itertools.chain.from_iterable(map(_in_order, net)))
    return [net]


def _is_simple(layer: nn.Module) -> bool:
    if FORWARDS.get(type(layer)) is not type(layer).forward:
        return False
    learned = [values for name in ("weight", "bias") if (values := getattr(layer, name, None)) is not None]
    if not all(type(values) is nn.Parameter for values in learned):
        return False
    if type(layer) is nn.BatchNorm1d:
        return len(learned) == 2 and layer.track_running_stats and layer.momentum is not None
    if type(layer) is nn.LayerNorm:
        return len(learned) == 2 and len(layer.normalized_shape) == 1
    return layer.p < 1 if type(layer) is nn.Dropout else True


def _does_nothing(layer: nn.Module) -> bool:
    return type(layer) is nn.Identity or (type(layer) is nn.Dropout and layer.p == 0)


def _write(layer: Any, weight: Tensor, bias: Tensor) -> None:
    layer.weight.grad.copy_(weight)
    layer.bias.grad.copy_(bias)
