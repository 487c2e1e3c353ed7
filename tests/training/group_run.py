"""A small run on one process of a group; ``test_module_processes`` starts two of them, and one alone.

A step is 8 samples, the last of an epoch a single one, of which one of two processes has none.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch

from trainkit.data.evaluation_loader import EvaluationLoader
from trainkit.data.loader import BatchLoader
from trainkit.data.plan import ExecutionPlan
from trainkit.data.sources import TensorSource
from trainkit.models import MLP
from trainkit.optim import sgd
from trainkit.rundir import RunDirectory
from trainkit.runs.worker import leave_group
from trainkit.tasks import Classification
from trainkit.training import (
    AtomicCheckpointIO,
    CheckpointWriter,
    Interrupted,
    MetricsCSV,
    StopFlag,
    TrainModule,
)

NUM_TRAIN, NUM_VAL, STOP_AFTER = 25, 20, 6


class SignalOne(L.Callback):
    """Sends the last process of the group a signal."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch.state.step == STOP_AFTER and trainer.global_rank == trainer.world_size - 1:
            os.kill(os.getpid(), signal.SIGTERM)


def main(folder: Path, rank: int, world_size: int, steps_per_execution: int) -> None:
    """Trains until the signal, and tells how it ended in ``rank.json``."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(NUM_TRAIN + NUM_VAL, 6, generator=generator)
    source = TensorSource(inputs, torch.randint(0, 3, (NUM_TRAIN + NUM_VAL,), generator=generator))
    plan = ExecutionPlan(steps_per_execution, max_steps=8, intervals=(2,), val_every_n_steps=4)
    loader = BatchLoader(
        source, torch.arange(NUM_TRAIN), batch_size=8, plan=plan, accumulate=2, rank=rank, world_size=world_size
    )
    validation = EvaluationLoader(
        source, torch.arange(NUM_TRAIN, NUM_TRAIN + NUM_VAL), batch_size=8, rank=rank, world_size=world_size
    )
    torch.manual_seed(3)
    task = Classification(3, class_weights=[1.0, 3.0, 0.2])
    module = TrainModule(MLP(6, 3, [8], 0.0, 0.0), task, sgd(lr=0.1), accumulate=2, clip_norm=0.5)
    stop, run = StopFlag(second_stops=False), RunDirectory(folder)
    writer = CheckpointWriter(
        run, loader, monitor="val/loss", mode="min", every_n_steps=4, every_n_epochs=None, keep=9, stop=stop
    )
    trainer = L.Trainer(
        accelerator="cpu",
        devices=world_size,
        strategy="ddp" if world_size > 1 else "auto",
        max_steps=8,
        max_epochs=-1,
        logger=MetricsCSV(run.metrics),
        callbacks=[SignalOne(), stop, writer],
        log_every_n_steps=2,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
        plugins=[AtomicCheckpointIO()],
    )
    end: dict[str, Any] = {"signal": None, "best": None}
    try:
        trainer.fit(module, loader, validation)
    except Interrupted as interrupted:
        end = {"signal": interrupted.signum, "best": writer.best}
    finally:
        stop.restore()
    (folder / f"{rank}.json").write_text(json.dumps(end))
    leave_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), steps_per_execution=16)
