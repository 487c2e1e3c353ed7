"""Rules on the plan: one function each over ``PlanFacts``, all in ``PLAN_RULES``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trainkit.runs.inspection.finding import Finding, Rule, error, warning
from trainkit.runs.inspection.plan_facts import SWINGING, PlanFacts, Preview

STILL_HIGH = 0.9
"""Share of the peak at the end of a run above which a schedule has not decayed."""

LONGEST_RISE = 0.5
"""Share of the run that a warm-up may take; a one-cycle policy takes 0.3 (Smith & Topin, 2019)."""

GONE = 0.01
"""Share of the peak below which a net hardly moves."""

GONE_FOR = 0.5
"""Share of the run that may pass below it."""

MOST_CYCLES = 5
"""Rises from half the peak to nearly the peak that a schedule may make before its period looks like a mistake."""

HEAVY_IMBALANCE = 0.9
"""Share of the commonest class at which its constant answer looks accurate (scikit-learn's user guide on metrics)."""

SMALLEST_NORMALISED = 8
"""Samples below which batch statistics are noise: the error rises sharply from there (Wu & He, 2018,
https://arxiv.org/abs/1803.08494)."""

IN_STEPS = "schedules count optimizer steps, not epochs"


def _in_steps(preview: Preview) -> str:
    return "; its interval is 'epoch' unless you give another" if preview.is_own else f"; {IN_STEPS}"


def _where(preview: Preview) -> str:
    return "module, configure_optimizers" if preview.is_own else "scheduler"


def _or_cosine(preview: Preview) -> str:
    return ("" if preview.is_own else ", or scheduler=cosine") + _in_steps(preview)


def zero_rate(facts: PlanFacts) -> Iterator[Finding]:
    """A rate with which nothing is learned."""
    if not facts.preview.rates.any():
        yield error(
            "zero_rate", "the learning rate is 0 throughout", "optimizer.lr", "a learning rate above 0, such as 1e-3"
        )


def long_warm_up(facts: PlanFacts) -> Iterator[Finding]:
    """A rate that rises for most of the run."""
    rates = facts.preview.rates
    if _rises_long(facts.preview):
        peak = max(facts.preview.peak, facts.preview.base)
        until = f"until step {rates.argmax() + 1:,} of {len(rates):,}"
        what = f"the learning rate rises {until}, to {rates.max():.2g} of {peak:.2g}"
        yield warning("long_warm_up", what, _where(facts.preview), f"a shorter warm-up{_in_steps(facts.preview)}")


def _rises_long(preview: Preview) -> bool:
    rates = preview.rates
    is_late = len(rates) > 2 and rates.argmax() >= LONGEST_RISE * (len(rates) - 1)
    return bool(preview.is_whole and is_late and preview.peak > 1.05 * rates[0] and not _num_cycles(preview))


def no_decay(facts: PlanFacts) -> Iterator[Finding]:
    """A schedule that ends where it began (Google's Deep Learning Tuning Playbook: decay the rate to the end)."""
    preview = facts.preview
    if (
        not preview.schedule
        or not preview.peak
        or preview.is_constant
        or not preview.is_whole
        or len(preview.rates) < 3
    ):
        return
    end, peak = preview.rates[-1], preview.peak
    if end >= STILL_HIGH * peak and not _rises_long(preview) and not _swings(preview):
        what = f"{preview.schedule} ends at {100 * end / peak:.0f} % of its peak after {preview.num_steps:,} steps"
        yield warning("no_decay", what, _where(preview), f"a period as long as the run{_or_cosine(preview)}")


def decays_early(facts: PlanFacts) -> Iterator[Finding]:
    """A rate that is next to nothing for most of the run, as of a schedule made for epochs."""
    rates = facts.preview.rates
    share = float((rates < GONE * facts.preview.peak).mean())
    if facts.preview.is_whole and share > GONE_FOR:
        what = f"the learning rate is below {100 * GONE:.0f} % of its peak for {100 * share:.0f} % of the run"
        yield warning("decays_early", what, _where(facts.preview), f"a slower decay{_in_steps(facts.preview)}")


def many_cycles(facts: PlanFacts) -> Iterator[Finding]:
    """A rate that swings up and down, though its schedule is not named for it."""
    preview = facts.preview
    if _swings(preview):
        what = f"the learning rate of {preview.schedule} goes up and down {_num_cycles(preview)} times"
        yield warning(
            "many_cycles", what, _where(preview), f"a period of {preview.num_steps:,} steps{_in_steps(preview)}"
        )


def _swings(preview: Preview) -> bool:
    is_meant = any(word in preview.schedule for word in SWINGING)
    return _num_cycles(preview) >= MOST_CYCLES and not is_meant


def _num_cycles(preview: Preview) -> int:
    """Rises from below half of the peak to above nine tenths of it, after the first."""
    rates = preview.rates / max(preview.peak, 1e-30)
    marks = np.select([rates < 0.5, rates > STILL_HIGH], [-1, 1], 0)
    marks = marks[marks != 0]
    first = int(np.argmax(marks == 1)) if (marks == 1).any() else len(marks)
    marks = marks[first:]
    return int(((marks[1:] == 1) & (marks[:-1] == -1)).sum())


def wrong_direction(facts: PlanFacts) -> Iterator[Finding]:
    """A value that is taken for better the wrong way round: the worst epoch would be kept."""
    for watcher in facts.watchers:
        if watcher.better and watcher.mode != watcher.better:
            way = "higher" if watcher.better == "max" else "lower"
            what = f"a {way} {watcher.monitor} is better, and the mode is {watcher.mode}"
            yield error("wrong_direction", what, watcher.where, f"mode {watcher.better}, or leave it out")


def late_validation(facts: PlanFacts) -> Iterator[Finding]:
    """Early stopping that looks once, when the run is over anyway."""
    for watcher in facts.watchers:
        if watcher.patience is not None and facts.num_validations == 1:
            what = "early stopping, and no validation before the end"
            yield warning("late_validation", what, watcher.where, "trainer.val_every_n_epochs=1")


def long_patience(facts: PlanFacts) -> Iterator[Finding]:
    """Early stopping that cannot happen."""
    for watcher in facts.watchers:
        count = facts.num_validations
        if watcher.patience is not None and 1 < count <= watcher.patience:
            what = f"a patience of {watcher.patience} validations, and the run has {count}"
            yield warning("long_patience", what, watcher.where, "a smaller patience, or more epochs")


def single_step(facts: PlanFacts) -> Iterator[Finding]:
    """A batch as large as the training part: an epoch is one step."""
    if facts.steps_per_epoch == 1:
        what = f"a batch of {facts.batch_size:,} for {facts.num_train:,} training samples: one step an epoch"
        yield warning("single_step", what, "data.batch_size", f"data.batch_size={max(8, facts.num_train // 20)}")


def accuracy_under_imbalance(facts: PlanFacts) -> Iterator[Finding]:
    """The best epoch chosen by accuracy, where a constant answer is nearly as accurate."""
    for watcher in facts.watchers[:1]:
        if watcher.monitor.endswith("accuracy") and HEAVY_IMBALANCE <= facts.majority < 0.99:
            what = (
                f"{watcher.monitor} chooses the best epoch, and one class has {100 * facts.majority:.0f} % of the rows"
            )
            other = next((n for n in ("val/auroc", "val/balanced_accuracy") if n in facts.logged), "val/loss")
            hint = f"trainer.monitor={other}, or task.class_weights=balanced"
            yield warning("accuracy_under_imbalance", what, "trainer.monitor", hint)


def small_normalised(facts: PlanFacts) -> Iterator[Finding]:
    """BatchNorm over a handful of samples."""
    if facts.has_batch_norm and facts.micro_batch < SMALLEST_NORMALISED:
        what = f"BatchNorm over micro-batches of {facts.micro_batch}"
        hint = "a larger data.batch_size, a smaller trainer.accumulate, or GroupNorm or LayerNorm"
        yield warning("small_normalised", what, "data.batch_size", hint)


SCHEDULE_RULES: tuple[Rule[PlanFacts], ...] = (long_warm_up, no_decay, decays_early, many_cycles)
"""Those on the learning rate, which hold for a ``LightningModule`` of the user's own too."""

PLAN_RULES: tuple[Rule[PlanFacts], ...] = (
    zero_rate,
    *SCHEDULE_RULES,
    wrong_direction,
    late_validation,
    long_patience,
    single_step,
    accuracy_under_imbalance,
    small_normalised,
)
"""Every rule on the plan, in the order in which findings are printed."""
