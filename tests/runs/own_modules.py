"""LightningModules as their users write them, for the tests of runs that train them."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchmetrics.classification import MulticlassAccuracy


class Noisy(Dataset[Any]):
    """Three clouds of points, another time each time a point is read."""

    def __init__(self, size: int = 100, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(size) % 3
        self.points = torch.randn(size, 4, generator=generator) + 2 * functional.one_hot(self.labels, 4)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.points[index] + 0.1 * torch.randn(4), self.labels[index]


class Points(L.LightningDataModule):
    """Loaders of points, as a data module that counts what its hooks are asked."""

    def __init__(self, batch_size: int = 16) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.asked: list[str] = []

    def prepare_data(self) -> None:
        self.asked.append("prepare")

    def setup(self, stage: str) -> None:
        self.asked.append(stage)

    def train_dataloader(self) -> Any:
        return DataLoader(Noisy(), self.batch_size, shuffle=True)

    def val_dataloader(self) -> Any:
        return fixed()

    def test_dataloader(self) -> Any:
        return DataLoader(Noisy(40, seed=2), self.batch_size)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch[0] * 2, batch[1]


class TrainOnly(L.LightningDataModule):
    """A single hook, as in many an example."""

    def train_dataloader(self) -> Any:
        return loader()


class Classifier(L.LightningModule):
    """A net with dropout and BatchNorm, a schedule of a kind, values logged by step and by epoch, and a metric."""

    def __init__(self, schedule: str = "step", width: int = 8, extra: Any = None) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(width, 3)
        )
        self.accuracy, self.val_accuracy = MulticlassAccuracy(3), MulticlassAccuracy(3)

    def forward(self, points: Tensor) -> Tensor:
        outputs: Tensor = self.net(points)
        return outputs

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        outputs = self(batch[0])
        loss = functional.cross_entropy(outputs, batch[1])
        self.log("train_loss", loss, on_step=True, on_epoch=True, batch_size=len(batch[0]))
        self.accuracy(outputs, batch[1])
        self.log("train_accuracy", self.accuracy, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        outputs = self(batch[0])
        self.log("val_loss", functional.cross_entropy(outputs, batch[1]))
        self.val_accuracy(outputs, batch[1])
        self.log("val_accuracy", self.val_accuracy)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test_loss", functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), 1e-2)
        schedulers = torch.optim.lr_scheduler
        if self.hparams["schedule"] == "epoch":
            return [optimizer], [schedulers.StepLR(optimizer, 1, 0.7)]
        if self.hparams["schedule"] == "plateau":
            plateau = schedulers.ReduceLROnPlateau(optimizer, patience=0, factor=0.5, threshold=0.3)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"}}
        cosine = schedulers.CosineAnnealingLR(optimizer, 30)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cosine, "interval": "step"}}


class Pairs(Classifier):
    """Takes a batch of each of two loaders."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step(batch["a"], batch_idx) + super().training_step(batch["b"], batch_idx)


class ByHand(Classifier):
    """Optimizes by hand, every second batch."""

    def __init__(self, schedule: str = "step") -> None:
        super().__init__(schedule)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        self.manual_backward(super().training_step(batch, batch_idx))
        if batch_idx % 2:
            optimizer: Any = self.optimizers()
            optimizer.step()
            optimizer.zero_grad()


class GAN(L.LightningModule):
    """Two nets, two optimizers, no validation, nothing to watch; images go to ``self.logger.experiment``."""

    def __init__(self, latent_size: int = 8, lr: float = 2e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(latent_size, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))
        self.critic = nn.Sequential(nn.Linear(4, 16), nn.LeakyReLU(0.2), nn.Dropout(0.2), nn.Linear(16, 1))

    def forward(self, noise: Tensor) -> Tensor:
        points: Tensor = self.generator(noise)
        return points

    def training_step(self, batch: Any) -> None:
        real, _ = batch
        of_generator, of_critic = self.optimizers()  # type: ignore[attr-defined]
        noise = torch.randn(len(real), self.hparams["latent_size"]).type_as(real)
        ones, zeros = torch.ones(len(real), 1).type_as(real), torch.zeros(len(real), 1).type_as(real)
        self.toggle_optimizer(of_generator)
        loss = functional.binary_cross_entropy_with_logits(self.critic(self(noise)), ones)
        self.manual_backward(loss)
        of_generator.step()
        of_generator.zero_grad()
        self.untoggle_optimizer(of_generator)
        self.toggle_optimizer(of_critic)
        fake = functional.binary_cross_entropy_with_logits(self.critic(self(noise).detach()), zeros)
        found = functional.binary_cross_entropy_with_logits(self.critic(real), ones)
        self.manual_backward((fake + found) / 2)
        of_critic.step()
        of_critic.zero_grad()
        self.untoggle_optimizer(of_critic)
        self.log_dict({"g_loss": loss, "d_loss": fake + found}, prog_bar=True, on_step=True, on_epoch=True)
        self.logger.experiment.add_text("generated", str(self(noise)[:1].tolist()), self.global_step)  # type: ignore[union-attr]

    def configure_optimizers(self) -> Any:
        lr = self.hparams["lr"]
        return [torch.optim.Adam(self.generator.parameters(), lr), torch.optim.Adam(self.critic.parameters(), lr)], []


def loader(size: int = 100, batch_size: int = 16) -> DataLoader[Any]:
    """Training batches in random order, as a function that a config may name."""
    return DataLoader(Noisy(size), batch_size, shuffle=True)


def fixed(size: int = 40) -> DataLoader[Any]:
    """Batches of points that stay as they are."""
    data = Noisy(size, seed=1)
    return DataLoader(TensorDataset(data.points, data.labels), 16)


class Brings(Classifier):
    """Loaders in hooks of its own, ready once they have been set up."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.asked: list[str] = []

    def prepare_data(self) -> None:
        self.asked.append("prepare")

    def setup(self, stage: str) -> None:
        self.asked.append(stage)
        self.noisy = {"fit": 20, "test": 7, "validate": 7}

    def train_dataloader(self) -> Any:
        return DataLoader(Noisy(self.noisy["fit"]), 10)

    def test_dataloader(self) -> Any:
        return DataLoader(Noisy(self.noisy["test"]), 7)
