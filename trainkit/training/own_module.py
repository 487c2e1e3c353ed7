"""Checkpoints of a ``LightningModule`` of the user's own, which Lightning's loop trains a batch at a time."""

from __future__ import annotations

from typing import Any

import lightning as L
from torch import Tensor

from trainkit.config.copying import plain_entries
from trainkit.data.plan import LoaderState
from trainkit.rundir import RunDirectory
from trainkit.training.checkpoint import CheckpointWriter
from trainkit.training.metric_state import EpochMeans, load_metrics, metrics_in, save_metrics
from trainkit.training.random_state import get_random_state, set_random_state


class ModuleCheckpointWriter(CheckpointWriter):
    """Saves where the user's own module stands; a step is a batch, whatever optimizers it moved.

    A batch is committed before the next one is fetched (the loaders call ``before_fetch``), or where it ended an
    epoch, before the next one begins: schedules, hooks, validations and curves that belong to it are then done, and the
    random generators stand where the next fetch finds them.

    Args:
        run: Where checkpoints go.
        max_steps: Batches after which training ends; None for no such limit.
        settings: Keywords of ``CheckpointWriter``.
    """

    def __init__(self, run: RunDirectory, *, max_steps: int | None = None, **settings: Any) -> None:
        super().__init__(run, None, **settings)
        self.max_steps = max_steps
        self._is_committed, self._found_best, self._has_validated = True, False, False
        self._trainer: L.Trainer | None = None
        self._module: L.LightningModule | None = None
        self._means = EpochMeans()
        self._resumed: dict[str, Any] | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Remembers whom it follows."""
        self._trainer, self._module = trainer, pl_module

    def now(self) -> LoaderState:
        """Epoch, batches done in it, and batches done in all, as the Trainer counts them."""
        assert self._trainer is not None
        done = self._trainer.fit_loop.epoch_loop.batch_progress
        return LoaderState(self._trainer.current_epoch, done.current.completed, done.total.completed)

    def before_fetch(self) -> None:
        """Commits the batch that has ended, once."""
        assert self._trainer is not None
        if not self._is_committed:
            self._is_committed = True
            self._commit(self._trainer, self._found_best)

    def state_dict(self) -> dict[str, Any]:
        """As for our own modules, with random generators and what an epoch and a step under way have accumulated."""
        state = {**super().state_dict(), "random": get_random_state()}
        if self._trainer is None or self._module is None or not self.position.position:
            return state
        return {
            **state,
            "means": self._means.state(self._trainer),
            "metrics": save_metrics(metrics_in(self._module)),
            "grads": _pending_grads(self._trainer, self._module, self.position.position),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back where training stands."""
        super().load_state_dict(state_dict)
        self._resumed = state_dict

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begins an epoch afresh where one had ended, and puts back generators, sums and gradients."""
        super().on_train_start(trainer, pl_module)
        if self._resumed is None:
            return
        if not self.position.position:
            trainer.fit_loop.restarting = False
        self._means.load(self._resumed.get("means", {}))
        load_metrics(metrics_in(pl_module), self._resumed.get("metrics", {}))
        for name, grad in self._resumed.get("grads", {}).items():
            parameter = pl_module.get_parameter(name)
            parameter.grad = grad.to(parameter.device)
        set_random_state(self._resumed["random"])
        self._resumed = None

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Commits the epoch that has ended."""
        self.before_fetch()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Notes where training stands, and ends it after ``max_steps``."""
        self._means.add(trainer)
        trainer.fit_loop.restarting = False  # which would skip the plateau schedules of the epoch gone on with
        step, epoch = trainer.fit_loop.epoch_loop.total_batch_idx + 1, trainer.current_epoch
        at_end = trainer.is_last_batch
        self.position = LoaderState(epoch + 1, 0, step) if at_end else LoaderState(epoch, batch_idx + 1, step)
        self._is_committed = self._found_best = self._has_validated = False
        if step == self.max_steps:
            trainer.should_stop = True
        if step % max(1, trainer.log_every_n_steps) == 0:  # type: ignore[attr-defined]
            self._refuse_nonfinite_output(outputs)

    def _advice(self) -> str:
        """Names the module's own learning rates, which no setting of the run's holds."""
        assert self._trainer is not None and self._module is not None
        rates = [f"{group['lr']:.3g}" for optimizer in self._trainer.optimizers for group in optimizer.param_groups]
        where = f"{type(self._module).__name__}.configure_optimizers"
        clip = ", or trainer.clip_norm=1" if self._module.automatic_optimization else ", or clipped gradients"
        return f"a smaller learning rate in {where} (now {', '.join(dict.fromkeys(rates))}){clip}"

    def _refuse_nonfinite_output(self, outputs: Any) -> None:
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor) and not bool(loss.isfinite().all()):
            raise self._nonfinite("the loss", float(loss.sum()))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Notes a new best, which is committed with its batch."""
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            is_logged = self.monitor in trainer.callback_metrics  # a module may leave a value out at times
            self._found_best, self._has_validated = is_logged and self._is_best(trainer), True

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves the last step if it was not."""
        if self._saved_step != self.position.step:
            self._save(trainer, self._found_best)
        self._finish(trainer)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Makes the loops' counts those of a batch or epoch that has ended, and hyper-parameters plain."""
        make_plain(checkpoint)
        fit = checkpoint["loops"]["fit_loop"]
        if not self.position.position:  # the next epoch is counted as ready, and has not begun
            for counts in fit["epoch_progress"].values():
                counts["ready"] = counts["completed"]
        elif self._has_validated:  # a restart counts the step once more where it skips a validation
            fit["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1


def make_plain(checkpoint: dict[str, Any]) -> None:
    """Puts texts in place of hyper-parameters that would have to be unpickled."""
    for key in ("hyper_parameters", "datamodule_hyper_parameters"):
        if key in checkpoint:
            checkpoint[key] = plain_entries(checkpoint[key])
    checkpoint.pop("hparams_type", None)


def _pending_grads(trainer: L.Trainer, module: L.LightningModule, position: int) -> dict[str, Tensor]:
    """Gradients that belong to an optimizer step still to come, by parameter."""
    if module.automatic_optimization and position % trainer.accumulate_grad_batches == 0:
        return {}
    return {name: p.grad.detach().cpu() for name, p in module.named_parameters() if p.grad is not None}
