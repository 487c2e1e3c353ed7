from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch

import trainkit as tk
from tests.training.test_pictures import events, loader
from trainkit.runs.build import build_parts
from trainkit.training import SamplePredictions, TensorBoard, samples
from trainkit.training.pictures import rendered
from trainkit.training.sample_texts import Sample
from trainkit.training.samples import draw_images, draw_scatter


def sample(row: int, image: torch.Tensor, best: int, true: int) -> Sample:
    predicted = torch.full((3,), 0.1, dtype=torch.float64)
    predicted[best] = 0.8
    return Sample(row, image, predicted, torch.tensor(true))


def test_images_stand_upright_in_their_own_colours_and_wrong_ones_are_red() -> None:
    image = torch.zeros(3, 4, 4, dtype=torch.uint8)
    image[0, :2] = 255  # red above, black below
    figure = draw_images([sample(0, image, 1, 1), sample(1, image, 0, 2)], ["a", "b", "c"])
    assert [(t.get_text(), t.get_color()) for t in figure.texts] == [
        ("true b\nb  0.800", samples.RIGHT),
        ("true c\na  0.800", samples.WRONG),
    ]
    pixels = rendered(figure)
    shown = (pixels == [255, 0, 0]).all(axis=2), (pixels == 0).all(axis=2)
    reds, blacks = (np.argwhere(mask) for mask in shown)
    assert len(reds) == 2 * samples.CELL * samples.CELL // 2
    inside = blacks[blacks[:, 0] > samples.TITLE]
    assert inside[:, 0].min() == reds[:, 0].max() + 1


@pytest.mark.parametrize(
    ("image", "low", "high"),
    [
        (torch.tensor([[[0, 16], [8, 4]]], dtype=torch.uint8), 0, 255),
        (torch.tensor([[[-1.0, 1.0], [0.0, 0.0]]]), 0, 255),
        (torch.tensor([[[-1.0, 1.0], [0.0, float("nan")]], [[9.0, 9.0], [9.0, 9.0]]]), 0, 51),
        (torch.zeros(1, 2, 2), 0, 0),
    ],
)
def test_brightness_runs_from_the_lowest_to_the_highest_value(image: torch.Tensor, low: int, high: int) -> None:
    pixels = rendered(draw_images([sample(0, image, 0, 0)], "abc"))
    inside = pixels[samples.TITLE + 1 : samples.TITLE + samples.CELL - 1, samples.GAP + 1 : samples.CELL]
    assert (inside.min(), inside.max()) == (low, high)
    assert (inside == inside[..., :1]).all()


def test_a_scatter_of_no_finite_number_is_empty() -> None:
    assert not draw_scatter(np.array([np.nan]), np.array([1.0]), "y").axes[0].lines
    figure = draw_scatter(np.arange(5000.0), np.arange(5000.0), "y")
    assert np.asarray(figure.axes[0].lines[1].get_xdata()).shape == (samples.MAX_POINTS,)
    assert figure.axes[0].get_xlabel() == "true y"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.normal(size=60).round(3), "colour": rng.choice(["red", "blue"], 60)})
    frame.loc[::7, "size"] = np.nan
    frame["kind"] = np.where(frame["size"].fillna(0) > 0, "big", "small")
    frame.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def rows_of(folder: Path) -> list[list[str]]:
    text = events(folder).Tensors("val/samples/text_summary")[-1].tensor_proto.string_val[0].decode()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def fit(trainer: Callable[..., L.Trainer], folder: Path, *overrides: str, num_samples: int = 6) -> Any:
    """Two epochs under a Trainer of the user's own."""
    parts = build_parts(tk.compose(["model=mlp", "model.hidden=[4]", *overrides]))
    module = tk.TrainModule(parts.network, parts.task)  # type: ignore[arg-type]
    callback = SamplePredictions(num_samples, every_n_validations=1)
    mine = trainer(
        log_every_n_steps=1, max_epochs=2, logger=TensorBoard(folder), callbacks=[callback], num_sanity_val_steps=0
    )
    mine.fit(module, datamodule=parts.data)
    mine.logger.save()  # type: ignore[union-attr]
    return parts


def test_a_table_shows_its_own_values_and_the_same_rows_each_time(
    trainer: Callable[..., L.Trainer], tmp_path: Path, table: Path
) -> None:
    parts = fit(trainer, tmp_path, "data=table", f"data.path={table}", "data.target=kind", "data.eval_batch_size=4")
    shown = events(tmp_path).Tensors("val/samples/text_summary")
    head, _, *rows = rows_of(tmp_path)
    assert len(shown) == 2 and head == ["row", "true", "predicted", "probability", "wrong", "features"]
    frame = pd.read_csv(table)
    val = parts.data.splits.val
    assert [int(row[0]) for row in rows] == [val[0], *sorted(val[[2, 3, 5, 6]]), val[-1]]
    for number, true, predicted, probability, wrong, features in rows:
        line = frame.loc[int(number)]
        size: str = "(missing)" if pd.isna(line["size"]) else f"{line['size']:.4g}"
        assert true == line["kind"] and features == f"size {size} · colour {line['colour']}"
        assert predicted in ("big", "small") and 0.5 <= float(probability) <= 1
        assert wrong == ("" if true == predicted else "✗")


def test_numbers_are_shown_with_their_error_and_as_a_scatter(trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    parts = fit(trainer, tmp_path, "data=diabetes", num_samples=100)
    head, _, *rows = rows_of(tmp_path)
    assert head == ["row", "true", "predicted", "error", "features"] and len(rows) == len(parts.data.splits.val)
    assert all(float(r[3]) == pytest.approx(float(r[2]) - float(r[1]), abs=0.2) for r in rows)
    assert rows[0][4].startswith("age ") and rows[0][4].endswith(" · …") and len(rows[0][4]) < 100
    assert len(events(tmp_path).Images("val/predicted_vs_true")) == 2


def test_images_of_the_users_own_loader_are_the_first_ones(
    trainer: Callable[..., L.Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[Sample]] = []

    def draw(shown: list[Sample], names: list[str]) -> Any:
        drawn.append(shown)
        return draw_images(shown, names)

    monkeypatch.setattr(samples, "draw_images", draw)
    images, target = torch.randn(10, 1, 3, 3), torch.arange(10) % 3
    batches = [(images[:4], target[:4]), (images[4:], target[4:])]
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 3))
    module = tk.TrainModule(net, tk.Classification(3))
    mine = trainer(log_every_n_steps=1, max_epochs=1, logger=TensorBoard(tmp_path), callbacks=[SamplePredictions(6)])
    mine.fit(module, loader(batches), loader(batches))
    (shown,) = drawn
    assert [s.row for s in shown] == list(range(6))
    assert torch.equal(torch.stack([s.inputs for s in shown]), images[:6])  # type: ignore[misc]
    assert [int(s.target) for s in shown] == [0, 1, 2, 0, 1, 2]
    with torch.no_grad():
        again = net(images[:6]).double().softmax(dim=1)
    assert torch.allclose(torch.stack([s.predicted for s in shown]), again)


def test_no_sample_is_refused() -> None:
    with pytest.raises(tk.ConfigError, match="num_samples is 0"):
        SamplePredictions(0)
