"""The training loop: ``TrainModule``, checkpoints, loggers, signals and the progress line."""

from trainkit.training.checkpoint import (
    AtomicCheckpointIO,
    CheckpointWriter,
    all_saved,
    checkpoint_path,
    load_best_weights,
    usable_checkpoint,
)
from trainkit.training.loggers import MetricsCSV, TensorBoard, read_metrics
from trainkit.training.module import TrainModule
from trainkit.training.own_module import ModuleCheckpointWriter
from trainkit.training.progress import ProgressLine, clock
from trainkit.training.signals import Interrupted, StopFlag

__all__ = [
    "AtomicCheckpointIO",
    "CheckpointWriter",
    "Interrupted",
    "MetricsCSV",
    "ModuleCheckpointWriter",
    "ProgressLine",
    "StopFlag",
    "TensorBoard",
    "TrainModule",
    "all_saved",
    "checkpoint_path",
    "clock",
    "load_best_weights",
    "read_metrics",
    "usable_checkpoint",
]
