"""Going back to the last checkpoint in the middle of a run: weights and optimizer, not the order of samples."""

from __future__ import annotations

from typing import Any

import torch

from trainkit.errors import RunError
from trainkit.training.checkpoint import CheckpointWriter
from trainkit.training.saved import step_of, usable_checkpoint


def roll_back(module: Any, writer: CheckpointWriter) -> int:
    """Puts weights, their average and the optimizer's state back to those of the last checkpoint.

    Learning rates, and whatever else a schedule has set, stay as they are.

    Args:
        module: A TrainModule that trains.
        writer: Of its checkpoints; what it is writing is waited for.

    Returns:
        The checkpoint's step.

    Raises:
        RunError: There is none yet.
    """
    if writer.background is not None:
        writer.background.wait()
    path, _ = usable_checkpoint(writer.run)
    if path is None:
        raise RunError(
            "the gradient is not finite, and there is no checkpoint yet to go back to",
            where=str(writer.run.path),
            hint="checkpoint.every_n_steps=… for earlier ones, or trainer.on_nonfinite=skip",
        )
    saved = torch.load(path, map_location="cpu", weights_only=True)
    optimizer = module.trainer.optimizers[0]
    if module.lean is not None:
        module.lean.release()
    module.load_state_dict(saved["state_dict"])
    settings = [{name: group[name] for name in group if name != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(saved["optimizer_states"][0])
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)
    if module.average is not None and "average" in saved.get("trainkit", {}):
        module.average.load(saved["trainkit"]["average"])
        module.average.begin(module)
    if module.lean is not None:
        module.lean.take_up()
    return step_of(path)
