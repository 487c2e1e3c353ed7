"""Row weights: in the gradient and the validation loss, as if rows were repeated; never in the scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import trainkit as tk
from trainkit.data.arrays import ArrayData
from trainkit.data.evaluation_loader import EvaluationLoader
from trainkit.data.loader import BatchLoader
from trainkit.data.sources import TensorSource, is_batch, slice_batch
from trainkit.errors import ConfigError
from trainkit.optim import sgd
from trainkit.rundir import RunDirectory, read_json
from trainkit.runs.build import build_parts
from trainkit.runs.check import check_batches
from trainkit.tasks import Classification
from trainkit.training import TrainModule
from trainkit.types import StepOutput

GENERATOR = np.random.default_rng(0)
INPUTS = GENERATOR.normal(size=(48, 4)).astype(np.float32)
LABELS = (INPUTS[:, 0] > 0).astype(np.int64)
REPEATS = GENERATOR.integers(0, 4, 48)


class Weighted(ArrayData):
    """Vectors in two classes, with weights."""

    def __init__(
        self, inputs: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None, **common: Any
    ) -> None:
        super().__init__(**{"weight": None if weights is None else "w", "test_share": 0.0, **common})
        self.given, self.weights = (inputs, target), weights

    def arrays(self) -> Any:
        return *self.given, ["low", "high"]

    def column(self, role: str, name: str) -> Any:
        return pd.Series(self.weights, name=name)


def trained(data: ArrayData, folder: Path, accumulate: int = 1) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Weights after three steps on the whole training part at once, and what was logged."""
    torch.manual_seed(0)
    data.setup()
    module = TrainModule(nn.Linear(4, 2), Classification(2), sgd(lr=0.5), accumulate=accumulate)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"enable_checkpointing": False, "limit_val_batches": 1.0 if len(data.splits.val) else 0}
    trainer = L.Trainer(**quiet, accelerator="cpu", max_epochs=3, default_root_dir=folder)
    trainer.fit(module, data)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return {name: tensor.clone() for name, tensor in module.model.state_dict().items()}, logged


def test_a_weight_counts_as_so_many_rows(tmp_path: Path) -> None:
    weighted = Weighted(INPUTS, LABELS, REPEATS, val_share=0.0, batch_size=48)
    repeated = Weighted(np.repeat(INPUTS, REPEATS, 0), np.repeat(LABELS, REPEATS), val_share=0.0, batch_size=999)
    plain = Weighted(INPUTS, LABELS, val_share=0.0, batch_size=48)
    one, other, third = (trained(data, tmp_path)[0] for data in (weighted, repeated, plain))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(one["weight"], third["weight"], atol=1e-2)


@pytest.mark.parametrize("batch_size", [48, 20])
def test_micro_batches_give_the_gradient_of_the_whole(tmp_path: Path, batch_size: int) -> None:
    def run(accumulate: int) -> Any:
        data = Weighted(INPUTS, LABELS, REPEATS, val_share=0.0, batch_size=batch_size)
        return trained(data, tmp_path, accumulate)[0]

    torch.testing.assert_close(run(1), run(3), rtol=1e-5, atol=1e-6)


def test_equal_weights_change_nothing_but_rounding(tmp_path: Path) -> None:
    ones = trained(Weighted(INPUTS, LABELS, np.ones(48)), tmp_path)
    plain = trained(Weighted(INPUTS, LABELS), tmp_path)
    torch.testing.assert_close(ones[0], plain[0], rtol=1e-5, atol=1e-6)
    assert ones[1] == pytest.approx(plain[1], rel=1e-5)


def test_the_validation_loss_is_weighted_and_the_metrics_are_not(tmp_path: Path) -> None:
    data = Weighted(INPUTS, LABELS, REPEATS, val_share=0.4, eval_batch_size=7)
    weights, logged = trained(data, tmp_path)
    rows = data.splits.val
    logits = torch.from_numpy(INPUTS[rows]) @ weights["weight"].T + weights["bias"]
    losses = nn.functional.cross_entropy(logits, torch.from_numpy(LABELS[rows]), reduction="none")
    weight = torch.from_numpy(REPEATS[rows]).float()
    assert logged["val/loss"] == pytest.approx(float((losses * weight).sum() / weight.sum()), rel=1e-4)
    right = (logits.argmax(1).numpy() == LABELS[rows]).mean()
    assert logged["val/accuracy"] == pytest.approx(right, rel=1e-5)


