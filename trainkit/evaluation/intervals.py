"""Metrics with confidence intervals, from predictions alone; called wherever a number is reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from trainkit.errors import ConfigError
from trainkit.evaluation.checked import Bools, Checked, Floats, Ints
from trainkit.evaluation.metrics import Metric, checked, metrics_for
from trainkit.evaluation.several import Several, several_names
from trainkit.types import Estimate, Predictions

# Numbers in one block of weights (2 MiB as float64). A metric makes up to four arrays of the block's size.
_BLOCK = 2**18
# Draws of one bootstrap, some 50 ns each with the metrics; beyond it there are fewer resamples, down to the floor.
_MAX_DRAWS = 40_000_000
_MIN_RESAMPLES = 200


def score(
    predictions: Predictions,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    groups: npt.ArrayLike | None = None,
) -> dict[str, Estimate]:
    """Every metric that applies, with its interval, the headline metric first.

    Intervals are percentiles of a bootstrap over rows (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993,
    chapter 13), all metrics on the same resamples. Two cases in which resamples cannot differ have a closed form:
    proportions of rows have Wilson's interval (*JASA* 22, 1927), and an AUROC of exactly 1 or 0 Newcombe's (*Statistics
    in Medicine* 25, 2006, method 5).

    A mean over several targets has its resamples centred at the estimate, see ``centred``.

    Rows of one group are alike, so that whole groups are drawn (Field and Welsh, *JRSS B* 69, 2007), for proportions
    too, and the percentiles are widened for few groups (Hesterberg, *The American Statistician* 69, 2015, section 3.3).
    Closed forms are then left to the values 0 and 1, and count groups in place of rows.

    From 20,000 rows (times targets) on, resamples are reduced to 40 million draws in all, but not below 200: the ends
    are then known to about a tenth of the interval's half width.

    Args:
        predictions: N rows with their target.
        resamples: Number of bootstrap resamples, ≥ 1.
        confidence: Coverage, in (0, 1).
        seed: Seed of the resamples.
        groups: Group of each row, int or text [N]; those of the predictions by default.

    Returns:
        Estimates by metric name. ``method`` is ``bootstrap``, ``wilson`` or ``newcombe``, as in ``bootstrap of 24
        groups`` where rows are grouped; after ``bootstrap`` follows what is to be known of it: resamples reduced,
        undefined (and left out), or all alike. A metric that is undefined on the rows themselves is nan throughout; one
        group has no interval, its ends are nan.

    Raises:
        DataError: No rows, no target, or predictions that are not finite.
        ConfigError: ``resamples`` or ``confidence`` out of range.
    """
    check_options(resamples, confidence)
    rows, metrics = checked(predictions, groups), metrics_for(predictions)
    sampled = [metric for metric in metrics.values() if rows.group_ids is not None or not metric.is_proportion]
    functions = [partial(metric.function, rows) for metric in sampled]
    drawn = bootstrap(functions, len(rows), resamples, seed, rows.group_ids, max(1, len(several_names(predictions))))
    samples = {metric.name: values for metric, values in zip(sampled, drawn, strict=True)}
    return {name: _estimate(metric, rows, samples.get(name), resamples, confidence) for name, metric in metrics.items()}


def _estimate(
    metric: Metric, rows: Checked | Several, samples: Floats | None, asked: int, confidence: float
) -> Estimate:
    value, num_rows = float(metric(rows)[0]), len(rows)
    if isinstance(rows, Several) and metric.column is not None:
        column = rows.columns[metric.column]
        num_rows = 0 if column is None else len(column.rows)
    num_groups = None if rows.group_ids is None else rows.num_units
    units, is_extreme = "" if num_groups is None else f" of {num_groups} groups", value in (0.0, 1.0)
    if samples is None or (metric.is_proportion and is_extreme and rows.num_units > 1):
        return Estimate(value, *wilson(value, rows.num_units, confidence), n=len(rows), method=f"wilson{units}")
    if metric.name.startswith("auroc") and is_extreme and rows.num_units > 1:
        scored = [rows] if isinstance(rows, Checked) else _targets_of(rows, metric)
        lows = [newcombe(_units(one, one.is_positive), _units(one, ~one.is_positive), confidence) for one in scored]
        low = float(np.mean(lows))  # of a mean over labels on the safe side: they will not all be at their worst
        ends = (low, 1.0) if value == 1.0 else (0.0, 1.0 - low)
        return Estimate(value, *ends, n=num_rows, method=f"newcombe{units}")
    if metric.is_mean:
        samples = np.minimum(centred(samples, value), 1.0 if metric.higher_is_better else np.inf)
    return percentile_estimate(value, samples, num_rows, asked, confidence, num_groups)


def centred(samples: Floats, value: float) -> Floats:
    """Values on resamples, shifted so that their mean is the point estimate.

    Rows that come twice are ties, which make some metrics better in a resample than on the rows (average precision
    most). Of one target that is little beside its interval; of a mean over many targets it can be more than all of it.

    Args:
        samples: float64 [R]; nan where undefined.
        value: The point estimate.
    """
    defined = samples[~np.isnan(samples)]
    return samples + (value - defined.mean()) if len(defined) else samples


def _targets_of(rows: Several, metric: Metric) -> list[Checked]:
    """The target that a metric is of, or those that it is the mean of: labels that some rows have and some have not."""
    columns = rows.columns if metric.column is None else [rows.columns[metric.column]]
    known = [column.checked for column in columns if column is not None]
    return [one for one in known if 0 < int(one.is_positive.sum()) < len(one)]


def _units(rows: Checked, chosen: Bools) -> int:
    """Groups of some rows, or rows where these are independent."""
    return int(chosen.sum()) if rows.group_ids is None else len(np.unique(rows.group_ids[chosen]))


def bootstrap(
    functions: Sequence[Callable[[Floats], Floats]],
    n: int,
    resamples: int,
    seed: int,
    group_ids: Ints | None = None,
    num_targets: int = 1,
) -> Floats:
    """Values of several statistics on the same resamples of rows, or of whole groups of them.

    Memory is bounded by the block of weights: about 2 MiB, or one resample where N is larger.

    Args:
        functions: Each from weights float64 [B, N], B resamples at a time, to float64 [B].
        n: Rows, N ≥ 1.
        resamples: Resamples asked for, R ≥ 1; reduced where N is large, see ``score``.
        seed: Seed of the draws; the values do not depend on how resamples are cut into blocks.
        group_ids: int64 [N], number of the row's group, from 0; None to draw rows.
        num_targets: Targets of a row, by which the work is multiplied.

    Returns:
        float64 [number of functions, R].
    """
    resamples = min(resamples, max(_MIN_RESAMPLES, _MAX_DRAWS // (n * num_targets)))
    rng, units = np.random.default_rng(seed), n if group_ids is None else int(group_ids.max()) + 1
    values = np.empty((len(functions), resamples))
    weights = np.empty((min(resamples, max(1, _BLOCK // n)), n))
    for start in range(0, resamples, len(weights)):
        block = weights[: resamples - start]
        for counts in block:
            drawn = np.bincount(rng.integers(0, units, units), minlength=units)
            counts[:] = drawn if group_ids is None else drawn[group_ids]
        for row, function in zip(values, functions, strict=True):
            row[start : start + len(block)] = function(block)
    return values


def percentile_estimate(
    value: float, samples: Floats, n: int, asked: int, confidence: float, num_groups: int | None = None
) -> Estimate:
    """An estimate whose ends are percentiles of a bootstrap.

    Args:
        value: The point estimate.
        samples: float64 [R], values on the resamples; nan where undefined.
        n: Rows.
        asked: Resamples asked for, which ``method`` compares with R.
        confidence: Coverage, in (0, 1).
        num_groups: Groups that were drawn; None where it was rows.

    Returns:
        The estimate; all nan where ``value`` is, and without an interval for a single group.
    """
    if num_groups == 1:
        return Estimate(value, np.nan, np.nan, n=n, method="none: 1 group")
    method = "bootstrap" if num_groups is None else f"bootstrap of {num_groups} groups"
    defined = samples[~np.isnan(samples)]
    notes = [f"{len(samples):,} resamples"] if len(samples) < asked else []
    if len(defined) < len(samples):
        notes.append(f"{len(samples) - len(defined):,} of {len(samples):,} undefined")
    if np.isnan(value) or not len(defined):
        return Estimate(value, np.nan, np.nan, n=n, method=", ".join([method, *notes]))
    tail = (1 - confidence) / 2 if num_groups is None else _tail(num_groups, confidence)
    low, high = np.quantile(defined, [tail, 1 - tail])
    if defined.min() == defined.max():
        notes.append("all resamples alike")
    return Estimate(value, float(low), float(high), n=n, method=", ".join([method, *notes]))


def _tail(num_groups: int, confidence: float) -> float:
    """Share of the resamples beyond either end: Student's t, over the √((G - 1) / G) by which G draws spread less."""
    from scipy.special import stdtrit  # as slow to import as scikit-learn

    reach = stdtrit(num_groups - 1, (1 + confidence) / 2) * sqrt(num_groups / (num_groups - 1))
    return NormalDist().cdf(-reach)


