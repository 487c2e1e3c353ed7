"""Tasks: what is learned, with its loss, its metrics and its predictions."""

from trainkit.tasks.auto import auto
from trainkit.tasks.base import MeanLoss, Task
from trainkit.tasks.classification import Classification
from trainkit.tasks.members import merged_outputs, step_output
from trainkit.tasks.multilabel import Multilabel
from trainkit.tasks.quantile import Quantile
from trainkit.tasks.regression import Regression

__all__ = [
    "Classification",
    "MeanLoss",
    "Multilabel",
    "Quantile",
    "Regression",
    "Task",
    "auto",
    "merged_outputs",
    "step_output",
]
