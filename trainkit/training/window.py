"""What is followed between two logged steps: loss, cheap metrics and throughput, accumulated on the device."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from trainkit.tasks import MeanLoss, Task
from trainkit.training.metric_state import load_metrics, save_metrics
from trainkit.types import StepOutput


class LogWindow(nn.Module):
    """Loss and metrics of the training batches since the last log.

    Args:
        task: Gives the metrics, and predictions from outputs.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.loss, self.metrics = MeanLoss(), task.train_metrics()
        self.num_samples, self._clock, self._seconds_before = 0, time.perf_counter(), 0.0
        self.num_steps = 0

    def start_clock(self) -> None:
        """Throughput is counted from here, and from what an earlier process spent on a loaded window."""
        self._clock, self._seconds_before = time.perf_counter() - self._seconds_before, 0.0

    def update(self, outputs: list[StepOutput], task: Task, num_samples: int, num_steps: int = 1) -> None:
        """Adds an execution, without a wait for the device.

        Args:
            outputs: Of this process's micro-batches; none where it carried only a ghost.
            task: Turns outputs into predictions.
            num_samples: Samples over all processes.
            num_steps: Optimizer steps that were made of them.
        """
        self.num_samples += num_samples
        self.num_steps += num_steps
        if not outputs:
            return
        weight = sum(output.weight for output in outputs)
        self.loss.update(torch.stack([output.loss_sum for output in outputs]).double().sum(), weight)
        predictions = task.train_predictions(torch.cat([output.outputs for output in outputs]))
        self.metrics.update(predictions, task.plain_target(torch.cat([output.target for output in outputs])))

    def close(self) -> dict[str, Tensor]:
        """Values of the window over all processes, by name; starts the next window.

        Without loss and metrics where all of its steps were left out.
        """
        values: dict[str, Tensor] = {}
        if self.num_steps:
            values |= {"train/loss": self.loss.compute()}
            values |= {f"train/{name}": value for name, value in self.metrics.compute().items()}
        now = time.perf_counter()
        values["train/samples_per_second"] = torch.tensor(self.num_samples / max(now - self._clock, 1e-9))
        self.num_samples, self.num_steps, self._clock = 0, 0, now
        self.loss.reset()
        self.metrics.reset()
        return values

    def _named(self) -> list[tuple[str, Metric]]:
        return [("loss", self.loss), *((f"metrics.{name}", metric) for name, metric in self.metrics.items())]

    def state(self) -> dict[str, Any]:
        """The unfinished window of this process, in plain containers."""
        seconds = time.perf_counter() - self._clock
        counts = {"num_samples": self.num_samples, "num_steps": self.num_steps, "seconds": seconds}
        return {**counts, "metrics": save_metrics(self._named())}

    def load(self, state: dict[str, Any]) -> None:
        """Goes on with a window that ``state`` gave."""
        self.num_samples, self._seconds_before = state["num_samples"], state.get("seconds", 0.0)
        self.num_steps = state.get("num_steps", state["num_samples"])
        load_metrics(self._named(), state["metrics"])
