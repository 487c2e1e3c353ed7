"""What bounds a run, and what would change that; each rule of the shares that were measured."""

from __future__ import annotations

from collections.abc import Iterator

from trainkit.runs.inspection.finding import Finding, Rule, warning
from trainkit.runs.inspection.profiling import REST, Profile

WASTED_SECONDS = 5.0
"""Of a phase over the whole run below which nothing is gained by changing it."""

LIMITS = {"data": 0.3, "augmentation": 0.3, "validation": 0.4, "checkpoint": 0.05, "logging": 0.1, REST: 0.3}
"""Shares of a run from which a phase is worth a change."""

CHANGES = {
    "data": ("data.num_workers", "data.num_workers=2 or more, a Dataset with __getitems__, or samples kept in memory"),
    "augmentation": ("augment", "fewer or simpler ones, or smaller pictures"),
    "validation": ("trainer.val_every_n_epochs", "trainer.val_every_n_epochs=5, or a smaller validation part"),
    "checkpoint": ("checkpoint", "checkpoint.every_n_epochs or every_n_steps less often"),
    "logging": ("trainer.log_every_n_steps", "trainer.log_every_n_steps larger"),
    REST: ("trainer.steps_per_execution", "trainer.steps_per_execution=auto, or a larger data.batch_size"),
}


def costly_phase(profile: Profile) -> Iterator[Finding]:
    """A phase beside the arithmetic that takes a large share of a run."""
    for name, limit in LIMITS.items():
        share, seconds = profile.shares.get(name, 0.0), profile.seconds.get(name, 0.0)
        if share >= limit and seconds >= WASTED_SECONDS:
            where, hint = CHANGES[name]
            yield warning(f"costly_{name}", f"{name} takes {share:.0%} of the run, about {seconds:,.0f} s", where, hint)


PROFILE_RULES: tuple[Rule[Profile], ...] = (costly_phase,)
"""Every rule on where the time goes."""
