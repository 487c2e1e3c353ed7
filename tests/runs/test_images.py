"""Runs on pictures: from folders and tables to predictions with names, exact whatever is cached, stopped or split."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import load_file

import trainkit as tk
from tests.data.images.pictures import picture, save, write_classes
from trainkit.rundir import RunDirectory, read_json

Cli = Callable[..., Any]
SHORT = ("model=mlp", "evaluation.resamples=50", "trainer.threads=1", "data.batch_size=10")
FIT = ("fit", "data=images", "data.path=pics", *SHORT)


@pytest.fixture(autouse=True)
def _pics(tmp_path: Path) -> Path:
    return write_classes(tmp_path, size=9, channels=3, dark=60, light=60)


def test_from_a_folder_to_predictions_with_names(cli: Cli, tmp_path: Path) -> None:
    made = cli(*FIT, "trainer.max_epochs=3", "run.dir=run", "model=cnn")
    assert made.code == 0, made.stderr
    assert made.stdout.startswith("data   pics 120 images 3×9×9\nsplit  train 84 · val 18 · test 18 · stratified")
    assert "accuracy 1.000" in made.stdout
    saved = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert list(saved.columns[:5]) == ["row", "split", "file", "target", "prediction"]
    assert all(file.startswith(f"{target}/") for file, target in zip(saved["file"], saved["target"], strict=True))

    write_classes(tmp_path, "new", size=30, seed=500, dark=3, light=3)  # grey and larger
    assert cli("predict", "run", "new", "-o", "out.csv").code == 0
    frame = pd.read_csv(tmp_path / "out.csv")
    assert list(frame.columns) == ["row", "file", "prediction", "p_dark", "p_light"]
    assert (frame["file"].tolist()[3], frame["prediction"].tolist()) == ("light/000.png", ["dark"] * 3 + ["light"] * 3)
    assert cli("predict", "run", "new/light/001.png", "-o", "one.parquet").code == 0
    assert pd.read_parquet(tmp_path / "one.parquet")["file"].tolist() == ["001.png"]

    run = tk.load_run(tmp_path / "run")
    paths = sorted((tmp_path / "new").rglob("*.png"))
    by_path = run.predict(paths)
    assert by_path["file"].tolist() == list(map(str, paths))
    by_image = run.predict([Image.open(path) for path in paths])
    assert "file" not in by_image
    np.testing.assert_array_equal(by_path["p_light"], by_image["p_light"])
    np.testing.assert_array_equal(by_path["p_light"], run.predict(tmp_path / "new")["p_light"])
    assert "Largest errors" not in (tmp_path / "run" / "report.html").read_text()  # there are none
    assert "the run's own data, unchanged" in cli("evaluate", "run").stdout
    save(tmp_path / "pics" / "dark" / "000.png", picture(99, 9, 9))
    assert "saved predictions (the data has changed since)" in cli("evaluate", "run").stdout


def test_weights_are_the_same_wherever_images_are_kept_and_whatever_reads_them(cli: Cli, tmp_path: Path) -> None:
    ways: dict[str, tuple[str, ...]] = {
        "memory": ("data.cache=memory",),
        "disk": ("data.cache=disk",),
        "again": ("data.cache=disk", "trainer.steps_per_execution=1"),
        "streamed": ("data.cache=none", "trainer.steps_per_execution=4"),
        "workers": ("data.cache=none", "data.num_workers=2"),
    }
    for name, options in ways.items():
        made = cli(*FIT, *options, "data.image_size=6", "trainer.max_epochs=2", f"run.dir={name}")
        assert made.code == 0, made.stderr
        assert " · cache .trainkit_cache\n" in made.stdout or name not in ("disk", "again")
    first = load_file(tmp_path / "memory" / "model.safetensors")
    results = {name: read_json(tmp_path / name / "result.json") for name in ways}
    for name in ways:
        weights = load_file(tmp_path / name / "model.safetensors")
        assert weights.keys() == first.keys() and all((weights[key] == first[key]).all() for key in first), name
        for key in ("metrics", "baseline", "data_fingerprint", "objective"):
            assert results[name][key] == results["memory"][key], (name, key)


@pytest.mark.parametrize(("cache", "workers", "k"), [("disk", 0, 1), ("none", 0, 4), ("none", 1, 1)])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    cli: Cli,
    tmp_path: Path,
    stop_at: Callable[..., None],
    assert_same_run: Callable[[RunDirectory, RunDirectory], None],
    cache: str,
    workers: int,
    k: int,
) -> None:
    options: tuple[str, ...] = (*FIT, f"data.cache={cache}", f"data.num_workers={workers}", "trainer.max_epochs=3")
    options = (*options, "checkpoint.every_n_steps=5", f"trainer.steps_per_execution={k}")
    stop_at(None)
    assert cli(*options, "run.dir=whole").code == 0
    stop_at(13)
    assert cli(*options, "run.dir=stopped").code == 143
    stop_at(None)
    made = cli("fit", "run.dir=stopped")
    assert made.code == 0, made.stderr
    assert_same_run(RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "stopped"))


def test_a_project_that_was_moved_goes_on(cli: Cli, tmp_path: Path, stop_at: Callable[..., None]) -> None:
    stop_at(13)
    assert cli(*FIT, "trainer.max_epochs=3", "run.dir=run").code == 143
    stop_at(None)
    (tmp_path / "pics").rename(tmp_path / "moved")
    assert "there is no 'pics'" in cli("fit", "run.dir=run").stderr
    assert cli("fit", "run.dir=run", "data.path=moved").code == 0
    assert cli("evaluate", "run").stdout.startswith("data   the run's own data, unchanged")


def test_a_number_from_a_table(cli: Cli, tmp_path: Path) -> None:
    names = [f"dark/{number:03d}.png" for number in range(60)] + [f"light/{number:03d}.png" for number in range(60)]
    ages = np.repeat([20.5, 60.25], 60) + np.arange(120) % 7
    pd.DataFrame({"photo": names, "age": ages}).to_csv(tmp_path / "labels.csv", index=False)
    table = ("data=images", "data.path=labels.csv", "data.images=pics", "data.file=photo", "data.target=age")
    made = cli("fit", *table, *SHORT, "trainer.max_epochs=8", "optimizer.lr=1e-2", "run.dir=run")
    assert made.code == 0, made.stderr
    assert "regression (auto) · age" in made.stdout
    saved = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert set(saved["file"]) < set(names)
    report = (tmp_path / "run" / "report.html").read_text()
    assert report.count('src="data:image/png;base64,') == 12
    assert np.corrcoef(saved["target"], saved["prediction"])[0, 1] > 0.9


def test_weights_of_rows_count_wherever_images_are_kept(cli: Cli, tmp_path: Path) -> None:
    names = [f"pics/{label}/{number:03d}.png" for label in ("dark", "light") for number in range(60)]
    columns = {"file": names, "kind": np.repeat(["a", "b"], 60), "w": np.arange(120) % 5}
    pd.DataFrame(columns).to_csv(tmp_path / "labels.csv", index=False)
    table = ("fit", "data=images", "data.path=labels.csv", "data.target=kind", *SHORT, "trainer.max_epochs=2")
    ways = {"memory": (), "streamed": ("data.num_workers=1", "trainer.steps_per_execution=4"), "plain": ()}
    for name, options in ways.items():
        cache, weight = "none" if name == "streamed" else "memory", "null" if name == "plain" else "w"
        made = cli(*table, f"data.cache={cache}", f"data.weight={weight}", *options, f"run.dir={name}")
        assert made.code == 0, made.stderr
    first, second, plain = (load_file(tmp_path / name / "model.safetensors") for name in ways)
    assert all((first[key] == second[key]).all() for key in first)
    assert any((first[key] != plain[key]).any() for key in first)


def test_unreadable_images_are_refused_or_left_out_and_noted(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "pics" / "dark" / "001.png").write_bytes(b"")
    made = cli(*FIT, "trainer.max_epochs=1")
    assert made.code == 2
    assert made.stderr == (
        "1 image of 120 cannot be read:\n    dark/001.png: it is empty\n  where    data.path\n"
        "  expected whole images in 8 bits a channel\n  hint     data.on_error=skip leaves them out\n"
    )
    made = cli(*FIT, "trainer.max_epochs=1", "data.on_error=skip", "run.dir=run")
    assert made.code == 0, made.stderr
    assert "data   pics 119 images 3×9×9 · 1 unreadable, skipped\n" in made.stdout
    note = "1 image could not be read and was left out: dark/001.png (it is empty)"
    assert note in (tmp_path / "run" / "report.html").read_text()
    assert note in (tmp_path / "run" / "MODEL_CARD.md").read_text()
    made = cli("predict", "run", "pics/dark", "-o", "out.csv")
    assert "1 unreadable: 001.png: it is empty" in made.stdout
    assert len(pd.read_csv(tmp_path / "out.csv")) == 59


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["data.path=pcis"], "there is no 'pcis'\n  where    data.path"),
        (["data.image_size=0"], "data.image_size is 0"),
        (["data.resize=cut"], "data.resize"),
        (["data.channels=4"], "data.channels"),
        (["data.cache=ram"], "data.cache"),
        (["data.on_error=ignore"], "data.on_error"),
        (["data.target=age"], "data.target is given, and data.path is a folder"),
        (["data.group=who"], "the images lie in folders of classes, and data.group names a column"),
        (["data.path=pics/dark"], "holds no folders and 60 images"),
        (["data.cache=disk", "data.cache_dir=labels.csv/x"], "the cache 'labels.csv/x/pics-"),
        (["data.path=labels.csv"], "none of them is named as the target"),
        (
            ["data.path=labels.csv", "data.target=age"],
            "1 image of 2 cannot be read:\n    gone.png: there is no such file",
        ),
        (["data.path=labels.csv", "data.target=kind"], "has one class only"),
        (["data.path=labels.csv", "data.target=age", "data.file=name"], "no column 'name'"),
        (["data.path=labels.csv", "data.target=age", "data.images=pisc"], "there is no 'pisc'"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(cli: Cli, tmp_path: Path, options: list[str], said: str) -> None:
    pd.DataFrame({"file": ["pics/dark/000.png", "gone.png"], "age": [1.5, 2.5], "kind": ["a", "a"]}).to_csv(
        tmp_path / "labels.csv", index=False
    )
    made = cli(*FIT, *options)
    assert (made.code, made.stdout) == (2, ""), made.stderr
    assert said in made.stderr and "Traceback" not in made.stderr
    assert not (tmp_path / "runs").exists()


def test_several_sizes_and_an_empty_class_are_told(cli: Cli, tmp_path: Path) -> None:
    save(tmp_path / "pics" / "dark" / "wide.png", picture(0, 9, 12))
    made = cli(*FIT)
    assert "the images are of 2 sizes: 9×9 (120), 12×9 (1)" in made.stderr and "data.image_size=32" in made.stderr
    (tmp_path / "pics" / "none").mkdir()
    assert "there is no image in none of 'pics'" in cli(*FIT).stderr


def test_a_bomb_is_refused_by_name(cli: Cli, tmp_path: Path) -> None:
    data = bytearray((tmp_path / "pics" / "dark" / "000.png").read_bytes())
    data[16:24] = struct.pack(">II", 20_000, 20_000)  # width and height in the header, before its check sum
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "pics" / "dark" / "bomb.png").write_bytes(data)
    made = cli(*FIT)
    assert made.code == 2 and "Traceback" not in made.stderr
    assert "1 image of 121 cannot be read:\n    dark/bomb.png: it unfolds to more than 89,478,485 pixels" in made.stderr


def test_labels_of_one_cell_are_learned(cli: Cli, tmp_path: Path) -> None:
    names = [f"pics/dark/{number:03d}.png" for number in range(20)]
    pd.DataFrame({"file": names, "tags": ["a|b", "b"] * 10}).to_csv(tmp_path / "labels.csv", index=False)
    # Every image has b, which is told first.
    asked = ("fit", "data=images", "data.path=labels.csv", "data.target=tags", "data.separator='|'", *SHORT)
    assert "label 'b' is 1 in every row" in cli(*asked).stderr
    pd.DataFrame({"file": names, "tags": ["a|b", "", "b"] * 6 + ["a", "b"]}).to_csv(
        tmp_path / "labels.csv", index=False
    )
    made = cli(*asked, "run.dir=run")
    assert (made.code, made.stderr) == (0, "") and "2 labels (auto)" in made.stdout
    columns = ["row", "split", "file", "target_a", "target_b", "prediction", "p_a", "p_b"]
    assert list(pd.read_parquet(tmp_path / "run" / "predictions.parquet")) == columns


def test_check_looks_at_images(cli: Cli, tmp_path: Path) -> None:
    source = tmp_path / "pics" / "dark"
    for number in range(40):  # the same pictures again
        (source / f"copy{number}.png").write_bytes((source / f"{number:03d}.png").read_bytes())
    for cache in ("memory", "none"):
        made = cli("check", *FIT[1:], f"data.cache={cache}", "trainer.max_epochs=2")
        assert made.code == 1, made.stderr
        assert "validation rows (29.2 %) stand in training too" in made.stdout, made.stdout


def test_a_script_gives_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = tk.ImageData("pics", image_size=6, batch_size=16)
    result = tk.fit(data=data, model="mlp", max_epochs=2, overrides=["trainer.threads=1", "evaluation.resamples=20"])
    assert result.run_dir is not None
    run = tk.load_run(result.run_dir)
    assert run.predict("pics")["file"].tolist()[0] == "dark/000.png"
    assert json.loads((result.run_dir / "result.json").read_text())["status"] == "completed"
