"""Bad inputs to the command line: each is told in a few lines before anything is written, or trains to real numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults import arrays, cells, objects, settings, tables
from tests.faults.harness import SMALLEST, Outcome, call, command

FAULTS = [
    *(*tables.FILES, *tables.HEADERS, *cells.FEATURES, *cells.TARGETS, *cells.ROLES, *arrays.ARRAYS, *arrays.IMAGES),
    *(
        *settings.CONTRADICTIONS,
        *settings.TARGETS,
        *settings.SYNTAX,
        *settings.SWEEPS,
        *settings.NUMBERS[::5],
    ),
]
GIVEN = [*objects.DATA, *objects.NETS, *objects.OTHERS]


def marked(faults: Sequence[Any]) -> list[Any]:
    """Parameters, of which the ordinary suite runs some of the short ones."""
    short = [fault for fault in faults if fault.short][::7]
    return [pytest.param(f, id=f.name, marks=() if f in short else pytest.mark.faults) for f in faults]


@pytest.mark.parametrize("fault", marked(FAULTS))
def test_a_bad_input_is_told_or_trains(fault: Any, workplace: Path, tally: Callable[[Outcome], None]) -> None:
    fault.make(workplace)
    judge(fault.name, fault.says, command(workplace, "fit", *SMALLEST, *fault.words), tally)


@pytest.mark.parametrize("fault", marked(GIVEN))
def test_a_bad_object_is_told_or_trains(fault: Any, workplace: Path, tally: Callable[[Outcome], None]) -> None:
    judge(fault.name, fault.says, call(workplace, fault.fit), tally)


def judge(name: str, says: str | None, outcome: Outcome, tally: Callable[[Outcome], None]) -> None:
    tally(outcome)
    assert outcome.wrong is None, f"{name}: {outcome.wrong}"
    if says is None:
        assert outcome.refused is None
    elif says:
        assert says in (outcome.refused or "it trained")
