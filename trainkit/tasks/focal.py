"""The losses of a class that ``task.loss`` names, and their settings; shared by classification and labels."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from trainkit.errors import ConfigError, did_you_mean, one_of

ClassLoss: TypeAlias = Literal["cross_entropy", "focal"]
FOCAL_GAMMA = 2.0


def check_class_loss(loss: str, focal_gamma: float, label_smoothing: float) -> None:
    """Raises ConfigError for a loss that does not exist, a setting out of range, or one that has no effect."""
    if loss not in get_args(ClassLoss):
        what, names = f"there is no loss '{loss}'", get_args(ClassLoss)
        raise ConfigError(what, where="task.loss", expected=one_of(names), hint=did_you_mean(str(loss), names))
    if not focal_gamma >= 0:
        raise ConfigError(f"focal gamma {focal_gamma}", where="task.focal_gamma", expected="a number ≥ 0")
    if focal_gamma != FOCAL_GAMMA and loss != "focal":
        what = f"task.focal_gamma has no effect on {loss}"
        raise ConfigError(what, where="task.focal_gamma", hint="task.loss=focal")
    if not 0 <= label_smoothing < 1:
        what = f"label smoothing {label_smoothing} is out of range"
        raise ConfigError(what, where="task.label_smoothing", expected="0 to below 1")
