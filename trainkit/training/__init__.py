"""The training loop: ``TrainModule``, checkpoints, loggers, pictures, signals and the progress line."""

from trainkit.training.augmented import AugmentedSamples
from trainkit.training.background import Background
from trainkit.training.checkpoint import AtomicCheckpointIO, CheckpointWriter
from trainkit.training.confusion import ConfusionMatrix
from trainkit.training.histograms import Histograms
from trainkit.training.loggers import MetricsCSV, TensorBoard, close, quieted, read_metrics
from trainkit.training.module import TrainModule
from trainkit.training.own_module import ModuleCheckpointWriter, make_plain
from trainkit.training.pictures import Pictures
from trainkit.training.progress import ProgressLine, clock
from trainkit.training.samples import SamplePredictions
from trainkit.training.saved import (
    all_saved,
    best_saved,
    best_score,
    checkpoint_path,
    load_best_weights,
    read_checkpoint,
    step_of,
    usable_checkpoint,
)
from trainkit.training.signals import Interrupted, StopFlag

__all__ = [
    "AtomicCheckpointIO",
    "AugmentedSamples",
    "Background",
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
    "best_saved",
    "best_score",
    "checkpoint_path",
    "clock",
    "close",
    "load_best_weights",
    "make_plain",
    "quieted",
    "read_checkpoint",
    "read_metrics",
    "step_of",
    "usable_checkpoint",
]
