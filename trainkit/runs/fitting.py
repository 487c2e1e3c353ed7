"""Whether a checkpoint fits the net that it is to be put into, which may have changed; asked before a write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.nn.parameter import is_lazy

from trainkit.errors import RunError
from trainkit.optim import build_optimizer
from trainkit.runs.own_trial import Look
from trainkit.runs.parts import ModuleParts, Parts, RunParts
from trainkit.runs.schedule import run_schedule
from trainkit.runs.trainers import train_module
from trainkit.training import read_checkpoint


@dataclass(frozen=True)
class Fitting:
    """A checkpoint to go on from.

    Attributes:
        path: The checkpoint.
        key: How the command named its run: ``run.dir`` or ``resume_from``.
    """

    path: Path
    key: str

    def check_tensors(self, parts: RunParts) -> None:
        """Compares names and shapes of the tensors, without a copy in memory.

        Raises:
            RunError: The first tensor that differs.
        """
        saved = self._load()["state_dict"]
        if isinstance(parts, ModuleParts):
            module = parts.module
            is_whole = module.strict_loading and not is_overridden("configure_model", module)
            self._compare(saved, module.state_dict(), is_whole)
        elif isinstance(parts, Parts) and parts.network is not None:
            self._compare(saved, train_module(parts, run_schedule(parts)).state_dict())

    def check_optimizers(self, parts: RunParts, seen: Look | None) -> None:
        """Compares the groups of parameters that the optimizers hold.

        Args:
            parts: The net or module.
            seen: What a trial of the user's own module showed; None for a net.

        Raises:
            RunError: There are other groups than in the checkpoint.
        """
        saved = tuple(_sizes(state["param_groups"]) for state in self._load()["optimizer_states"])
        if isinstance(parts, Parts):
            optimizer = build_optimizer(parts.optimizer, train_module(parts, run_schedule(parts)))  # type: ignore[arg-type]
            own: tuple[tuple[int, ...], ...] = (_sizes(optimizer.param_groups),)
        elif seen is None or seen.notice is not None:  # no batch could be tried: the optimizers are not known yet
            return
        else:
            own = seen.group_sizes
        if own != saved:
            raise self._error(
                f"the optimizer holds groups of {_listed(own)} parameters, and the checkpoint of "
                f"'{self._run}' groups of {_listed(saved)}"
            )

    @property
    def _run(self) -> Path:
        return self.path.parent.parent

    def _load(self) -> dict[str, Any]:
        return read_checkpoint(self.path, "state_dict", "optimizer_states")

    def _compare(self, saved: Mapping[str, Tensor], own: Mapping[str, Any], is_whole: bool = True) -> None:
        there = f"the checkpoint of '{self._run}'"
        for name, tensor in own.items():
            if name not in saved and is_whole:
                raise self._error(f"the net has {_text(name, tensor)}, and {there} has no such tensor")
            if name in saved and not is_lazy(tensor) and _shape(saved[name]) != _shape(tensor):
                raise self._error(f"{_text(name, tensor)} in the net is {_shape(saved[name])} in {there}")
        if is_whole and (gone := [name for name in saved if name not in own]):
            raise self._error(f"{there} has {_text(gone[0], saved[gone[0]])}, and the net has no such tensor")

    def _error(self, what: str) -> RunError:
        hint = f"init_from={self._run} takes the weights that fit"
        return RunError(what, where=self.key, expected="the net and the optimizer of that run", hint=hint)


def _sizes(groups: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
    return tuple(len(group["params"]) for group in groups)


def _listed(sizes: Sequence[Sequence[int]]) -> str:
    return " and ".join(" + ".join(map(str, groups)) for groups in sizes)


def _shape(value: Any) -> list[int] | None:
    return list(value.shape) if isinstance(value, Tensor) else None


def _text(name: str, value: Any) -> str:
    shown = name.removeprefix("model.") if name.startswith("model.net.") else name
    return f"{shown} {'of no shape yet' if is_lazy(value) else _shape(value)}"
