"""The same training as others show it: a plain loop over torch's DataLoader, and plain Lightning.

``python -m benchmarks.peers lightning|trainkit IMAGES`` trains two epochs on a .npz of images in a process of its own.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchmetrics.classification import MulticlassAccuracy

DATALOADER, LIGHTNING = "loop over a DataLoader", "plain Lightning"
EPOCHS, BATCH_SIZE = 2, 64


class Clock(L.Callback):
    """Times the training loop, all that is done for it included."""

    seconds = 0.0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Starts."""
        self.started = time.perf_counter()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Stops; all checkpoints are written by then, if this is the last callback."""
        self.seconds = time.perf_counter() - self.started


class PlainModule(L.LightningModule):
    """As Lightning's documentation has it, with the accuracy followed."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.accuracy = net, MulticlassAccuracy(10, average="micro")

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Cross-entropy; loss and accuracy are logged."""
        inputs, target = batch
        outputs = self.net(inputs)
        loss = functional.cross_entropy(outputs, target)
        self.accuracy(outputs, target)
        self.log("train_loss", loss)
        self.log("train_accuracy", self.accuracy)
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW as it comes."""
        return torch.optim.AdamW(self.parameters())


def plain_lightning(net: nn.Module, data: Dataset[Any], batch_size: int, epochs: int) -> float:
    """Seconds of the training loop."""
    clock = Clock()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with open(Path(folder) / "printed", "w", encoding="utf-8") as printed, redirect_stdout(printed):
            trainer = L.Trainer(max_epochs=epochs, accelerator="cpu", callbacks=[clock], default_root_dir=folder)
            trainer.fit(PlainModule(net), DataLoader(data, batch_size=batch_size, shuffle=True))
    return clock.seconds


def dataloader_loop(net: nn.Module, data: Dataset[Any], batch_size: int, epochs: int) -> float:
    """Seconds of a loop with nothing but the arithmetic, its optimizer fused."""
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)
    loader = DataLoader(data, batch_size=batch_size, shuffle=True)
    started = time.perf_counter()
    for _ in range(epochs):
        for inputs, target in loader:
            loss = functional.cross_entropy(net(inputs), target)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
    return time.perf_counter() - started


class Pictures(Dataset[Any]):
    """Images as torchvision's MNIST gives them: each a PIL image, each through the transforms."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        from torchvision import transforms

        self.images, self.labels = torch.from_numpy(images), labels.tolist()
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[row].numpy(), mode="L")), self.labels[row]


def net() -> nn.Module:
    """784-64-128-64-10 with BatchNorm."""
    from benchmarks.throughput import batch_norm

    return nn.Sequential(nn.Flatten(), batch_norm())


def main(who: str, path: Path) -> None:
    """Trains, and prints the seconds of the training loop as JSON."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if who == "lightning":
        arrays = np.load(path)
        seconds = plain_lightning(net(), Pictures(arrays["images"], arrays["labels"]), BATCH_SIZE, EPOCHS)
    else:
        import trainkit as tk

        clock = Clock()
        settings = ["data=arrays", f"data.path={path}", f"data.batch_size={BATCH_SIZE}", "trainer.threads=1"]
        settings += ["data.val_share=0", "data.test_share=0", "evaluation.baseline=false", "optimizer=adamw"]
        settings += [f"trainer.max_epochs={EPOCHS}", f"run.root={path.parent}", "trainer.log_every_n_steps=50"]
        with open(os.devnull, "w", encoding="utf-8") as nothing, redirect_stdout(nothing):
            tk.fit(model=net(), callbacks=[clock], overrides=settings)
        seconds = clock.seconds
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
