"""Muon for what is a matrix in a hidden layer, AdamW for the rest, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from trainkit.errors import ConfigError
from trainkit.optim.groups import exempt_from_decay

TAKES_MATRICES = "is_matrix"
"""Key of a parameter group: whether Muon takes it."""


class MuonWithAdamW(Optimizer):
    """Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/) and AdamW in one ``Optimizer``.

    Muon takes the weights of hidden layers, kernels of convolutions flattened to matrices; AdamW takes the first and
    the last layer, embeddings, norms, biases, and whatever is not a matrix. Muon's update is scaled to the size of
    AdamW's (Liu et al., 2025, https://arxiv.org/abs/2502.16982), so that a learning rate and a decay serve both.

    Args:
        params: Parameters, or groups; ``split_groups`` says of each which of the two takes it. Where a group does not
            say so, Muon takes what has two dimensions or four.
        lr: Learning rate.
        adamw_lr: Learning rate of AdamW; None for ``lr``.
        weight_decay: Decoupled decay of both.
        momentum: Of Muon.
        nesterov: Whether Muon's momentum looks ahead.
        ns_steps: Newton-Schulz iterations by which Muon makes an update orthogonal.
        betas: Decay rates of AdamW's moments.
        eps: Added to AdamW's denominator.

    Raises:
        ConfigError: There is nothing for Muon.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 3e-3,
        adamw_lr: float | None = None,
        weight_decay: float = 0.05,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        muon: dict[str, Any] = {"momentum": momentum, "nesterov": nesterov, "ns_steps": ns_steps}
        adamw: dict[str, Any] = {"betas": betas, "eps": eps}
        given = list(params)
        groups = given if given and isinstance(given[0], dict) else [{"params": given}]
        split = [part for group in groups for part in _by_shape(group)]
        if not any(group[TAKES_MATRICES] for group in split):
            raise ConfigError(
                "Muon takes matrices of hidden layers, and the model has none",
                where="optimizer",
                hint="optimizer=adamw",
            )
        for group in split:
            settings = muon if group[TAKES_MATRICES] else adamw | ({} if adamw_lr is None else {"lr": adamw_lr})
            group |= {name: group.get(name, value) for name, value in settings.items()}
        super().__init__(split, {"lr": lr, "weight_decay": weight_decay})
        self._muon_settings, self._adamw_settings = muon, adamw
        self._link()

    @staticmethod
    def split_groups(groups: list[dict[str, Any]], module: nn.Module) -> list[dict[str, Any]]:
        """Splits parameter groups of a module into what Muon takes and what AdamW takes.

        Args:
            groups: As ``parameter_groups`` gives them.
            module: Whose parameters they are; its order of layers says which are the first and the last.
        """
        matrices = _hidden_matrices(module)
        parts = [
            {
                **group,
                "params": [p for p in group["params"] if (id(p) in matrices) is is_matrix],
                TAKES_MATRICES: is_matrix,
            }
            for group in groups
            for is_matrix in (True, False)
        ]
        return [part for part in parts if part["params"]]

    def _link(self) -> None:
        """Has both work on the groups and the state of this one, which are others after a state was loaded."""
        self._matrices = [group for group in self.param_groups if group[TAKES_MATRICES]]
        rest = [group for group in self.param_groups if not group[TAKES_MATRICES]]
        self._muon = torch.optim.Muon(
            [torch.zeros(1, 1)], lr=1.0, adjust_lr_fn="match_rms_adamw", **self._muon_settings
        )
        self._adamw: AdamW | None = None
        if rest:
            can_fuse = all(
                p.is_floating_point() and p.device.type in ("cpu", "cuda") for g in rest for p in g["params"]
            )
            self._adamw = AdamW(rest, fused=can_fuse or None, **self._adamw_settings)
            self._adamw.param_groups, self._adamw.state = rest, self.state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Takes groups and state of a checkpoint."""
        super().__setstate__(state)
        self._link()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._adamw is not None:
            self._adamw.step()
        self._muon.state.clear()
        self._muon.param_groups = [self._flattened(group) for group in self._matrices]
        self._muon.step()  # type: ignore[no-untyped-call]
        return loss

    def _flattened(self, group: dict[str, Any]) -> dict[str, Any]:
        """The group with matrices in place of its parameters, which share their memory, gradients and state."""
        defaults, stand_ins = self._muon.defaults, []
        for p in group["params"]:
            if p.grad is None:
                continue
            stand_in = _as_matrix(p.detach(), p)
            stand_in.grad = _as_matrix(p.grad, p)
            self._muon.state[stand_in] = self.state[p]
            stand_ins.append(stand_in)
        return {**defaults, **group, "params": stand_ins}


def _by_shape(group: dict[str, Any]) -> list[dict[str, Any]]:
    if TAKES_MATRICES in group:
        return [group]
    params = group["params"]
    params = [params] if isinstance(params, Tensor) else list(params)
    parts = [
        {**group, "params": [p for p in params if (p.ndim in (2, 4)) is is_matrix], TAKES_MATRICES: is_matrix}
        for is_matrix in (True, False)
    ]
    return [part for part in parts if part["params"]]


def _as_matrix(tensor: Tensor, like: Tensor) -> Tensor:
    """A view [rows, columns] of a matrix or kernel; the order of the columns is that of ``like`` in memory."""
    if tensor.ndim == 4 and like.is_contiguous(memory_format=torch.channels_last):
        tensor = tensor.permute(0, 2, 3, 1)
    return tensor.flatten(1)


def _hidden_matrices(module: nn.Module) -> set[int]:
    """Identities of the trained matrices and kernels of hidden layers: of all but the first and the last one."""
    exempt, layers = exempt_from_decay(module), list[list[nn.Parameter]]()
    known: set[int] = set()
    for owner in module.modules():
        own = [p for p in owner.parameters(recurse=False) if p.ndim in (2, 3, 4, 5) and id(p) not in exempt | known]
        known |= {id(p) for p in own}
        layers += [own] if own else []
    return {id(p) for layer in layers[1:-1] for p in layer if p.ndim in (2, 4) and p.requires_grad}
