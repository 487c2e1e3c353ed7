"""Checkpoints: written whole or not at all, two pointers with checksums, and one commit point per execution."""

from __future__ import annotations

import math
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from trainkit.data.loader import BatchLoader, Execution
from trainkit.data.plan import LoaderState
from trainkit.errors import RunError
from trainkit.rundir import RunDirectory, atomic_path, read_json, sha256, write_json
from trainkit.training.background import Background, Snapshots
from trainkit.training.plain import check_plain
from trainkit.training.saved import all_saved, best_saved
from trainkit.training.signals import Interrupted, StopFlag


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it; reads plain containers and tensors only.

    Args:
        background: Takes what is saved while it is taking; None, and at other times, writes at once.
    """

    def __init__(self, background: Background | None = None) -> None:
        super().__init__()
        self.background, self._snapshots = background, Snapshots()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Writes the file, syncs it, and puts it in its place; or has that done, to a copy of what is given.

        Raises:
            RunError: Something in it could not be loaded again.
        """
        check_plain(checkpoint)
        if self.background is not None and self.background.is_taking:
            self.background.add(partial(_write, self._snapshots.take(checkpoint), Path(path)))
        else:
            _write(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Reads a file without unpickling anything but tensors and plain containers."""
        checkpoint: dict[str, Any] = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        return checkpoint


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as file:  # torch's own writer hides what the disk says
        torch.save(checkpoint, file)


class CheckpointWriter(Checkpoint):
    """Saves where training stands at each due step, keeps the best, and stops the run when asked to.

    An execution is committed once: after its batch where no validation is due, else after the validation, when early
    stopping and plateau schedules have seen it. ``last`` is truly the last.

    Args:
        run: Where checkpoints go.
        loader: Put back to its state on a resume; None where it asks the Trainer itself.
        monitor: Logged name whose best value is kept; None keeps the last only.
        mode: ``max`` or ``min``.
        every_n_steps: Optimizer steps between checkpoints; None for not by steps.
        every_n_epochs: Epochs between checkpoints; None for not by epochs.
        keep: Newest checkpoints kept beside the best.
        stop: Raised by a signal.
        background: Writes while training goes on, one checkpoint at a time; also the ``AtomicCheckpointIO``'s. All is
            on the disk when training ends, however it does. None has training wait.
    """

    def __init__(
        self,
        run: RunDirectory,
        loader: BatchLoader | None,
        *,
        monitor: str | None,
        mode: Literal["min", "max"],
        every_n_steps: int | None,
        every_n_epochs: int | None,
        keep: int,
        stop: StopFlag,
        background: Background | None = None,
    ) -> None:
        self.background = background
        self.run, self.loader, self.monitor, self.mode = run, loader, monitor, mode
        self.every_n_steps, self.every_n_epochs, self.keep, self.stop = every_n_steps, every_n_epochs, keep, stop
        self.position = LoaderState()
        self.best: dict[str, Any] | None = None
        self._saved_step, self._is_stopped = 0, False

    def state_dict(self) -> dict[str, Any]:
        """Position of the loader, the best score so far, and whether early stopping has ended the run."""
        position = [self.position.epoch, self.position.position, self.position.step]
        return {"position": position, "best": self.best, "stopped": self._is_stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Sets the loader to go on after the saved execution."""
        self.position = LoaderState(*state_dict["position"])
        if self.loader is not None:
            self.loader.state = self.position
        self.best, self._saved_step = state_dict["best"], self.position.step
        self._mend_best()
        self._is_stopped = state_dict.get("stopped", False)

    def _mend_best(self) -> None:
        """Has ``best.json`` name the best checkpoint up to here; without it, the best is chosen anew."""
        entry = best_saved(self.run, self.best) if self.best is not None else None
        if entry is not None:
            write_json(self.run.best, entry)
        else:
            self.best = None
            self.run.best.unlink(missing_ok=True)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Removes what a run that was killed left half written."""
        if trainer.is_global_zero:
            for left in self.run.checkpoints.glob(".*.tmp"):
                left.unlink(missing_ok=True)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Ends a run at once that had been stopped early before it was killed."""
        trainer.should_stop = trainer.should_stop or self._is_stopped

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Execution, batch_idx: int
    ) -> None:
        """Commits the execution unless a validation follows."""
        self._check()
        self.position = batch.state
        if self.position.step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._refuse_nonfinite(trainer, ("train/loss",))
        if not (batch.validate and trainer.enable_validation):
            self._commit(trainer, is_best=False)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Commits the execution, now that its validation is done."""
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self._refuse_nonfinite(trainer, ("train/loss", "val/loss"))
            self._commit(trainer, self._is_best(trainer))

    def _is_best(self, trainer: L.Trainer) -> bool:
        if self.monitor is None:
            return False
        value = float(trainer.callback_metrics[self.monitor])
        best = self.best["value"] if self.best else None
        # A tie goes to the later step: it has been trained longer, at a lower learning rate.
        better = not math.isnan(value) and (best is None or (value >= best if self.mode == "max" else value <= best))
        if better:
            self.best = {"name": self.monitor, "value": value, "step": self.position.step, "epoch": self._epoch()}
        return better

    def _epoch(self) -> int:
        """Epoch that the last step belongs to, counted from 1."""
        return self.position.epoch + (self.position.position > 0)

    def _is_due(self) -> bool:
        step, epoch = self.position.step, self.position.epoch
        by_step = self.every_n_steps is not None and step % self.every_n_steps == 0
        at_end = self.position.position == 0
        by_epoch = self.every_n_epochs is not None and at_end and epoch % self.every_n_epochs == 0
        return by_step or by_epoch

    def _refuse_nonfinite(self, trainer: L.Trainer, names: tuple[str, ...]) -> None:
        """Ends a run whose loss is not a number, before such weights are saved or called the best.

        Raises:
            RunError: A loss just logged is nan or infinite.
        """
        for name in names:
            value = trainer.callback_metrics.get(name)
            if value is not None and not math.isfinite(float(value)):
                raise self._nonfinite(name, float(value))

    def _nonfinite(self, name: str, value: float) -> RunError:
        return RunError(
            f"{name} is {value} at step {self.position.step:,}",
            where=str(self.run.path),
            hint=self._advice(),
        )

    def _advice(self) -> str:
        """What helps against a loss that is no number."""
        return "a smaller optimizer.lr, a longer scheduler.warmup, or trainer.clip_norm=1"

    def _commit(self, trainer: L.Trainer, is_best: bool) -> None:
        stop = self.stop.agreed(trainer)
        if is_best or stop or self._is_due() or trainer.should_stop:
            self._save(trainer, is_best)
        if stop:
            self._finish(trainer)
            raise Interrupted(stop)

    def _check(self) -> None:
        if self.background is not None:
            self.background.check()

    def close(self) -> None:
        """Waits until all that was saved is on the disk.

        Raises:
            OSError: It could not be written.
        """
        if self.background is not None:
            self.background.close()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves the last step if it was not due, and waits until it is written."""
        if self._saved_step != self.position.step:
            self._save(trainer, is_best=False)
        self._finish(trainer)

    def _finish(self, trainer: L.Trainer) -> None:
        """Waits until the first process has written: others might go on from an earlier checkpoint."""
        self.close()
        trainer.strategy.barrier("written")

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Waits until what was saved before is written."""
        try:
            self.close()
        except Exception as error:  # what ended the training is what is to be told
            exception.add_note(f"A checkpoint could not be written either: {error}")

    def _save(self, trainer: L.Trainer, is_best: bool) -> None:
        for logger in trainer.loggers:
            logger.save()  # a run that is killed goes on from here: its curves must not stand behind
        path = self.run.checkpoints / f"step-{self.position.step}.ckpt"
        self._is_stopped = trainer.should_stop
        with nullcontext() if self.background is None else self.background.taking():
            trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            point = partial(self._point, path, self.position.step, self._saved_step, self.best if is_best else None)
            point() if self.background is None else self.background.add(point)
        self._saved_step = self.position.step
        trainer.strategy.barrier("checkpoint")

    def _point(self, path: Path, step: int, saved_step: int, best: dict[str, Any] | None) -> None:
        entry = {"file": path.name, "sha256": sha256(path), "step": step}
        # One beyond the last save is damaged: this run went on from the one before it.
        known = all_saved(self.run) if saved_step else []
        older = [e for e in known if e["step"] <= saved_step]
        if best is not None:
            write_json(self.run.best, {**entry, "monitor": best})
        kept = [entry, *older][: max(2, self.keep)]
        write_json(self.run.last, {**entry, "older": kept[1:]})
        names = {e["file"] for e in kept}
        if self.run.best.is_file():
            names.add(read_json(self.run.best)["file"])
        for file in self.run.checkpoints.glob("step-*.ckpt"):
            if file.name not in names:
                file.unlink()
