"""Arrays in, numbers out: metrics, intervals, comparisons and baselines; trains no net and knows no run directory."""

from trainkit.evaluation.baselines import constant_quantiles, fit_baseline, simple_baseline
from trainkit.evaluation.comparison import Comparison, compare
from trainkit.evaluation.intervals import score, wilson
from trainkit.evaluation.metrics import Metric, metrics_for

__all__ = [
    "Comparison",
    "Metric",
    "compare",
    "constant_quantiles",
    "fit_baseline",
    "metrics_for",
    "score",
    "simple_baseline",
    "wilson",
]
