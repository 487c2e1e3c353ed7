"""The look before a run, behind ``trainkit check``: measures, prints, and judges; trains copies and writes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from omegaconf import DictConfig

from trainkit.data import LoaderData
from trainkit.data.sources import seeded
from trainkit.rundir import RunDirectory
from trainkit.runs.devices import Devices, find_devices
from trainkit.runs.inspection import lines
from trainkit.runs.inspection.data_facts import DataFacts, data_facts
from trainkit.runs.inspection.data_rules import DATA_RULES, OWN_DATA_RULES
from trainkit.runs.inspection.environment import Environment, look_around
from trainkit.runs.inspection.finding import Finding, apply, error
from trainkit.runs.inspection.further import NOTHING_FURTHER, Further, look_further
from trainkit.runs.inspection.net_rules import NET_RULES
from trainkit.runs.inspection.own import look_at_own
from trainkit.runs.inspection.own_data import loader_facts
from trainkit.runs.inspection.plan_facts import PlanFacts, plan_facts
from trainkit.runs.inspection.plan_rules import PLAN_RULES, SCHEDULE_RULES
from trainkit.runs.inspection.result import CheckResult
from trainkit.runs.inspection.speed import SPEED_RULES, Speed, measure_speed
from trainkit.runs.inspection.trial import Trial, try_one_batch
from trainkit.runs.job import asked_job, say_finished
from trainkit.runs.narrate import Narrator
from trainkit.runs.parts import LiveObjects, ModuleParts, Parts, RunParts
from trainkit.runs.pipeline import prepare
from trainkit.runs.result import Result
from trainkit.runs.schedule import run_schedule
from trainkit.types import Predictions

SEVERITIES = ("error", "warning", "note")


def inspect_run(
    config: DictConfig, live: LiveObjects, overrides: Sequence[str] = (), further: Further = NOTHING_FURTHER
) -> CheckResult:
    """Looks at what a run would be made of; random generators and threads are as before when it is done.

    Args:
        config: Composed.
        live: Objects of a script that stand in for sections of it.
        overrides: As the user wrote them. Default none.
        further: What takes longer, and is looked at where it is asked for.

    Raises:
        TrainkitError: A mistake of the user's for which ``fit`` would not start either.
    """
    started, narrator, threads = time.perf_counter(), Narrator(), torch.get_num_threads()
    job = asked_job(config, live, overrides)
    environment = look_around(find_devices(job.config))
    narrator.say("with", lines.versions_line(environment))
    narrator.say("works", lines.works_line(environment))
    if broken := lines.broken_line(environment):
        narrator.say("not", broken)
    if job.is_finished and job.begun is not None:
        say_finished(job.begun, narrator)
        return CheckResult((), (), environment, None, None, None, None)
    try:
        with seeded(job.config.seed), torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
            run = prepare(job, live, _no_report)
            torch.set_num_threads(run.devices.threads)
            result = _inspect(run.parts, run.devices, environment, narrator)
            result = look_further(result, run.parts, run.devices, further, narrator)
    finally:
        torch.set_num_threads(threads)
    seconds = time.perf_counter() - started
    for line in lines.found_lines(result.findings, has_seen_all=not result.is_own):
        narrator.say("found", line)
    return replace(result, seconds=seconds)


def _no_report(run: RunDirectory, result: Result, parts: RunParts, predictions: dict[str, Predictions]) -> None:
    """Nothing is reported of a run that does not take place."""


def _inspect(parts: RunParts, devices: Devices, environment: Environment, narrator: Narrator) -> CheckResult:
    plan: PlanFacts | None = None
    trial: Trial | None = None
    speed: Speed | None = None
    if isinstance(parts, Parts) and parts.network is not None:
        plan = plan_facts(parts)
        trial = try_one_batch(parts, devices.torch_device, plan.preview.peaks)
        narrator.say("fits", lines.trial_line(trial))
        narrator.say("lr", lines.schedule_line(plan.preview))
        narrator.say("logs", lines.logged_line(plan))
        device, cores = devices.torch_device, environment.cores
        speed = measure_speed(parts, run_schedule(parts), device, cores, trial.num_samples)
        narrator.say("speed", lines.speed_line(speed))
    unseen: tuple[str, ...] = ()
    if isinstance(parts, ModuleParts):
        trial, plan, speed, unseen = look_at_own(parts, devices, environment.cores, narrator)
    data, unread = loader_facts(parts.data) if isinstance(parts.data, LoaderData) else (data_facts(parts.data), ())
    if data.keys:
        narrator.say("rows", lines.rows_line(data))
    if isinstance(parts, ModuleParts):
        narrator.say("note", lines.unseen_line((*unseen, *unread)))
    found = [*_unavailable(parts, environment), *_judge(data, plan, trial, speed)]
    found.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    for finding in found:
        if finding.severity == "note":
            narrator.say("note", str(finding))
    mended = tuple(finding for finding in found if finding.severity != "note")
    notes = tuple(finding for finding in found if finding.severity == "note")
    return CheckResult(mended, notes, environment, data, plan, trial, speed, is_own=isinstance(parts, ModuleParts))


def _judge(data: DataFacts, plan: PlanFacts | None, trial: Trial | None, speed: Speed | None) -> Iterator[Finding]:
    yield from apply(OWN_DATA_RULES if data.is_own else DATA_RULES, data)
    if plan is not None:
        yield from apply(SCHEDULE_RULES if plan.preview.is_own else PLAN_RULES, plan)
    if trial is not None:
        yield from apply(NET_RULES, trial)
    if speed is not None:
        yield from apply(SPEED_RULES, speed)


def _unavailable(parts: RunParts, environment: Environment) -> Iterator[Finding]:
    """What the config asks for and does not work here."""
    trainer = parts.config.trainer
    backend = "nccl" if "nccl" in environment.works else "gloo"
    asked = {
        "bf16-mixed": (str(trainer.precision).startswith("bf16"), "trainer.precision", "trainer.precision=fp32"),
        "deterministic": (trainer.deterministic, "trainer.deterministic", "trainer.deterministic=false"),
        backend: (trainer.devices > 1, "trainer.devices", "trainer.devices=1"),
        "TensorBoard": ("tensorboard" in (parts.config.get("logger") or {}), "logger", "logger=none"),
    }
    for name, (is_asked, where, hint) in asked.items():
        if is_asked and not environment.has(name):
            yield error("unavailable", f"{name} does not work here: {environment.works[name]}", where, hint)
