"""Overrides of the run that a command names come before its own, unless it gives them otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from trainkit.config.earlier import earlier_overrides, typed

FROM = "resume_from=RUN"


def keep(path: Path, overrides: object) -> None:
    path.mkdir()
    (path / "config.yaml").touch()
    (path / "overrides.yaml").write_text(yaml.safe_dump({"overrides": overrides}))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("before", "given", "expected"),
    [
        (["model=mlp", "model.hidden=[9]"], [FROM], ["model=mlp", "model.hidden=[9]"]),
        (["model=mlp", "model.hidden=[9]"], [FROM, "model.hidden=[8]"], ["model=mlp"]),
        (["model=mlp", "model.hidden=[9]"], [FROM, "model=cnn"], []),
        (["model=mlp", "model.hidden=[9]"], [FROM, "model=mlp"], ["model.hidden=[9]"]),
        (["seed=1", "run.dir=RUN", "run.name=a", "init_from=b", "resume_from=c"], [FROM], ["seed=1"]),
        (["trainer.max_epochs=2", "seed=1"], [FROM, "trainer.max_epochs=4"], ["seed=1", "trainer.max_steps=null"]),
        (["trainer.max_epochs=2", "seed=1"], [FROM, "trainer.max_steps=4"], ["seed=1", "trainer.max_epochs=null"]),
        (["trainer.max_epochs=2"], [FROM, "trainer.max_epochs=4", "trainer.max_steps=9"], []),
        (["trainer.max_epochs=2"], ["run.dir=RUN", "trainer.max_epochs=4"], []),
        (["~scheduler", "seed=1"], [FROM, "scheduler=cosine"], ["seed=1"]),
        (["+model.extra=1"], [FROM, "model.extra=2"], ["+model.extra=1"]),
        (["+model.extra=1"], [FROM, "+model.extra=2"], []),
        (["seed=1"], [], []),
        (["seed=1"], ["resume_from=elsewhere"], []),
        (["seed=1"], ["resume_from=null"], []),
        (["seed=1"], ["resume_from=RUN,OTHER"], []),
        (["seed=1"], ["run.dir=new", FROM, "optimizer.lr=1,2"], ["seed=1"]),
        (["model=not_at_hand"], [FROM], []),
        ({"no": "list"}, [FROM], []),
    ],
)
def test_what_is_not_given_anew_stays(before: object, given: list[str], expected: list[str]) -> None:
    keep(Path("RUN"), before)
    assert earlier_overrides(given) == tuple(expected)


def test_a_run_in_its_own_directory_comes_before_its_parent() -> None:
    keep(Path("RUN"), ["seed=1"])
    keep(Path("child"), ["seed=2"])
    assert earlier_overrides(["run.dir=child", FROM]) == ("seed=2",)


def test_sections_given_as_objects_are_left_out() -> None:
    keep(Path("RUN"), ["optimizer.lr=1", "data=wine", "seed=1"])
    assert earlier_overrides([FROM], replaced=["optimizer", "data"]) == ("seed=1",)


def test_a_path_as_python_gives_it_needs_no_quotes() -> None:
    keep(Path("a (1)"), ["seed=1"])
    assert earlier_overrides(["resume_from=a (1)"]) == ("seed=1",)


def test_a_run_without_overrides_gives_none() -> None:
    keep(Path("RUN"), [])
    Path("RUN/overrides.yaml").unlink()
    assert earlier_overrides([FROM]) == ()
    Path("RUN/overrides.yaml").write_text("overrides: [")
    assert earlier_overrides([FROM]) == ()


def test_what_the_user_typed_is_told_from_what_was_taken_over() -> None:
    keep(Path("RUN"), ["model=mlp", "seed=1"])
    given = [FROM, "model=mlp"]
    overrides = [*earlier_overrides(given), *given]
    assert overrides == ["seed=1", FROM, "model=mlp"]
    assert typed(overrides, ["model=mlp", "seed=1"]) == given
    earlier_overrides([])
    assert typed(overrides, ["model=mlp", "seed=1"]) == [FROM]
