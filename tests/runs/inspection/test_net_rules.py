from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from trainkit.runs.inspection.finding import Finding, apply
from trainkit.runs.inspection.net_rules import NET_RULES
from trainkit.runs.inspection.trial import Trial

NAN, INF = math.nan, math.inf


def found(**changes: Any) -> list[Finding]:
    plain: dict[str, Any] = {
        "first_loss": 2.3,
        "last_loss": 0.04,
        "chance": 2.3,
        "highest_loss": 2.3,
        "num_samples": 64,
        "num_steps": 40,
        "peak": 3e-3,
        "norms": np.linspace(3.0, 0.1, 40),
        "clip_norm": 1.0,
        "input_spread": 1.0,
    }
    return list(apply(NET_RULES, Trial(**{**plain, **changes})))


SQUASHED = {"lowest": (0.01, 0.0), "highest": (0.3, 1.0), "last_loss": 1.6}
CONSTANT = {"spread": (0.0, 1e-9), "last_loss": 2.25}
DIVERGED = {"last_loss": 900.0, "highest_loss": 900.0}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, None),
        ({"input_mean": 29.0, "input_std": 25.0}, None),
        ({"input_mean": 120.0}, "unscaled_inputs"),
        ({"strong_dropouts": ("drop (0.97)",)}, "strong_dropout"),
        ({"failure": "ValueError at step 2: gone"}, "failing_step"),
        ({"still_norms": ("norm",)}, "still_norm"),
        ({"eval_noise": 0.3}, "noisy_evaluation"),
        ({"eval_dependence": 0.3}, "batch_dependence"),
        ({"eval_dependence": INF}, "batch_dependence"),
        ({"last_loss": 5.0, "highest_loss": 50.0, "is_steady": False}, None),
        ({"last_loss": NAN, "is_steady": False}, "diverges"),
        ({"highest_loss": 1e6, "is_steady": False}, "diverges"),
        ({"last_loss": 2.3, "is_steady": False}, None),
        ({"last_loss": 2.2, "is_own": True}, None),
        ({"last_loss": 2.2}, "unlearned_batch"),
        ({"last_loss": 2.29, "is_own": True}, "unlearned_batch"),
        ({"last_loss": 2.3, "peak": 0.0}, None),
        ({"input_std": 70.0}, "unscaled_inputs"),
        ({"input_spread": 0.05}, None),
        ({"input_spread": 0.001}, "flat_inputs"),
        ({"input_spread": NAN}, None),  # integers, which an embedding takes
        ({"first_loss": 6.8, "highest_loss": 6.8}, None),
        ({"first_loss": 7.0, "highest_loss": 7.0}, "exploding_loss"),
        ({"first_loss": INF, "highest_loss": INF, "last_loss": INF, "num_steps": 0}, "exploding_loss"),
        ({"bad_gradients": ("a",), "last_loss": NAN, "num_steps": 1}, "bad_gradients"),
        ({"last_loss": 3.4, "highest_loss": 3.4}, "unlearned_batch"),
        ({"last_loss": 3.6, "highest_loss": 3.6}, "diverges"),
        ({"last_loss": NAN}, "diverges"),
        ({"last_loss": 1.0, "highest_loss": 22.0}, None),
        ({"last_loss": 1.0, "highest_loss": 24.0}, "diverges"),
        ({"last_loss": 2.0}, None),
        ({"last_loss": 2.1}, "unlearned_batch"),
        ({"last_loss": 2.1, "num_steps": 19}, None),  # too few steps to tell
        ({"never_moved": ("a.weight", "a.bias")}, "detached"),
        (CONSTANT, "constant_outputs"),
        (CONSTANT | {"never_moved": ("a.weight",)}, "constant_outputs"),
        (CONSTANT | {"spread": (0.0, 0.5), "last_loss": 0.1}, None),  # a last layer that starts at 0
        (CONSTANT | {"num_samples": 1, "last_loss": 0.1}, None),
        (SQUASHED, "squashed_outputs"),
        (SQUASHED | {"last_loss": 2.25}, "squashed_outputs"),
        (SQUASHED | {"is_class": False, "last_loss": 0.1}, None),
        (SQUASHED | {"highest": (0.3, 4.0), "last_loss": 0.1}, None),
        (SQUASHED | {"lowest": (0.1, -2.0), "last_loss": 0.1}, None),
        ({"norms": np.full(40, 19.0)}, None),
        ({"norms": np.full(40, 21.0)}, "heavy_clipping"),
        ({"norms": np.full(40, 21.0), "clip_norm": None}, None),
        ({"norms": np.full(19, 21.0), "num_steps": 19}, None),
        ({"norms": np.append(np.full(34, 21.0), np.ones(6))}, None),
        ({"norms": np.full(40, 21.0), "input_mean": 120.0}, "unscaled_inputs"),
        ({"norms": np.full(40, 21.0), "last_loss": 2.2}, "unlearned_batch"),
        ({"norms": np.full(40, 21.0)} | DIVERGED, "diverges"),
        ({"first_loss": 50.0, "highest_loss": 50.0, "input_mean": 120.0, "last_loss": 1.0}, "unscaled_inputs"),
    ],
)
def test_a_trial_is_judged_by_one_cause(changes: dict[str, Any], name: str | None) -> None:
    assert [finding.name for finding in found(**changes)] == ([name] if name else [])


