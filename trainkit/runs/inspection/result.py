"""What ``trainkit.check`` gives back."""

from __future__ import annotations

from dataclasses import dataclass

from trainkit.runs.inspection.data_facts import DataFacts
from trainkit.runs.inspection.environment import Environment
from trainkit.runs.inspection.finding import Finding
from trainkit.runs.inspection.largest_batch import LargestBatch
from trainkit.runs.inspection.plan_facts import PlanFacts
from trainkit.runs.inspection.profiling import Profile
from trainkit.runs.inspection.rehearsal import Rehearsal
from trainkit.runs.inspection.speed import Speed
from trainkit.runs.inspection.trial import Trial


@dataclass(frozen=True)
class CheckResult:
    """What a look before the run found and measured.

    Attributes:
        findings: What ought to be mended, errors first; empty where nothing was found.
        notes: What is only worth knowing.
        environment: Versions and what works here.
        data: Facts about the data, of loaders of the user's own as far as samples can be read by index; None for a run
            that is finished.
        plan: Learning rate, what is watched, batches; None for a classical model. Of the user's LightningModule the
            learning rate alone, and None where it has no schedule.
        trial: What learning one batch showed; None for a classical model, or a module whose loss is not seen.
        speed: Of loader and net, in samples a second; likewise None where it could not be measured.
        seconds: That it all took.
        is_own: Whether it is a run of the user's own LightningModule, of which less is looked at.
        profile: Where the run's time goes; None unless it was asked for.
        rehearsal: Whether a run that is killed ends as one that is not; None unless it was asked for.
        largest_batch: What fits into memory; None unless it was asked for.
    """

    findings: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    environment: Environment
    data: DataFacts | None
    plan: PlanFacts | None = None
    trial: Trial | None = None
    speed: Speed | None = None
    seconds: float = 0.0
    is_own: bool = False
    profile: Profile | None = None
    rehearsal: Rehearsal | None = None
    largest_batch: LargestBatch | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is to be mended."""
        return not self.findings
