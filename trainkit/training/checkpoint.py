"""Checkpoints: written whole or not at all, two pointers with checksums, and one commit point per execution."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from trainkit.data.loader import BatchLoader, Execution
from trainkit.data.plan import LoaderState
from trainkit.errors import RunError, unwritten
from trainkit.rundir import RunDirectory, read_json, sha256, write_json
from trainkit.training.background import Background
from trainkit.training.saved import all_saved, best_saved
from trainkit.training.signals import Interrupted, StopFlag


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
        every_n_minutes: Minutes between checkpoints; None for not by the clock.
        keep: Newest checkpoints kept beside the best.
        stop: Raised by a signal.
        background: Writes while training goes on, one checkpoint at a time; also the ``AtomicCheckpointIO``'s. All is
            on the disk when training ends, however it does. None has training wait.
        tell: Told of a checkpoint that cannot be written, without which training then goes on; None ends it.
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
        every_n_minutes: float | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.background, self.every_n_minutes, self.tell = background, every_n_minutes, tell
        self.run, self.loader, self.monitor, self.mode = run, loader, monitor, mode
        self.every_n_steps, self.every_n_epochs, self.keep, self.stop = every_n_steps, every_n_epochs, keep, stop
        self.position = LoaderState()
        self.best: dict[str, Any] | None = None
        self._saved_step, self._is_stopped, self._saved_at = 0, False, time.monotonic()

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
        self._saved_at = time.monotonic()

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
        is_late = self.every_n_minutes is not None and time.monotonic() - self._saved_at >= 60 * self.every_n_minutes
        stop, is_wanted = self.stop.agreed(trainer, is_late)
        if is_best or stop or is_wanted or self._is_due() or trainer.should_stop:
            self._save(trainer, is_best)
        if stop:
            self._finish(trainer)
            raise Interrupted(stop)

    def _check(self) -> None:
        if self.background is not None:
            with self._tolerant():
                self.background.check()

    def close(self) -> None:
        """Waits until all that was saved is on the disk.

        Raises:
            RunError: It could not be written.
        """
        if self.background is not None:
            with self._tolerant():
                self.background.close()

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        """Tells of what could not be written, where training is to go on without it."""
        try:
            yield
        except (OSError, RunError) as error:
            failed = unwritten(self.run.checkpoints, error) if isinstance(error, OSError) else error
            if self.tell is None:
                raise failed from error
            self._saved_step = min(self._saved_step, max((entry["step"] for entry in all_saved(self.run)), default=0))
            self.best = read_json(self.run.best)["monitor"] if self.run.best.is_file() else None
            self.tell(f"{failed.what}; training goes on, and would continue from step {self._saved_step:,}")

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
        path = self.run.checkpoints / f"step-{self.position.step}.ckpt"
        self._is_stopped = trainer.should_stop
        saved_step, best = self._saved_step, self.best if is_best else None
        with self._tolerant():
            for logger in trainer.loggers:
                logger.save()  # a run that is killed goes on from here: its curves must not stand behind
            self._saved_step = self.position.step
            with nullcontext() if self.background is None else self.background.taking():
                trainer.save_checkpoint(path)
            if trainer.is_global_zero:
                point = partial(self._point, path, self.position.step, saved_step, best)
                point() if self.background is None else self.background.add(point)
        self._saved_at = time.monotonic()
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
