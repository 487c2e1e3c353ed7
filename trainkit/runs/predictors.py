"""From raw inputs to predictions, with a net or a classical estimator, in padded batches of one size."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainkit.data import DataModule, EvaluationLoader
from trainkit.data.augment import View
from trainkit.data.module import Part
from trainkit.data.sources import Source, TensorSource
from trainkit.models import Network
from trainkit.tasks import Task
from trainkit.types import DataSpec, Inputs, Predictions


class Predictor(abc.ABC):
    """Predicts the rows of a source.

    Args:
        spec: What is known of the data.
        batch_size: Rows of a batch, padding included.

    Attributes:
        levels: Of the quantiles that are predicted, [N, Q]; none where it is a value a row.
    """

    levels: tuple[float, ...] = ()

    def __init__(self, spec: DataSpec, batch_size: int) -> None:
        self.spec, self.batch_size = spec, batch_size

    @abc.abstractmethod
    def predict_batch(self, inputs: Inputs) -> Tensor:
        """float64 probabilities [B, K], or values [B], of several targets [B, T]."""

    def predict(self, source: Source, rows: Tensor) -> np.ndarray:
        """Predictions of some rows, float64 [N, K] or [N], in their order."""
        loader = EvaluationLoader(source, rows, batch_size=self.batch_size)
        with torch.inference_mode():
            parts = [self.predict_batch(batch.inputs)[: batch.num_real].cpu() for batch in loader]
        return torch.cat(parts).numpy()

    def predict_inputs(self, inputs: Inputs) -> np.ndarray:
        """Predictions of inputs without a target."""
        first = next(iter(inputs.values())) if isinstance(inputs, dict) else inputs
        count = len(first)
        return self.predict(TensorSource(inputs, torch.zeros(count)), torch.arange(count))

    def predict_part(self, data: DataModule, part: Part) -> Predictions:
        """Predictions of a part of the data, with its targets."""
        rows = data.rows(part)
        return self.predictions(
            self.predict(data.source, rows),
            rows=data.row_numbers(rows.numpy()),
            target=data.targets(part),
            groups=data.groups(part),
            files=data.file_names(rows.numpy()),
        )

    def predictions(self, predicted: np.ndarray, **about: Any) -> Predictions:
        """What ``predict`` gave, with what is known of the rows.

        Args:
            predicted: float64 [N, K] or [N].
            about: ``rows`` and other attributes of ``Predictions``.
        """
        if self.spec.target_kind != "number":
            about |= {"class_names": self.spec.class_names, "is_multilabel": self.spec.target_kind == "multilabel"}
            return Predictions(probabilities=predicted, **about)
        if not self.levels:
            return Predictions(values=predicted, target_names=self.spec.target_names, **about)
        median = predicted[:, self.levels.index(0.5)]
        return Predictions(values=median, quantiles=predicted, levels=self.levels, **about)


class NetPredictor(Predictor):
    """Predicts with a net.

    Args:
        network: The net behind its preprocessing.
        task: Turns outputs into predictions.
        spec: What is known of the data.
        batch_size: Rows of a batch, padding included.
        device: Where the net runs.
        views: Of each sample, over whose predictions is averaged; none for the sample alone.
    """

    def __init__(
        self,
        network: Network,
        task: Task,
        spec: DataSpec,
        batch_size: int,
        device: torch.device | None = None,
        views: Sequence[View] = (),
    ) -> None:
        super().__init__(spec, batch_size)
        self.device, self.views = device or torch.device("cpu"), views
        self.network, self.task = network.to(self.device).eval(), task.to(self.device).eval()
        self.levels = task.levels

    def predict_batch(self, inputs: Inputs) -> Tensor:
        """Runs the net on one padded batch, or on each view of it."""
        on_device = (
            {name: tensor.to(self.device) for name, tensor in inputs.items()}
            if isinstance(inputs, dict)
            else inputs.to(self.device)
        )
        if not self.views:
            return self.task.predictions(self.network(on_device))
        assert isinstance(on_device, Tensor)
        made = [self.task.predictions(self.network(view(on_device))) for view in self.views]
        return torch.stack(made).mean(dim=0)


class ClassicalPredictor(Predictor):
    """Predicts with a scikit-learn estimator on the flattened, preprocessed inputs.

    Args:
        inputs: Preprocessing; its output is flattened to one matrix.
        estimator: Fitted.
        spec: What is known of the data.
        batch_size: Rows of a batch, padding included.
    """

    def __init__(self, inputs: nn.Module, estimator: Any, spec: DataSpec, batch_size: int) -> None:
        super().__init__(spec, batch_size)
        self.inputs, self.estimator = inputs.eval(), estimator

    def predict_batch(self, inputs: Inputs) -> Tensor:
        """Runs the estimator on one padded batch."""
        matrix = flat_matrix(self.inputs, inputs)
        if self.spec.target_kind == "number":
            return torch.from_numpy(np.asarray(self.estimator.predict(matrix), dtype=np.float64))
        if self.spec.target_kind == "multilabel":
            return torch.from_numpy(label_probabilities(self.estimator, matrix))
        known = self.estimator.predict_proba(matrix)
        probabilities = np.zeros((len(known), self.spec.num_classes))
        probabilities[:, self.estimator.classes_.astype(int)] = known
        return torch.from_numpy(probabilities)


def label_probabilities(estimator: Any, matrix: np.ndarray) -> np.ndarray:
    """Probabilities of each label, float64 [B, K], of an estimator that was fitted on targets [N, K] of 0 and 1."""
    made = estimator.predict_proba(matrix)
    if isinstance(made, np.ndarray) and made.ndim == 2:  # as of a net of scikit-learn's own
        return made
    classes = estimator.classes_
    columns = []
    for of_label, known in zip(made, classes, strict=True):
        places = np.flatnonzero(np.asarray(known) == 1)
        columns.append(of_label[:, places[0]] if len(places) else np.zeros(len(matrix)))
    return np.stack(columns, axis=1)


def flat_matrix(inputs_module: nn.Module, inputs: Inputs) -> np.ndarray:
    """Preprocessed inputs as one float64 matrix [B, D]."""
    with torch.no_grad():
        return np.asarray(inputs_module(inputs).flatten(1).numpy(), dtype=np.float64)
