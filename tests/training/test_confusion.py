from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

import trainkit as tk
from tests.training.test_pictures import loader
from trainkit.training import ConfusionMatrix, TensorBoard, confusion
from trainkit.training.confusion import draw_confusion, shortened


def texts(figure: Any) -> list[str]:
    (axes,) = figure.axes
    return [text.get_text() for text in axes.texts]


def test_cells_hold_counts_and_shares_of_the_true_class() -> None:
    figure = draw_confusion(np.array([[3, 1], [0, 5]]), ["no", "yes"])
    (axes,) = figure.axes
    assert [(t.get_text(), t.get_position()) for t in axes.texts] == [
        ("3\n75%", (0, 0)),
        ("1\n25%", (1, 0)),
        ("5\n100%", (1, 1)),
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["no", "yes"]
    assert figure.texts[-1].get_text() == "8 of 9 right (88.9%)\nmost confused  no → yes: 1"
    assert np.allclose(np.asarray(axes.images[0].get_array()), np.sqrt(np.array([[0.75, 0.25], [0.0, 1.0]])))


def test_a_class_without_samples() -> None:
    figure = draw_confusion(np.array([[0, 0], [0, 5]]), ["no", "yes"])
    assert texts(figure) == ["5\n100%"]
    assert figure.texts[-1].get_text() == "5 of 5 right (100.0%)"


@pytest.mark.parametrize(
    ("num_classes", "cell", "label"),
    [(16, "9\n90%", "class 0"), (17, "9", "class 0"), (40, "9", "class 0"), (100, None, "class 0  90% of 10")],
)
def test_the_more_classes_the_less_stands_in_a_cell(num_classes: int, cell: str | None, label: str) -> None:
    counts = 9 * np.eye(num_classes, dtype=np.int64)
    counts[:, 0] += 1
    counts[0] = [9, 1, *[0] * (num_classes - 2)]
    figure = draw_confusion(counts, [f"class {index}" for index in range(num_classes)])
    assert (texts(figure)[0] if cell else texts(figure)) == (cell or [])
    assert figure.axes[0].get_yticklabels()[0].get_text() == label
    width, height = figure.get_size_inches()
    assert 4 <= width <= 18 and 3 <= height <= 18


def test_long_names_are_cut_and_signs_are_no_formulas() -> None:
    assert shortened("a" * 20) == "a" * 20
    assert shortened("a" * 21) == "a" * 19 + "…"
    figure = draw_confusion(np.eye(2, dtype=np.int64), ["$\\frac{", "x"])
    labels = [*figure.axes[0].get_xticklabels(), *figure.axes[0].get_yticklabels(), *figure.texts]
    assert not any(label.get_parse_math() for label in labels if "$" in label.get_text())


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        (["data=wine"], None),
        (["data=diabetes"], "ConfusionMatrix shows classes, and 'target' is a number"),
        (["data=wine", "data.val_share=0"], "ConfusionMatrix shows validations, and there is no validation part"),
    ],
)
def test_data_that_has_none(overrides: list[str], refused: str | None) -> None:
    from trainkit.runs.build import build_parts

    data = build_parts(tk.compose(["model=mlp", *overrides])).data
    if refused is None:
        ConfusionMatrix().attach(data)
        return
    with pytest.raises(tk.ConfigError) as caught:
        ConfusionMatrix().attach(data)
    assert caught.value.what == refused and caught.value.hint


class Fixed(torch.nn.Module):
    """Gives its inputs as logits."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * self.scale


def test_counts_over_batches_of_the_users_own_loader(
    trainer: Callable[..., L.Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[list[list[int]], list[str]]] = []

    def draw(counts: np.ndarray, names: list[str]) -> Any:
        drawn.append((counts.tolist(), names))
        return draw_confusion(counts, names)

    monkeypatch.setattr(confusion, "draw_confusion", draw)
    said = torch.tensor([0, 0, 1, 2, 2, 2])
    true = torch.tensor([0, 1, 1, 2, 2, 0])
    logits = 5 * torch.nn.functional.one_hot(said, 3).float()
    batches = [(logits[:4], true[:4]), (logits[4:], true[4:])]
    module = tk.TrainModule(Fixed(), tk.Classification(3), tk.sgd(lr=0.0))
    one = trainer(log_every_n_steps=1, max_epochs=2, logger=TensorBoard(tmp_path), callbacks=[ConfusionMatrix(2)])
    one.fit(module, loader(batches), loader(batches))  # the sanity check before it does not count
    assert drawn == [([[1, 0, 1], [1, 1, 0], [0, 0, 2]], ["0", "1", "2"])]
    one.validate(module, loader(batches), verbose=False)
    assert len(drawn) == 1


def test_of_a_number_there_is_none_where_it_may_stay_away(cli: Any) -> None:
    words = ("data=diabetes", "model=mlp", "trainer.max_steps=4", "evaluation.resamples=20", "run.dir=run")
    assert cli("fit", *words, "callbacks=tensorboard").code == 0
    reader = EventAccumulator("run").Reload()
    assert "val/predicted_vs_true" in reader.Tags()["images"]
    assert "val/confusion_matrix" not in reader.Tags()["images"] and reader.Tags()["histograms"]
