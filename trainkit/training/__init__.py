"""The training loop: ``TrainModule``, checkpoints, loggers, pictures, signals and the progress line."""

from trainkit.training.checkpoint import (
    AtomicCheckpointIO,
    CheckpointWriter,
    all_saved,
    load_best_weights,
    usable_checkpoint,
)
from trainkit.training.confusion import ConfusionMatrix
from trainkit.training.histograms import Histograms
from trainkit.training.loggers import MetricsCSV, TensorBoard, close, quieted, read_metrics
from trainkit.training.module import TrainModule
from trainkit.training.own_module import ModuleCheckpointWriter, make_plain
from trainkit.training.pictures import Pictures
from trainkit.training.progress import ProgressLine, clock
from trainkit.training.samples import SamplePredictions
from trainkit.training.signals import Interrupted, StopFlag

__all__ = [
    "AtomicCheckpointIO",
    "CheckpointWriter",
    "ConfusionMatrix",
    "Histograms",
    "Interrupted",
    "MetricsCSV",
    "ModuleCheckpointWriter",
    "Pictures",
    "ProgressLine",
    "SamplePredictions",
    "StopFlag",
    "TensorBoard",
    "TrainModule",
    "all_saved",
    "clock",
    "close",
    "load_best_weights",
    "make_plain",
    "quieted",
    "read_metrics",
    "usable_checkpoint",
]
