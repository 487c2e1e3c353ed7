"""Preprocessing against a plain computation, and its way through settings and saved buffers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import QuantileTransformer
from torch import Tensor, nn

from trainkit.data.preprocessing import (
    AsFloat,
    Standardize,
    TableInputs,
    build_inputs,
    column_quantiles,
    takes_columns,
    to_normal,
)
from trainkit.data.sources import TensorSource
from trainkit.data.splits import Splits
from trainkit.data.table import TableData


class TakesColumns(nn.Module):
    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        return numbers.sum(1) + codes.sum(1)


def table_inputs(as_matrix: bool = True, quantiles: Tensor | None = None) -> TableInputs:
    """Three numbers, the second and third missing in training; categories of 3 and 4 codes, the first with a bucket."""
    return TableInputs(
        torch.tensor([1.0, 10.0, -2.0]),
        torch.tensor([2.0, 5.0, 1.0]),
        torch.tensor([False, True, True]),
        (3, 4),
        torch.tensor([True, False]),
        as_matrix,
        quantiles,
    )


def raw_inputs() -> dict[str, Tensor]:
    nan = float("nan")
    numbers = torch.tensor([[3.0, 0.0, nan], [nan, nan, -1.0], [1.0, 10.0, -2.0]])
    return {"numbers": numbers, "codes": torch.tensor([[0, 0], [2, 3], [1, 2]])}


NUMBERS = [[1.0, -2.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]]


def test_missing_numbers_become_the_mean_and_are_marked_where_training_missed_them() -> None:
    named = table_inputs(as_matrix=False)(raw_inputs())
    assert isinstance(named, dict)
    assert named["numbers"].tolist() == NUMBERS
    assert named["codes"].tolist() == [[0, 0], [2, 3], [1, 2]]


def test_the_matrix_holds_numbers_marks_and_one_hot_categories() -> None:
    module = table_inputs()
    matrix = module(raw_inputs())
    one_hot = [[1, 0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 1], [0, 1, 0, 0, 0, 1, 0]]
    assert isinstance(matrix, Tensor)
    assert matrix.dtype == torch.float32
    assert matrix.tolist() == [[*numbers, *map(float, codes)] for numbers, codes in zip(NUMBERS, one_hot, strict=True)]
    assert matrix.shape[1] == module.width == 12


def test_the_unknown_bucket_is_silent_unless_training_filled_it() -> None:
    matrix = table_inputs()({"numbers": torch.zeros(1, 3), "codes": torch.tensor([[0, 0]])})
    assert isinstance(matrix, Tensor)
    assert matrix[0, 5:8].tolist() == [1.0, 0.0, 0.0]
    assert matrix[0, 8:].tolist() == [0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(("num_numbers", "cardinalities"), [(0, (3, 2)), (2, ())])
def test_tables_of_numbers_or_of_categories_alone(num_numbers: int, cardinalities: tuple[int, ...]) -> None:
    ones = torch.ones(num_numbers)
    module = TableInputs(ones, ones, ones.bool(), cardinalities, torch.zeros(len(cardinalities)))
    codes = torch.ones(4, len(cardinalities), dtype=torch.int64)
    matrix = module({"numbers": torch.full((4, num_numbers), 3.0), "codes": codes})
    assert isinstance(matrix, Tensor)
    assert matrix.shape == (4, module.width)
    expected = [2.0] * num_numbers + [0.0] * num_numbers + ([0.0, 1.0, 0.0, 0.0, 1.0] if cardinalities else [])
    assert matrix.tolist() == [expected] * 4


def mixed_frame(num_rows: int = 300) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    gone = generator.random(num_rows) < 0.2
    return pd.DataFrame(
        {
            "size": np.where(gone, np.nan, generator.normal(40, 12, num_rows)),
            "price": generator.exponential(3, num_rows).round(3),
            "town": generator.choice(["Aarau", "Bern", "Chur"], num_rows),
            "kind": generator.choice(["a", "b", ""], num_rows, p=[0.5, 0.4, 0.1]),
            "label": generator.choice(["no", "yes"], num_rows),
        }
    )


def table_data(path: Path, frame: pd.DataFrame, given: Splits | None = None) -> TableData:
    frame.to_csv(path, index=False)
    data = TableData(path, "label", name="mixed")
    data.given_splits = given
    data.setup()
    return data


def test_the_matrix_of_a_table_against_pandas(tmp_path: Path) -> None:
    frame = mixed_frame()
    data = table_data(tmp_path / "mixed.csv", frame)
    train = frame.iloc[data.splits.train]
    columns = {}
    for name in ("size", "price"):
        values = frame[name].astype(np.float32)
        mean, scale = train[name].astype(np.float32).mean(), train[name].astype(np.float32).std(ddof=0)
        columns[name] = ((values - mean) / scale).fillna(0.0)
    columns["mark"] = frame["size"].isna().astype(float)
    for name, known in (("town", ["Aarau", "Bern", "Chur"]), ("kind", ["a", "b"])):
        columns[f"{name} unknown"] = pd.Series(0.0, frame.index)
        columns |= {f"{name} {value}": (frame[name] == value).astype(float) for value in known}
    columns["kind missing"] = (frame["kind"] == "").astype(float)
    expected = pd.DataFrame(columns).to_numpy()
    np.testing.assert_allclose(data.flat_arrays(), expected, atol=1e-6)
    assert data.spec.input_shape == (expected.shape[1],)
    assert (data.spec.num_numbers, data.spec.cardinalities) == (3, (4, 4))
    assert isinstance(data.source, TensorSource)
    named = data.input_module(TakesColumns())(data.source.inputs)
    np.testing.assert_allclose(named["numbers"].numpy(), expected[:, :3], atol=1e-6)


def test_statistics_are_those_of_the_training_part_alone(tmp_path: Path) -> None:
    frame = mixed_frame()
    data = table_data(tmp_path / "mixed.csv", frame)
    shifted = frame.copy()
    others = np.concatenate([data.splits.val, data.splits.test])
    shifted.loc[others, "price"] = shifted.loc[others, "price"] * 1000 + 5
    shifted.loc[others, "town"] = "Olten"
    shifted.loc[others[:3], "price"] = np.nan
    moved = table_data(tmp_path / "shifted.csv", shifted, data.splits)
    net = nn.Linear(data.spec.input_shape[0], 2)
    before, after = data.input_module(net), moved.input_module(net)
    for name, buffer in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], buffer), name
    train = data.splits.train
    np.testing.assert_array_equal(moved.flat_arrays()[train], data.flat_arrays()[train])
    assert moved.unseen == {"town": len(others)}
    assert data.reader.to_json() == moved.reader.to_json()
    town = [name.startswith("town") for name in ("town unknown", "town Aarau", "town Bern", "town Chur")]
    start = data.spec.num_numbers
    assert not moved.flat_arrays()[others, start : start + len(town)].any()


def test_standardize_images_per_channel() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, 3, 4, 5), dtype=torch.uint8, generator=generator)
    mean, scale = images.double().mean((0, 2, 3)), images.double().std((0, 2, 3), correction=0)
    output = Standardize(mean, scale, image=True)(images)
    assert (output.dtype, output.shape) == (torch.float32, images.shape)
    for channel in range(3):
        expected = (images[:, channel].double() - mean[channel]) / scale[channel]
        torch.testing.assert_close(output[:, channel].double(), expected, atol=1e-6, rtol=1e-6)
    assert output.mean((0, 2, 3)).abs().max() < 1e-6
    assert (output.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-6


def test_standardize_vectors_per_feature() -> None:
    module = Standardize(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 0.5]), image=False)
    assert module(torch.tensor([[3, 3], [1, 2]])).tolist() == [[1.0, 2.0], [0.0, 0.0]]
    assert module(torch.tensor([[3.0, 3.0]], dtype=torch.float64)).dtype == torch.float32


def test_as_float_scales_images_of_bytes_and_passes_the_rest_through() -> None:
    module = AsFloat()
    scaled = module(torch.tensor([[0, 51, 255]], dtype=torch.uint8))
    assert isinstance(scaled, Tensor)
    assert (scaled.dtype, scaled.tolist()) == (torch.float32, [[0.0, pytest.approx(0.2), 1.0]])
    for inputs in (torch.tensor([1, 2]), torch.ones(2), {"image": torch.zeros(1, dtype=torch.uint8)}):
        assert module(inputs) is inputs


@pytest.mark.parametrize(
    ("module", "inputs"),
    [
        (AsFloat(), torch.tensor([[0, 255]], dtype=torch.uint8)),
        (Standardize(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 5.0, 0.1]), True), torch.rand(2, 3, 2, 2)),
        (Standardize(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 5.0]), False), torch.rand(4, 2)),
        (table_inputs(), raw_inputs()),
        (table_inputs(quantiles=torch.arange(12.0).reshape(3, 4)), raw_inputs()),
        (table_inputs(as_matrix=False), raw_inputs()),
    ],
)
def test_settings_and_buffers_build_the_same_module_again(module: Any, inputs: Any) -> None:
    settings = json.loads(json.dumps(module.settings()))
    built = build_inputs(settings)
    assert type(built) is type(module)
    assert {name: tensor.shape for name, tensor in built.state_dict().items()} == {
        name: tensor.shape for name, tensor in module.state_dict().items()
    }
    built.load_state_dict(module.state_dict())
    before, after = module(inputs), built(inputs)
    if isinstance(before, dict):
        assert all(torch.equal(before[name], after[name]) for name in ("numbers", "codes"))
    else:
        assert torch.equal(before, after)
    assert build_inputs(settings).state_dict().keys() == module.state_dict().keys()


def test_ranks_of_continuous_numbers_are_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    values = np.stack([generator.lognormal(size=2500), generator.normal(size=2500) * 1e6], axis=1).astype(np.float32)
    quantiles = column_quantiles(values[:2000], 500)
    assert quantiles.shape == (2, 500)
    normal = to_normal(torch.from_numpy(values), quantiles).numpy()
    fitted = QuantileTransformer(n_quantiles=500, output_distribution="normal").fit(values[:2000])
    limit = np.abs(normal).max()
    np.testing.assert_allclose(normal, fitted.transform(values).clip(-limit, limit), atol=1e-3)
    assert limit == pytest.approx(3.09, abs=0.01)


def test_a_value_of_many_rows_has_their_middle_rank_and_new_values_stay_in_bounds() -> None:
    column = np.array([0] * 50 + [1] * 25 + [2] * 24 + [9], np.float32)[:, None]
    quantiles = column_quantiles(column, 101)
    normal = to_normal(torch.tensor([[-1e30], [0.0], [0.5], [1.0], [9.0], [1e30]]), quantiles)[:, 0]
    assert bool((normal.diff() >= 0).all())
    assert bool(normal.isfinite().all())
    assert float(normal[1]) == pytest.approx(-0.674, abs=0.03)
    assert float(normal[4]) == float(normal[5]) == pytest.approx(-float(normal[0]))


def test_missing_numbers_are_the_median_by_rank_and_rows_do_not_depend_on_each_other() -> None:
    raw = raw_inputs()
    quantiles = column_quantiles(raw["numbers"].numpy(), 1000)
    assert quantiles.tolist() == [[1.0, 2.0, 3.0], [0.0, 5.0, 10.0], [-2.0, -1.5, -1.0]]
    module = table_inputs(as_matrix=False, quantiles=quantiles)
    numbers = module(raw)["numbers"]
    assert numbers[:, 3:].tolist() == [row[3:] for row in NUMBERS]
    assert (numbers[1, 0], numbers[1, 1], numbers[0, 2]) == (0, 0, 0)
    assert numbers[0, 0] == -numbers[2, 0] > 0.9
    alone = module({name: tensor[2:] for name, tensor in raw.items()})["numbers"]
    assert torch.equal(alone[0], numbers[2])


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^unknown preprocessing 'magic'$"):
        build_inputs({"kind": "magic"})


def test_which_nets_take_columns() -> None:
    class TakesOne(nn.Module):
        def forward(self, numbers: Tensor) -> Tensor:
            return numbers

    assert takes_columns(TakesColumns())
    assert not takes_columns(TakesOne())
    assert not takes_columns(nn.Linear(2, 2))
