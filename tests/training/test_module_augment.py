"""``TrainModule(augment=…)`` under the user's own Trainer: keyed draws there too, in training alone."""

from __future__ import annotations

from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import trainkit as tk
from trainkit.data import Digits
from trainkit.data.augment import Augment, Augmentation, Draws, Flip, Mixup
from trainkit.errors import ConfigError
from trainkit.types import StepOutput

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")
SIZE = 20


class Records(tk.TrainModule):
    """Keeps what the loss got."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.seen: list[tuple[bool, Tensor, Tensor]] = []

    def loss(self, batch: Any) -> StepOutput:
        self.seen.append((self.training, batch[0].clone(), batch[1].clone()))
        return super().loss(batch)


def data(size: int = SIZE) -> TensorDataset:
    images = torch.rand(size, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return TensorDataset(images, torch.arange(size) % 3)


def fit(augment: Augment | None, accumulate: int = 1, **options: Any) -> Records:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    module = Records(net, tk.Classification(3), tk.sgd(lr=0.1), augment=augment, accumulate=accumulate)
    trainer = L.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    trainer.fit(module, DataLoader(data(), 8), DataLoader(data(), 8))
    return module


def seen(module: Records, training: bool = True) -> list[Tensor]:
    return [inputs for was_training, inputs, _ in module.seen if was_training is training]


def test_training_is_augmented_and_validation_is_not() -> None:
    plain, module = fit(None), fit(Augment({"flip": Flip()}, 5))
    assert all(torch.equal(a, b) for a, b in zip(seen(plain, False), seen(module, False), strict=True))
    first, second = torch.cat(seen(module)[:3]), torch.cat(seen(module)[3:])
    images = data().tensors[0]
    for epoch in (first, second):
        same, mirrored = ((epoch == view).flatten(1).all(1) for view in (images, images.flip(-1)))
        assert bool((same ^ mirrored).all()) and same.any() and mirrored.any()
    assert not torch.equal(first, second)
    assert all(torch.equal(a, b) for a, b in zip(seen(module), seen(fit(Augment({"flip": Flip()}, 5))), strict=True))


def test_micro_batches_are_cut_out_of_the_augmented_batch() -> None:
    whole, cut = (fit(Augment({"flip": Flip(), "mixup": Mixup(1.0)}), count) for count in (1, 3))
    assert len(seen(cut)) == 3 * len(seen(whole))
    assert torch.equal(torch.cat(seen(cut)), torch.cat(seen(whole)))
    shares = [target for training, _, target in whole.seen if training]
    assert all(target.shape == (len(target), 3) for target in shares)


def test_a_data_module_of_trainkit_gives_rows_and_pairs() -> None:
    module = Records(
        nn.Sequential(nn.Flatten(), nn.LazyLinear(10)), tk.Classification(10), augment=Augment({"m": Mixup()})
    )
    module.model(torch.zeros(2, 1, 8, 8))
    trainer = L.Trainer(
        max_steps=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    module.model = nn.Sequential(AsFloat(), module.model)
    trainer.fit(module, datamodule=Digits(batch_size=64))
    assert [len(inputs) for inputs in seen(module)] == [64, 64]
    assert all(target.shape == (64, 10) for _, _, target in module.seen)
    assert trainer.train_dataloader is not None and trainer.train_dataloader.in_pairs


class AsFloat(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.float()


def test_an_augmentation_of_ones_own_is_one_method_and_a_word() -> None:
    class Darker(Augmentation):
        def forward(self, inputs: Tensor, draws: Draws) -> Tensor:
            return inputs * draws.uniform(0.5, 1.0)[:, None, None, None]

        def describe(self) -> str:
            return "darker"

    module = fit(Augment({"darker": Darker()}))
    factor = (torch.cat(seen(module)[:3]) / data().tensors[0]).flatten(1)
    assert float((factor - factor[:, :1]).abs().max()) < 1e-5 and 0.5 <= float(factor.min()) < float(factor.max()) <= 1


def test_batches_of_another_form_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dicts(TensorDataset):
        def __getitem__(self, index: int) -> Any:
            return {"x": self.tensors[0][index]}

    monkeypatch.setattr(f"{__name__}.data", lambda: Dicts(torch.rand(4, 2)))
    with pytest.raises(ConfigError, match="only batches of"):
        fit(Augment({"flip": Flip()}))
