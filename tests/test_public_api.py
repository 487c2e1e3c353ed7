"""The public names with their signatures, compared with ``public_api.txt``: a change of the face is a decision.

After a change that is meant: ``.venv/bin/python tests/test_public_api.py``, then look at the difference.
"""

from __future__ import annotations

import difflib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import trainkit

SNAPSHOT = Path(__file__).with_name("public_api.txt")


def describe() -> str:
    """One line for each public name and for each public method that trainkit itself defines."""
    return "".join(f"{line}\n" for name in sorted(trainkit.__all__) for line in _lines(name, getattr(trainkit, name)))


def _lines(name: str, value: object) -> Iterator[str]:
    if inspect.isclass(value):
        yield f"class {name}{_signature(value)}"
        for member in sorted(vars(value)):
            attribute = inspect.getattr_static(value, member)
            if member.startswith("_"):
                continue
            if isinstance(attribute, property):
                yield f"    {name}.{member} (property)"
            elif isinstance(attribute, classmethod | staticmethod) or inspect.isfunction(attribute):
                yield f"    {name}.{member}{_signature(getattr(value, member))}"
    elif callable(value):
        yield f"{name}{_signature(value)}"
    elif inspect.ismodule(value):
        yield f"module {name}"
    else:
        yield f"{name}: {type(value).__name__}"


def _signature(value: object) -> str:
    assert callable(value)
    return re.sub(r" at 0x[0-9a-f]+", "", str(inspect.signature(value)))


def test_public_names_and_signatures_are_the_recorded_ones() -> None:
    now = describe()
    recorded = SNAPSHOT.read_text(encoding="utf-8")
    difference = "\n".join(
        difflib.unified_diff(recorded.splitlines(), now.splitlines(), "recorded", "now", lineterm="")
    )
    assert not difference, f"{difference}\n\n{__doc__}"


def test_all_is_public_and_what_dir_shows() -> None:
    assert len(trainkit.__all__) == len(set(trainkit.__all__))
    assert [name for name in trainkit.__all__ if name.startswith("_") and name != "__version__"] == []
    assert set(trainkit.__all__) <= set(dir(trainkit))


def test_every_public_name_is_documented() -> None:
    values = {name: getattr(trainkit, name) for name in trainkit.__all__ if name != "__version__"}
    assert [name for name, value in values.items() if not inspect.getdoc(value)] == []


def test_import_costs_no_torch() -> None:
    heavy = "torch lightning pandas sklearn matplotlib numpy"
    script = f"import sys, trainkit; sys.exit(' '.join(m for m in '{heavy}'.split() if m in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), f"import trainkit imported {done.stderr}"


if __name__ == "__main__":
    SNAPSHOT.write_text(describe(), encoding="utf-8")