def test_loaders_gather_the_weights_of_their_rows() -> None:
    source = TensorSource(torch.arange(20.0), torch.arange(20))
    source.weight = torch.arange(20.0) / 10
    for execution in BatchLoader(source, torch.arange(20), batch_size=6, accumulate=2):
        moved = execution.to(torch.device("cpu"))
        assert moved.weight is not None
        assert torch.equal(moved.weight, moved.target / 10)
        for batch in moved.batches(moved.steps[0]):
            assert is_batch(batch) and len(batch) == 3
            assert torch.equal(batch[2], batch[1] / 10)
    for padded in EvaluationLoader(source, torch.arange(20), batch_size=8):
        real = padded.to(torch.device("cpu")).real()
        assert [len(part) for part in real] == [padded.num_real] * 3
    assert len(slice_batch((torch.ones(4), torch.ones(4)), 1, 3)) == 2


def test_other_triples_of_a_loader_of_ones_own_are_no_weighted_batches() -> None:
    assert not is_batch((torch.ones(4), 5, "a"))
    assert not is_batch([1, 2, 3, 4])
    assert is_batch([torch.ones(4), torch.ones(4)])


def test_a_subclass_gets_the_weights_too(tmp_path: Path) -> None:
    seen = []

    class Own(TrainModule):
        def loss(self, batch: Any) -> StepOutput:
            seen.append(len(batch))
            return super().loss(batch)

    data = Weighted(INPUTS, LABELS, REPEATS, val_share=0.2)
    data.setup()
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(**quiet, enable_checkpointing=False, accelerator="cpu", max_epochs=1, default_root_dir=tmp_path)
    trainer.fit(Own(nn.Linear(4, 2), Classification(2)), data)
    assert set(seen) == {3}


class NoWeight(Classification):
    """A task from before there were weights."""

    def loss(self, outputs: Tensor, target: Tensor) -> Any:  # type: ignore[override]
        return super().loss(outputs, target)


def test_a_task_whose_loss_takes_no_weight_is_named() -> None:
    overrides = ["data=wine", "model=mlp", "task=classification", "data.weight=hue"]
    parts = build_parts(tk.compose(overrides))
    check_batches(parts)
    parts.task = NoWeight(3)
    with pytest.raises(ConfigError) as caught:
        check_batches(parts)
    assert str(caught.value) == (
        "the loss of NoWeight takes no weight\n  where    task\n  expected loss(outputs, target, weight=None)\n"
        "  hint     data.weight=null to count every row once"
    )


def churn(path: Path) -> None:
    """Rows whose label is turned round where their weight is 0."""
    generator = np.random.default_rng(1)
    x, good = generator.normal(size=400), generator.random(400) < 0.5
    frame = pd.DataFrame({"x": x, "z": generator.normal(size=400), "w": good * 1.0})
    frame.assign(y=np.where((x > 0) == good, "yes", "no")).to_csv(path, index=False)


@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_classical_fits_nets_and_baselines_go_by_the_weights(
    cli: Callable[..., Any], tmp_path: Path, model: str
) -> None:
    churn(tmp_path / "t.csv")
    common = ("fit", "data=table", "data.path=t.csv", "data.target=y", f"model={model}", "evaluation.resamples=20")
    steps = () if model == "logistic" else ("trainer.max_epochs=6", "logger=none")
    code, out, err = cli(*common, *steps, "data.weight=w", "run.dir=run")
    assert (code, err) == (0, "")
    assert "data   t.csv 400 rows · 0 categories, 2 numbers · weighted by w\n" in out
    frame = pd.read_csv(tmp_path / "t.csv")
    made = pd.read_parquet(RunDirectory(tmp_path / "run").predictions)
    rows = frame.iloc[made["row"]]
    right = (made["prediction"] == made["target"]).to_numpy()
    assert right[rows["w"] == 1].mean() > 0.9
    assert right[rows["w"] == 0].mean() < 0.1
    result = read_json(RunDirectory(tmp_path / "run").result)
    in_test = (made["split"] == "test").to_numpy()
    assert result["metrics"]["test"]["accuracy"]["value"] == pytest.approx(right[in_test].mean())
    if model == "mlp":  # its baseline is a weighted fit; without weights half of the labels contradict the others
        assert result["baseline"]["name"] == "logistic"
        bar = result["baseline"]["metrics"]["accuracy"]["value"]
        assert bar == pytest.approx((rows["w"][in_test] == 1).mean(), abs=0.1)
