"""Arrays in, numbers out: metrics, intervals, comparisons and baselines; trains no net and knows no run directory."""

from trainkit.evaluation.baselines import constant_quantiles, fit_baseline, simple_baseline
from trainkit.evaluation.comparison import Comparison, compare
from trainkit.evaluation.intervals import score, wilson
from trainkit.evaluation.metrics import Metric, metrics_for
from trainkit.evaluation.several import several_names
from trainkit.evaluation.several_baselines import fit_several

__all__ = [
    "Comparison",
    "Metric",
    "compare",
    "constant_quantiles",
    "fit_baseline",
    "fit_several",
    "metrics_for",
    "score",
    "several_names",
    "simple_baseline",
    "wilson",
]
