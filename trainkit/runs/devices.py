"""Which devices a run uses, and whether they are there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from omegaconf import DictConfig

from trainkit.data.workers import usable_cores
from trainkit.errors import LaunchError


@dataclass(frozen=True)
class Devices:
    """Devices of a run.

    Attributes:
        accelerator: ``cpu`` or ``cuda``.
        count: Processes, one per device.
        threads: CPU threads of each process.
    """

    accelerator: str
    count: int
    threads: int

    def describe(self) -> str:
        """For the plan line: ``2 threads``, ``2 processes × 1 thread``, ``1 GPU``."""
        if self.accelerator == "cuda":
            return f"{self.count} GPU" + "s" * (self.count > 1)
        threads = f"{self.threads} thread" + "s" * (self.threads > 1)
        return threads if self.count == 1 else f"{self.count} processes × {threads}"

    @property
    def torch_device(self) -> torch.device:
        """Device of a single process."""
        return torch.device(self.accelerator)


def find_devices(config: DictConfig) -> Devices:
    """Devices that the config asks for.

    Raises:
        LaunchError: More GPUs than exist.
    """
    trainer, available = config.trainer, torch.cuda.device_count()
    if trainer.accelerator == "gpu" and trainer.devices > available:
        raise LaunchError(
            f"trainer.devices={trainer.devices} GPUs asked for, {available} found",
            where="trainer.devices",
            expected=f"at most {available}" if available else "trainer.accelerator=cpu on this machine",
        )
    use_gpu = trainer.accelerator == "gpu" or (trainer.accelerator == "auto" and available > 0)
    if use_gpu and trainer.devices > available:
        raise LaunchError(
            f"trainer.devices={trainer.devices} GPUs asked for, {available} found",
            where="trainer.devices",
            expected=f"at most {available}, or trainer.accelerator=cpu",
        )
    cores = usable_cores()
    threads = trainer.threads or (torch.get_num_threads() if trainer.devices == 1 else max(1, cores // trainer.devices))
    return Devices("cuda" if use_gpu else "cpu", trainer.devices, threads)
