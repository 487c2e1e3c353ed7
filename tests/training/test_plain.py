from __future__ import annotations

import io
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trainkit as tk
from trainkit.training import AtomicCheckpointIO
from trainkit.training.plain import check_plain


class Odd:
    """An object of the user's own."""


def unpicklable() -> Any:
    return lambda: None


@pytest.mark.parametrize(
    "state",
    [
        {"a": [1, 2.5, "x", None, True, (1, 2)], 3: {"b": torch.ones(2)}},
        OrderedDict(a=torch.nn.Parameter(torch.ones(1))),
        {"size": torch.Size([2]), "dtype": torch.float64, "device": torch.device("cpu")},
    ],
)
def test_plain_states_pass_and_load(state: Any) -> None:
    check_plain({"callbacks": {"Mine": state}, "state_dict": state})
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    torch.load(buffer, weights_only=True)


@pytest.mark.parametrize(
    ("state", "where", "kind"),
    [
        ({"best": np.float64(1.0)}, "state['best']", "numpy.float64"),
        ({"all": [1, {"x": (np.zeros(2),)}]}, "state['all'][1]['x'][0]", "numpy.ndarray"),
        ({"mine": Odd()}, "state['mine']", f"{Odd.__module__}.Odd"),
        ({Path("x"): 1}, "state key", "pathlib.PosixPath"),
        ({"f": unpicklable()}, "state['f']", "builtins.function"),
        (defaultdict(int, {"x": 1}), "state", "collections.defaultdict"),
    ],
)
def test_what_would_not_load_is_named_before_it_is_saved(state: Any, where: str, kind: str, tmp_path: Path) -> None:
    with pytest.raises(tk.RunError) as caught:
        AtomicCheckpointIO().save_checkpoint({"callbacks": {"Mine{'monitor': 1}": state}}, tmp_path / "c.ckpt")
    assert caught.value.what == f"the state of the callback Mine holds a {kind}, which a checkpoint does not load again"
    assert caught.value.where == where and caught.value.hint
    assert not list(tmp_path.iterdir())


def test_a_section_that_a_hook_added_is_named() -> None:
    with pytest.raises(tk.RunError) as caught:
        check_plain({"epoch": 1, "mine": {"x": np.int64(1)}})
    assert str(caught.value).startswith("the checkpoint's 'mine' holds a numpy.int64, which a checkpoint does not load")
    assert caught.value.where == "mine['x']"
