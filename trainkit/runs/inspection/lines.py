"""The lines that ``trainkit check`` prints, each of facts that were measured."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trainkit.runs.inspection.data_facts import DataFacts
from trainkit.runs.inspection.environment import Environment
from trainkit.runs.inspection.finding import Finding
from trainkit.runs.inspection.largest_batch import LargestBatch
from trainkit.runs.inspection.plan_facts import PlanFacts, Preview
from trainkit.runs.inspection.profiling import Profile
from trainkit.runs.inspection.rehearsal import Rehearsal
from trainkit.runs.inspection.speed import Speed
from trainkit.runs.inspection.trial import Trial
from trainkit.runs.narrate import ARROWS

BARS = "▁▂▃▄▅▆▇█"
BARS_SHOWN = 24
SMALLEST_SHARE = 0.001


def versions_line(environment: Environment) -> str:
    """Versions of what matters."""
    return " · ".join(f"{name} {version}" for name, version in environment.versions.items())


def works_line(environment: Environment) -> str:
    """Device, threads, and what works on it."""
    count = f"{environment.num_devices} × " if environment.num_devices > 1 else ""
    threads = f"{environment.threads} thread" + "s" * (environment.threads > 1)
    cores = f"{environment.cores} core" + "s" * (environment.cores > 1)
    works = [name for name, outcome in environment.works.items() if outcome is True]
    return " · ".join([f"{count}{environment.device}, {threads} of {cores}", *works])


def broken_line(environment: Environment) -> str:
    """What does not work here, and why; empty where all does."""
    broken = [f"{name} ({outcome})" for name, outcome in environment.works.items() if outcome is not True]
    return " · ".join(broken)


def trial_line(trial: Trial) -> str:
    """How one batch was learned."""
    losses = f"loss {trial.first_loss:.3g} → {trial.last_loss:.3g}"
    without = ", without dropout" if trial.has_dropout else ""
    return f"one batch of {trial.num_samples}: {losses} in {trial.num_steps} steps at {trial.peak:.2g}{without}"


def schedule_line(preview: Preview) -> str:
    """The learning rate over the run."""
    rates, half = preview.rates, len(preview.rates) // 2
    if rates.min() == rates.max():
        return f"{rates[0]:.2g} throughout"
    top = int(rates.argmax())
    end = "at the end" if preview.is_whole else f"at step {len(rates):,}, which is as far as was looked"
    numbers = f"{rates[0]:.2g} at the start, {rates[top]:.2g} at step {top + 1:,}, {rates[half]:.2g} in the middle"
    return f"{sparkline(rates)}  {numbers}, {rates[-1]:.2g} {end}"


def sparkline(values: np.ndarray, width: int = BARS_SHOWN) -> str:
    """Values from 0 to their largest as bars of eight heights.

    Args:
        values: [N], not negative.
        width: Bars at most; each shows the value in the middle of its stretch.
    """
    count = min(width, len(values))
    picked = values[((np.arange(count) + 0.5) * len(values) / count).astype(int)]
    heights = np.round(picked / max(float(values.max()), 1e-30) * (len(BARS) - 1)).astype(int)
    return "".join(BARS[height] for height in heights)


def logged_line(plan: PlanFacts) -> str:
    """What is logged, how often, and what chooses the best epoch."""
    every = "every step" if plan.log_every == 1 else f"every {plan.log_every} steps"
    validations = f" · {plan.num_validations} validation" + "s" * (plan.num_validations != 1)
    chosen = [w for w in plan.watchers if w.where == "trainer.mode"]
    best = f" · best by {chosen[0].monitor} {ARROWS[chosen[0].mode]}" if chosen else ""
    return f"{', '.join(plan.logged)} {every}{validations}{best}"


def speed_line(speed: Speed) -> str:
    """Loader against augmentation and net, which take turns."""
    step, augmented = 1 / speed.compute, ""
    if speed.augmentation is not None:
        step, augmented = step + 1 / speed.augmentation, f" · augmentation {speed.augmentation:,.0f}"
    slower = "model" if speed.augmentation is None or speed.augmentation > speed.compute else "augmentation"
    slower = "loader" if 1 / speed.loader > step else slower
    rates = f"loader {speed.loader:,.0f} samples/s{augmented} · forward and backward {speed.compute:,.0f}"
    return f"{rates} · the {slower} limits"


def profile_lines(profile: Profile) -> Iterator[str]:
    """Where the time of the whole run goes, what bounds it, and where the trace is."""
    shares = sorted(profile.shares.items(), key=lambda item: -item[1])
    parts = " · ".join(f"{name} {share:.1%}" for name, share in shares if share >= SMALLEST_SHARE)
    yield f"{parts} of {sum(profile.seconds.values()):,.1f} s, by {profile.steps:,} of {profile.total_steps:,} steps"
    arithmetic = sum(profile.shares.get(name, 0.0) for name in ("forward", "backward", "optimizer"))
    bound = "the arithmetic of the net" if arithmetic >= 0.5 else shares[0][0]
    yield f"bounded by {bound}: forward, backward and optimizer are {arithmetic:.0%}"
    yield f"trace in {profile.trace}, for https://ui.perfetto.dev or chrome://tracing"


def rehearsal_line(rehearsal: Rehearsal) -> str:
    """Where a short version was killed, and what became of it."""
    kills = f"killed {', '.join(rehearsal.kills)} and continued" if rehearsal.kills else "not killed: it was through"
    end = "differs" if rehearsal.differences else "weights, optimizer, generators and curves are the same to the bit"
    return f"{rehearsal.steps:,} steps whole, and again {kills}: {end}"


def batch_line(found: LargestBatch) -> str:
    """The largest micro-batch that fits, and what ended the search."""
    why = {
        "memory": f"memory is not enough for {found.too_large:,}",
        "data": "all training samples fit",
        "time": "more take too long to try",
    }
    return f"{found.size:,} samples at a time fit, {found.current:,} are asked for; {why[found.limit]}"


def rows_line(facts: DataFacts) -> str:
    """How many rows were compared, and how many of each part stand in training."""
    total = sum(facts.sizes.values())
    compared = f"{facts.num_compared:,} of {total:,}" if facts.num_compared < total else f"all {total:,}"
    names = {"val": "validation", "test": "test"}
    shared = [f"{facts.shared(part):,} of {names[part]}" for part in ("val", "test") if part in facts.sizes]
    return f"{compared} compared · in training too: {', '.join(shared)}" if shared else f"{total:,}, all in training"


def unseen_line(unseen: tuple[str, ...]) -> str:
    """What was not looked at of the user's own module."""
    return "of your own module, not looked at: " + ", ".join([*unseen, "what it watches and how it scores"])


def found_lines(findings: tuple[Finding, ...], has_seen_all: bool = True) -> Iterator[str]:
    """One line for each finding, or that there is none."""
    if not findings:
        yield "nothing to mend" + ("" if has_seen_all else " in what was looked at")
    yield from map(str, findings)
