"""Which weights of a net train, and how fast: freezing, unfreezing, and learning rates by depth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from omegaconf import DictConfig, ListConfig
from torch import nn

from trainkit.errors import ConfigError, did_you_mean, one_of
from trainkit.models import Network
from trainkit.models.anatomy import Anatomy, anatomy_of, is_within

BACKBONE = "backbone"


@dataclass(frozen=True)
class Tuning:
    """What of a net trains when.

    Attributes:
        anatomy: Of the net.
        frozen: Names of the net's parameters that do not train at the start.
        every: Optimizer steps after which one more block trains, from the head down; None for never.
        norm: ``auto``, ``train`` or ``eval``.
    """

    anatomy: Anatomy
    frozen: frozenset[str]
    every: int | None
    norm: str

    def frozen_at(self, step: int) -> frozenset[str]:
        """Names of the parameters that do not train at an optimizer step, 0 for the first."""
        if not self.every:
            return self.frozen
        thawed = step // self.every
        return frozenset(name for name in self.frozen if self.anatomy.depth_of(name) > thawed)

    def is_probe(self, net: nn.Module) -> bool:
        """Whether the head trains alone, on what stands still from the first step to the last."""
        names = {name for name, _ in net.named_parameters()}
        rest = {name for name in names if not is_within(name, self.anatomy.head)}
        return self.every is None and self.norm != "train" and self.frozen == rest and bool(rest)

    def apply(self, network: Network, step: int) -> None:
        """Has the parameters of a step train, and what stands still compute as in evaluation."""
        frozen = self.frozen_at(step)
        for name, p in network.net.named_parameters():
            p.requires_grad_(name not in frozen)
        network.still = tuple(self._still(network.net, frozen))
        network.train(network.training)

    def _still(self, net: nn.Module, frozen: frozenset[str]) -> Iterator[str]:
        """Names of the modules that compute as in evaluation."""
        leaves: dict[str, bool] = {}
        is_all_frozen = bool(frozen)
        for name, module in net.named_modules():
            if any(True for _ in module.children()):
                continue
            own = [f"{name}.{key}".lstrip(".") for key, _ in module.named_parameters()]
            is_frozen = all(key in frozen for key in own) and bool(own)
            is_all_frozen = is_all_frozen and (is_frozen or not own)
            is_still = is_frozen or (not own and is_all_frozen and not is_within(name, self.anatomy.head))
            if isinstance(module, nn.modules.batchnorm._NormBase) and self.norm != "auto":
                is_still = self.norm == "eval"
            leaves[name] = is_still
        for name, _ in net.named_modules():
            prefix = f"{name}." if name else ""
            within = [still for leaf, still in leaves.items() if leaf == name or leaf.startswith(prefix)]
            if within and all(within):
                yield name


def tuning_of(network: Network, config: DictConfig, total_steps: int | None = None) -> Tuning | None:
    """What the section ``finetune`` asks of a net; None where all of it trains at one rate.

    Args:
        network: Its net is not changed.
        config: Of the run.
        total_steps: Optimizer steps of the run, for shares of it; None where it only matters what is frozen.

    Raises:
        ConfigError: A name that matches nothing, or a setting out of range.
    """
    section = config.get("finetune")
    if section is None:
        return None
    _check(section)
    if section.freeze is None and section.norm != "eval":
        return None
    anatomy = anatomy_of(network.net)
    every = section.unfreeze_every
    if isinstance(every, float):
        every = max(1, round(every * (total_steps or 1)))
    return Tuning(anatomy, frozenset(_frozen(network.net, anatomy, section.freeze)), every, section.norm)


def set_up_tuning(network: Network, config: DictConfig) -> None:
    """Freezes what the config asks for, and gives parameters their learning rates.

    What is frozen at first and trains later is left to ``Unfreezing``, for the optimizer has to know it.
    """
    tuning = tuning_of(network, config)
    if tuning is not None:
        tuning.apply(network, 0)
        if tuning.every is not None:
            network.net.requires_grad_(True)
    put_rates(network, config.get("finetune"))


class Unfreezing:
    """Called before each optimizer step: has one more block train when its time has come.

    Args:
        tuning: What trains when.
        network: Its parameters are all in the optimizer.
    """

    def __init__(self, tuning: Tuning, network: Network) -> None:
        self.tuning, self.network = tuning, network
        self._frozen: frozenset[str] | None = None

    def __call__(self, step: int) -> None:
        """Arranges what trains at optimizer step ``step``, 0 for the first."""
        frozen = self.tuning.frozen_at(step)
        if frozen != self._frozen:
            self.tuning.apply(self.network, step)
            self._frozen = frozen


def put_rates(network: Network, section: DictConfig | None) -> None:
    """Gives parameters their share of the learning rate, or a rate of their own, for ``parameter_groups``."""
    if section is None or (section.layer_decay is None and section.head_lr is None):
        return
    anatomy = anatomy_of(network.net)
    for name, p in network.net.named_parameters():
        depth = anatomy.depth_of(name)
        if section.layer_decay is not None:
            p.lr_scale = section.layer_decay**depth  # type: ignore[attr-defined]
        if depth == 0 and section.head_lr is not None:
            p.lr = section.head_lr  # type: ignore[attr-defined]


def _frozen(net: nn.Module, anatomy: Anatomy, freeze: Any) -> Iterator[str]:
    names = [name for name, _ in net.named_parameters()]
    if freeze is None:
        return
    if freeze == BACKBONE:
        yield from (name for name in names if not is_within(name, anatomy.head))
    elif isinstance(freeze, int):
        if freeze > len(anatomy.blocks):
            found = f"finetune.freeze is {freeze}, and the net has {len(anatomy.blocks)} blocks and a head"
            raise ConfigError(found, where="finetune.freeze", expected=f"at most {len(anatomy.blocks)}")
        least = len(anatomy.blocks) - freeze
        yield from (name for name in names if anatomy.depth_of(name) > least)
    else:
        modules = [name for name, _ in net.named_modules() if name]
        for pattern in [freeze] if isinstance(freeze, str) else freeze:
            matched = [name for name in modules if fnmatchcase(name, str(pattern))]
            found_names = [n for n in names if is_within(n, matched) or fnmatchcase(n, str(pattern))]
            if not found_names:
                hint = did_you_mean(str(pattern), modules) or f"its modules are {', '.join(modules[:8])} …"
                raise ConfigError(f"nothing in the net is called '{pattern}'", where="finetune.freeze", hint=hint)
            yield from found_names


def _check(section: DictConfig) -> None:
    for key, choices in (("norm", ("auto", "train", "eval")), ("cache", ("auto", True, False))):
        if section[key] not in choices:
            words = [str(choice).lower() for choice in choices]
            hint = did_you_mean(str(section[key]), words)
            raise ConfigError(
                f"finetune.{key} is {section[key]!r}", where=f"finetune.{key}", expected=one_of(words), hint=hint
            )
    freeze, every = section.freeze, section.unfreeze_every
    is_count = isinstance(freeze, int) and not isinstance(freeze, bool)
    if not (freeze is None or isinstance(freeze, (str, list, ListConfig)) or (is_count and freeze >= 1)):
        expected = f"{BACKBONE}, a number of blocks ≥ 1, names of modules, or null"
        raise ConfigError(f"finetune.freeze is {freeze!r}", where="finetune.freeze", expected=expected)
    if every is not None:
        is_number = isinstance(every, (int, float)) and not isinstance(every, bool)
        if not is_number or every <= 0 or (isinstance(every, float) and every >= 1):
            expected = "steps as an integer ≥ 1, or a share of the run between 0 and 1"
            raise ConfigError(f"unfreeze_every is {every!r}", where="finetune.unfreeze_every", expected=expected)
        if freeze is None:
            raise ConfigError(
                "nothing is frozen that could be unfrozen",
                where="finetune.unfreeze_every",
                hint="finetune.freeze=backbone",
            )
    if section.layer_decay is not None and not 0 < section.layer_decay <= 1:
        found = f"layer_decay is {section.layer_decay}"
        raise ConfigError(found, where="finetune.layer_decay", expected="above 0, to 1")
    if section.head_lr is not None and not section.head_lr > 0:
        raise ConfigError(f"head_lr is {section.head_lr}", where="finetune.head_lr", expected="above 0")
