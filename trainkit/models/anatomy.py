"""A net from its input to its head, as freezing and learning rates by depth see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

_OPENED = (nn.Sequential, nn.ModuleList)
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(frozen=True)
class Anatomy:
    """Blocks of a net, and its head.

    Attributes:
        blocks: Names of the modules of each block, as in ``named_modules``, the stem first. A norm belongs to the
            layer before it.
        head: Names of the modules that give the outputs.
    """

    blocks: tuple[tuple[str, ...], ...]
    head: tuple[str, ...]

    def depth_of(self, name: str) -> int:
        """Blocks from the head down to a parameter: 0 for the head; what is in no block counts as the stem."""
        for depth, block in enumerate((self.head, *reversed(self.blocks))):
            if is_within(name, block):
                return depth
        return len(self.blocks)


def anatomy_of(net: nn.Module) -> Anatomy:
    """Finds the blocks and the head of a net.

    The head is what the net's ``head_names`` say, else the last module with parameters. Blocks are the modules next to
    the top; a ``Sequential`` or ``ModuleList`` is opened, as is a module that has one and no sibling of its kind.
    """
    units = list(_units(net, "", is_top=True))
    head_names: Sequence[str] = getattr(net, "head_names", ()) or units[-1:]
    head = tuple(unit for unit in units if is_within(unit, head_names)) or tuple(head_names)
    blocks: list[tuple[str, ...]] = []
    for unit in units:
        if unit in head:
            continue
        if blocks and isinstance(net.get_submodule(unit), NORMS):
            blocks[-1] = (*blocks[-1], unit)
        else:
            blocks.append((unit,))
    return Anatomy(tuple(blocks), head)


def is_within(name: str, modules: Sequence[str]) -> bool:
    """Whether a module or parameter lies in one of some modules."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _units(module: nn.Module, prefix: str, is_top: bool = False) -> Iterator[str]:
    children = {name: child for name, child in module.named_children() if any(True for _ in child.parameters())}
    kinds = Counter(map(type, children.values()))
    for name, child in children.items():
        is_lone = is_top and len(children) == 1 and any(True for _ in child.children())
        is_frame = not isinstance(module, _OPENED) and kinds[type(child)] == 1 and _holds_blocks(child)
        if is_lone or is_frame or isinstance(child, _OPENED):
            yield from _units(child, f"{prefix}{name}.", is_top=is_lone)
        else:
            yield f"{prefix}{name}"


def _holds_blocks(module: nn.Module) -> bool:
    return any(isinstance(child, _OPENED) and len(child) > 1 for child in module.children())
