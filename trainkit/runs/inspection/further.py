"""What ``check`` looks at where it is asked for: where the time goes, whether a killed run ends the same, what fits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from trainkit.errors import ConfigError
from trainkit.runs.devices import Devices
from trainkit.runs.inspection import lines
from trainkit.runs.inspection.finding import apply
from trainkit.runs.inspection.largest_batch import largest_batch
from trainkit.runs.inspection.profile_rules import PROFILE_RULES
from trainkit.runs.inspection.profiling import profile_run
from trainkit.runs.inspection.rehearsal import REHEARSAL_RULES, rehearse
from trainkit.runs.inspection.result import CheckResult
from trainkit.runs.narrate import Narrator
from trainkit.runs.own_module import total_steps
from trainkit.runs.parts import ModuleParts, Parts, RunParts
from trainkit.runs.schedule import run_schedule

UNKNOWN_RATE = 1_000.0
"""Samples a second, where they were not measured."""


@dataclass(frozen=True)
class Further:
    """What is asked for.

    Attributes:
        trace: Where the trace of a profile goes; None for no profile.
        resume: Whether a short version is trained whole, and again with kills.
        batch: Whether the largest batch that fits is looked for.
    """

    trace: Path | None = None
    resume: bool = False
    batch: bool = False


NOTHING_FURTHER = Further()


def look_further(
    result: CheckResult, parts: RunParts, devices: Devices, further: Further, narrator: Narrator
) -> CheckResult:
    """Adds to a result what is asked for.

    Raises:
        ConfigError: That cannot be looked at of such a run.
    """
    if further.batch:
        result = _fitted(result, parts, devices, narrator)
    if further.trace is not None:
        result = _profiled(result, parts, devices, further.trace, narrator)
    return _rehearsed(result, parts, devices, narrator) if further.resume else result


def _fitted(result: CheckResult, parts: RunParts, devices: Devices, narrator: Narrator) -> CheckResult:
    if not isinstance(parts, Parts) or parts.network is None:
        raise ConfigError("only of a net that trainkit trains it is found what fits", where="batch")
    found = largest_batch(parts, devices.torch_device)
    narrator.say("batch", lines.batch_line(found))
    return replace(result, largest_batch=found)


def _profiled(result: CheckResult, parts: RunParts, devices: Devices, trace: Path, narrator: Narrator) -> CheckResult:
    if not isinstance(parts, Parts) or parts.network is None or result.speed is None:
        raise ConfigError(
            "only a net that trainkit trains is profiled",
            where="profile",
            hint="Trainer(profiler=…) of Lightning does it for a LightningModule of your own",
        )
    rate = 1 / (1 / result.speed.loader + 1 / result.speed.compute)
    found = profile_run(parts, devices, rate, trace)
    for line in lines.profile_lines(found):
        narrator.say("time", line)
    return replace(result, profile=found, findings=(*result.findings, *apply(PROFILE_RULES, found)))


def _rehearsed(result: CheckResult, parts: RunParts, devices: Devices, narrator: Narrator) -> CheckResult:
    if isinstance(parts, Parts) and parts.network is None:
        raise ConfigError("a classical model is fitted at once, and has nothing to go on from", where="resume")
    per_epoch = parts.data.steps_per_epoch()
    if isinstance(parts, ModuleParts):
        total = total_steps(parts)
    else:
        assert isinstance(parts, Parts)
        total = run_schedule(parts).total_steps
    rate = UNKNOWN_RATE if result.speed is None else 1 / (1 / result.speed.loader + 1 / result.speed.compute)
    found = rehearse(parts, devices, rate, per_epoch if per_epoch > 0 else total, total)
    narrator.say("resume", lines.rehearsal_line(found))
    return replace(result, rehearsal=found, findings=(*result.findings, *apply(REHEARSAL_RULES, found)))
