"""The training loop: ``TrainModule``, checkpoints, loggers, pictures, signals and the progress line."""

from trainkit.training.augmented import AugmentedSamples
from trainkit.training.background import Background
from trainkit.training.checkpoint import CheckpointWriter
from trainkit.training.checkpoint_io import AtomicCheckpointIO
from trainkit.training.confusion import ConfusionMatrix
from trainkit.training.finite import FiniteGuard
from trainkit.training.health import Health
from trainkit.training.histograms import Histograms
from trainkit.training.loggers import MetricsCSV, TensorBoard, close, quieted, read_metrics
from trainkit.training.memory import MemoryGuard, is_out_of_memory
from trainkit.training.module import TrainModule
from trainkit.training.own_module import ModuleCheckpointWriter, make_plain
from trainkit.training.pictures import Pictures
from trainkit.training.progress import ProgressLine, clock
from trainkit.training.rollback import roll_back
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
from trainkit.training.signals import Interrupted, StopFlag, heeded

__all__ = [
    "AtomicCheckpointIO",
    "AugmentedSamples",
    "Background",
    "CheckpointWriter",
    "ConfusionMatrix",
    "FiniteGuard",
    "Health",
    "Histograms",
    "Interrupted",
    "MemoryGuard",
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
    "heeded",
    "is_out_of_memory",
    "load_best_weights",
    "make_plain",
    "quieted",
    "read_checkpoint",
    "read_metrics",
    "roll_back",
    "step_of",
    "usable_checkpoint",
]
