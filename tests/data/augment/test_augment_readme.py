"""The page on augmentation: its commands compose, its choices are all there, and its example trains as pasted."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trainkit.data.augment
from trainkit.config.check import check_config
from trainkit.config.compose import compose
from trainkit.config.shipped import groups

README = Path(trainkit.data.augment.__file__).with_name("README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^trainkit fit ([^#\n]*)", README, re.MULTILINE)
QUICK = ("trainer.max_steps=4", "evaluation.resamples=20", "evaluation.baseline=false", "logger=none")


@pytest.mark.parametrize("command", COMMANDS[:-1])
def test_every_command_composes(command: str) -> None:
    assert "augment" in check_config(compose(shlex.split(command)))


def test_every_choice_and_piece_is_named() -> None:
    assert not [name for name in groups()["augment"] if f"`{name}`" not in README]
    pieces = [name for name, kind in vars(trainkit.data.augment).items() if isinstance(kind, type)]
    others = ("Augment", "Augmentation", "Draws", "Samples")
    assert not [name for name in pieces if name not in others and f"`{name}`" not in README]


def test_the_example_trains_is_scored_again_and_predicts(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"^```python\n# fade.py\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (tmp_path / "fade.py").write_text(code)
    monkeypatch.delitem(sys.modules, "fade", raising=False)
    done = cli("fit", *shlex.split(COMMANDS[-1]), *QUICK, "evaluation.tta=3", "run.dir=run")
    assert (done.code, done.stderr) == (0, "") and "crop 1, rotate 10°, fade 0.3" in done.stdout
    done = cli("evaluate", "run")
    assert done.code == 2 and "'fade.Fade' is not code that trainkit runs unasked" in done.stderr
    assert cli("evaluate", "run", "--trust", "fade").code == 0
