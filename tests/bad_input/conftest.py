"""A folder of faulty code and tables, and what has to come of a command in it."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module and tables, in which the command line runs."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("faulty", "broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    shutil.copy(Path(__file__).with_name("faulty.py"), tmp_path)
    (tmp_path / "broken.py").write_text("import no_such_package\n")
    generator = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": generator.normal(40, 10, 60).round(1),
            "city": generator.choice(["Rome", "Oslo"], 60),
            "Churn": ["yes", "no"] * 30,
        }
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    table.iloc[:0].to_csv(tmp_path / "header.csv", index=False)
    (tmp_path / "empty.csv").write_text("")
    table.iloc[::2].to_csv(tmp_path / "one.csv", index=False)
    table.iloc[:3].to_csv(tmp_path / "three.csv", index=False)
    table.rename(columns={"age": "years"}).to_csv(tmp_path / "other.csv", index=False)
    table.assign(Churn=table["Churn"].where(table.index != 4)).to_csv(tmp_path / "gaps.csv", index=False)
    table.assign(age=table["age"].where(table.index != 6, np.inf)).to_csv(tmp_path / "inf.csv", index=False)
    return tmp_path


@pytest.fixture
def refused(cli: Callable[..., Any], folder: Path) -> Callable[[str, str], None]:
    """``refused("fit sede=1", text)``: the command tells just that, its exit code is 2, and it leaves nothing."""

    def check(command: str, text: str) -> None:
        before = sorted(folder.rglob("*"))
        words = command.replace("'one class'", "'one_class'").split()
        code, out, err = cli(*(word.replace("one_class", "one class") for word in words))
        assert (code, re.sub(r"\.py:\d+", ".py:LINE", err.replace(str(folder), "HERE"))) == (2, text)
        assert out == ""
        assert sorted(folder.rglob("*")) == before

    return check