@pytest.mark.parametrize(
    ("changes", "what", "hint"),
    [
        (
            DIVERGED,
            "learning one batch makes it worse: loss 2.3 → 900 → 900 in 40 steps at 0.003",
            "optimizer.lr=0.0003",
        ),
        ({"last_loss": 2.2}, "one batch is not learned: loss 2.3 → 2.2 in 40 steps at 0.003", "a larger optimizer.lr"),
        (
            {"last_loss": 2.2, "norms": np.full(40, 1e-6)},
            "one batch is not learned: loss 2.3 → 2.2 in 40 steps at 0.003",
            "gradients are next to 0: dead units, or saturated ones",
        ),
        (
            {"input_mean": 130.0, "input_std": 71.0},
            "inputs reach the net with means up to 130, deviations up to 71",
            "scale them: uint8 images and tables are scaled by trainkit",
        ),
        (
            SQUASHED | {"row_sums": (1.0, 1.0, 0.9999, 1.0)},
            "the outputs lie in [0, 1] before and after learning, as of a softmax; the loss wants logits",
            "leave a softmax out of the net's last layer",
        ),
        (
            SQUASHED | {"row_sums": (4.0, 6.0, 1.0, 1.2)},
            "the outputs lie in [0, 1] before and after learning, as of a sigmoid; the loss wants logits",
            "leave a sigmoid out of the net's last layer",
        ),
        (
            {"norms": np.full(40, 130.0)},
            "gradients of norm 130 are clipped to 1 in 100 % of the steps",
            "trainer.clip_norm=130",
        ),
    ],
)
def test_what_is_told_and_advised(changes: dict[str, Any], what: str, hint: str) -> None:
    (one,) = found(**changes)
    assert (one.what, one.hint) == (what, hint)


@pytest.mark.parametrize(
    ("changes", "where", "hint"),
    [
        ({"last_loss": 2.3, "is_own": True}, "module", "a larger learning rate"),
        (
            {"last_loss": 2.3, "weight_decay": 5.0},
            "model, optimizer",
            "a smaller weight_decay: 5 pulls the weights to 0",
        ),
        (DIVERGED | {"is_own": True}, "module", "a smaller learning rate, such as 0.0003, or gradient clipping"),
        ({"input_std": 99.0, "is_own": True}, "data", "scale them"),
    ],
)
def test_where_it_is_and_what_to_do(changes: dict[str, Any], where: str, hint: str) -> None:
    (one,) = found(**changes)
    assert (one.where, one.hint) == (where, hint)


def test_long_lists_of_parameters_are_cut() -> None:
    (one,) = found(never_moved=tuple(f"layer{i}.weight" for i in range(9)))
    assert one.what == "never gets a gradient: layer0.weight, layer1.weight, layer2.weight and 6 more"
