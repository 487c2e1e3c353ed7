"""What ``trainkit.check`` gives back."""

from __future__ import annotations

from dataclasses import dataclass

from trainkit.runs.inspection.data_facts import DataFacts
from trainkit.runs.inspection.environment import Environment
from trainkit.runs.inspection.finding import Finding
from trainkit.runs.inspection.plan_facts import PlanFacts
from trainkit.runs.inspection.speed import Speed
from trainkit.runs.inspection.trial import Trial


@dataclass(frozen=True)
class CheckResult:
    """What a look before the run found and measured.

    Attributes:
        findings: What ought to be mended, errors first; empty where nothing was found.
        notes: What is only worth knowing.
        environment: Versions and what works here.
        data: Facts about the data; None for loaders of the user's own.
        plan: Learning rate, what is watched, batches; None for a classical model, or the user's LightningModule.
        trial: What learning one batch showed; likewise.
        speed: Of loader and net, in samples a second; likewise.
        seconds: That it all took.
    """

    findings: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    environment: Environment
    data: DataFacts | None
    plan: PlanFacts | None = None
    trial: Trial | None = None
    speed: Speed | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing is to be mended."""
        return not self.findings
