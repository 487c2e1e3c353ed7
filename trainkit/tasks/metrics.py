"""The user's own torchmetrics metrics beside a task's: curves and a monitor of the validation."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Literal

from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.wrappers.transformations import MetricInputTransformer

from trainkit.errors import ConfigError

WHERE = "task.metrics"


class _PositiveColumn(MetricInputTransformer):
    """Takes probabilities [B, 2] and hands on those of the second class, [B]."""

    def transform_pred(self, pred: Tensor) -> Tensor:
        return pred[:, 1]


def named_metrics(metrics: Mapping[str, Metric] | None, builtin: MetricCollection) -> dict[str, Metric]:
    """The user's metrics by name, once they are known to be metrics.

    Args:
        metrics: As the user gave them.
        builtin: The task's own, whose names are taken.

    Raises:
        ConfigError: There is something else than named metrics, or a name is taken or is no word.
    """
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        found = f"task.metrics is a {type(metrics).__name__}"
        raise ConfigError(found, where=WHERE, expected="a mapping of names to torchmetrics metrics")
    for name, metric in metrics.items():
        where = f"{WHERE}.{name}"
        if name in ("loss", *builtin):
            what = f"'{name}' is what the task itself logs"
            raise ConfigError(what, where=where, expected="another name", hint=f"{WHERE}.my_{name}")
        if not (isinstance(name, str) and name.isidentifier()):
            raise ConfigError(f"{name!r} is no name for a metric", where=WHERE, expected="letters, digits and _")
        if not isinstance(metric, Metric):
            found = f"the class {metric.__name__}" if isinstance(metric, type) else f"a {type(metric).__name__}"
            raise ConfigError(f"the metric {name} is {found}", where=where, expected="a torchmetrics.Metric")
    return dict(metrics)


def with_own(builtin: MetricCollection, own: Mapping[str, Metric], is_binary: bool = False) -> MetricCollection:
    """A task's metrics and fresh copies of the user's.

    Args:
        builtin: Fresh metrics of the task's own.
        own: The user's, by name.
        is_binary: Whether predictions are probabilities of two classes; torchmetrics' binary metrics then get those of
            the second.
    """
    if not own:
        return builtin
    metrics: dict[str, Metric | MetricCollection] = {str(name): metric for name, metric in builtin.items()}
    for name, metric in own.items():
        metrics[name] = _PositiveColumn(metric.clone()) if is_binary and _is_binary(metric) else metric.clone()
    # Grouped by torchmetrics, metrics whose states happen to agree after one batch would share them from then on.
    return MetricCollection(metrics, compute_groups=False)


def _is_binary(metric: Metric) -> bool:
    """Whether it is one of torchmetrics' binary metrics, or a subclass."""
    kinds = [base for base in type(metric).__mro__ if base.__module__.startswith("torchmetrics.")]
    return any(kind.__name__.startswith("Binary") for kind in kinds)


def check_metrics(metrics: MetricCollection, own: Collection[str], predictions: Tensor, target: Tensor) -> None:
    """Tries the user's metrics on a batch.

    Args:
        metrics: Fresh, the user's among them.
        own: Names of the user's.
        predictions: As the task makes them [B, ...].
        target: In their own unit [B].

    Raises:
        ConfigError: One does not take the predictions, or gives something else than one number.
    """
    for name in own:
        metric = metrics[name].to(predictions.device)
        kind = type(getattr(metric, "wrapped_metric", metric)).__name__
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of batches that lack a class
                metric.update(predictions, target)
                value = metric.compute()
        except Exception as error:
            cause = (str(error).strip() or "no message").splitlines()[0]
            raise ConfigError(
                f"{kind} does not take a batch: {type(error).__name__}: {cause}",
                where=f"{WHERE}.{name}",
                expected=f"a metric of predictions {list(predictions.shape)} and targets {list(target.shape)}",
            ) from error
        if not isinstance(value, Tensor) or value.numel() != 1:
            found = (
                f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            )
            raise ConfigError(f"{kind} gives {found}", where=f"{WHERE}.{name}", expected="one number")


def direction(name: str, metric: Metric) -> Literal["min", "max"]:
    """Which way one of the user's metrics is better.

    Raises:
        ConfigError: The metric does not say.
    """
    if metric.higher_is_better is None:
        what = f"{type(metric).__name__} does not say whether higher is better"
        raise ConfigError(what, where=f"{WHERE}.{name}", hint="trainer.mode=max or min; for a callback, its mode")
    return "max" if metric.higher_is_better else "min"