def wilson(proportion: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion of independent rows (*JASA* 22, 1927).

    Args:
        proportion: Share observed, in [0, 1].
        n: Rows, ≥ 1.
        confidence: Coverage, in (0, 1).

    Returns:
        Low and high end, within [0, 1].
    """
    squared = z_value(confidence) ** 2
    centre = proportion + squared / (2 * n)
    half = sqrt(squared * (proportion * (1 - proportion) / n + squared / (4 * n * n)))
    scale = 1 + squared / n
    low, high = (centre - half) / scale, (centre + half) / scale
    return (0.0 if proportion == 0 else low), (1.0 if proportion == 1 else high)


def newcombe(num_positive: int, num_negative: int, confidence: float = 0.95) -> float:
    """Lower end for an observed AUROC of 1, by inverting the score test with Hanley and McNeil's variance.

    Newcombe, *Statistics in Medicine* 25 (2006), 559-573, method 5.

    Args:
        num_positive: Rows of the positive class, ≥ 1.
        num_negative: Rows of the negative class, ≥ 1.
        confidence: Coverage, in (0, 1).

    Returns:
        The lower end, in (0, 1).
    """
    squared, others = z_value(confidence) ** 2, (num_positive + num_negative) / 2 - 1
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        spread = 1 + others * ((1 - middle) / (2 - middle) + middle / (1 + middle))
        if (1 - middle) * num_positive * num_negative > squared * middle * spread:
            low = middle
        else:
            high = middle
    return low


def z_value(confidence: float) -> float:
    """The normal quantile that a two-sided interval of this coverage reaches to: 1.96 for 0.95."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def check_options(resamples: int, confidence: float) -> None:
    """Reject options no interval can be made with.

    Raises:
        ConfigError: ``resamples`` below 1, or ``confidence`` outside (0, 1).
    """
    if resamples < 1:
        raise ConfigError(f"{resamples} resamples", where="evaluation.resamples", expected="at least 1, as 2000")
    if not 0 < confidence < 1:
        raise ConfigError(
            f"confidence is {confidence}", where="evaluation.confidence", expected="between 0 and 1, as 0.95"
        )
