"""What a criterion of the user's own warns of as it is tried: part of an error's text, or passed on without one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import trainkit as tk
from trainkit.tasks.criterion import check_criterion, per_sample

OUTPUTS, TARGET = torch.zeros(4, 1, requires_grad=True), torch.ones(4)
SIZES = "Using a target size (torch.Size([4])) that is different to the input size (torch.Size([4, 1]))."


def quiet_then(error: Exception) -> Callable[[Tensor, Tensor], Tensor]:
    def criterion(outputs: Tensor, target: Tensor) -> Tensor:
        warnings.warn("mind the gap\nin two lines", stacklevel=1)
        raise error

    return criterion


def test_the_error_comes_alone_and_says_what_was_warned_of(recwarn: pytest.WarningsRecorder) -> None:
    criterion = per_sample(nn.MSELoss())
    assert criterion is not None
    with pytest.raises(tk.ConfigError) as caught:
        check_criterion(criterion, OUTPUTS, TARGET)
    assert not recwarn.list
    assert caught.value.what == "MSELoss gives losses of shape [4, 4] for a batch of 4"
    assert str(caught.value.hint).startswith(f"it warned: {SIZES}")


def test_of_a_criterion_that_fails_too(recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(tk.ConfigError, match="criterion does not take a batch: ValueError: no") as caught:
        check_criterion(quiet_then(ValueError("no")), OUTPUTS, TARGET)
    assert caught.value.hint == "it warned: mind the gap" and not recwarn.list


def test_a_hint_that_there_is_stays() -> None:
    with pytest.raises(tk.ConfigError) as caught:
        check_criterion(quiet_then(tk.ConfigError("mine", hint="this")), OUTPUTS, TARGET)
    assert caught.value.hint == "this"


def test_without_an_error_a_warning_is_passed_on() -> None:
    with pytest.warns(UserWarning, match="Using a target size"):
        check_criterion(nn.functional.mse_loss, OUTPUTS, TARGET)


def test_a_filter_of_the_users_own_still_holds(recwarn: pytest.WarningsRecorder) -> None:
    warnings.filterwarnings("ignore", message="Using a target size")
    check_criterion(nn.functional.mse_loss, OUTPUTS, TARGET)
    assert not recwarn.list


def test_the_command_line_shows_the_error_alone(cli: Callable[..., Any], recwarn: pytest.WarningsRecorder) -> None:
    done = cli("fit", "data=wine", "model=mlp", "task=classification", "+task.criterion._target_=torch.nn.MSELoss")
    assert done.code == 2 and done.stderr.startswith("MSELoss does not take a batch: RuntimeError: ")
    assert "  hint     it warned: Using a target size" in done.stderr
    assert not [warning for warning in recwarn.list if "target size" in str(warning.message)]
