"""Runs a job function under ``hydra.main``: one job, or a multirun in which a failed job does not end the others."""

from __future__ import annotations

import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import hydra
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from trainkit.config.compose import (
    CONFIG_MODULE,
    CONFIG_NAME,
    VERSION_BASE,
    add_local_config_dir,
    check_sweep,
    friendly,
)
from trainkit.config.earlier import earlier_overrides
from trainkit.errors import ConfigError, TrainkitError, told

Job = Callable[[DictConfig], Any]

_SIGNALLED = 128
"""Exit codes above it are those of a process that was told to stop: the other jobs are not to follow."""


@dataclass(frozen=True)
class FailedJob:
    """What a failed job of a multirun gives back instead of a result.

    Attributes:
        overrides: The job's overrides.
        message: The error in a few lines, or the traceback of a bug.
        status: Always ``failed``, as in a result.
    """

    overrides: tuple[str, ...]
    message: str
    status: str = field(default="failed", init=False)


@dataclass(frozen=True)
class Sweep:
    """How many jobs of a multirun there were, and how many of them failed."""

    jobs: int
    failed: int


class LocalConfigs(SearchPathPlugin):
    """Hydra's way to a marked ``conf/`` in the working directory."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Adds the directory after trainkit's, before ``--config-dir``."""
        add_local_config_dir(search_path)


def run_app(args: Sequence[str], job: Job, program: str = "trainkit fit", *, can_sweep: bool = True) -> Sweep | None:
    """Runs a job with a config composed from command-line arguments, by Hydra's own command line.

    Args:
        args: Overrides and Hydra's options (``-m``, ``--cfg job``, ``--config-dir``, ``--info``, …).
        job: Takes the config; in a multirun what it raises is printed, and the next job follows.
        program: Name of the program in Hydra's messages.
        can_sweep: Whether a multirun makes sense for the job.

    Returns:
        The number of jobs and failures after a multirun, else None.

    Raises:
        ConfigError: The config cannot be composed, or a multirun is asked for that makes no sense; nothing was written.
        SystemExit: An option is unknown.
    """
    with _arguments(program, args):
        options = get_args_parser().parse_args(list(args))
    if not can_sweep and (options.multirun or any(text.startswith("hydra.mode=") for text in options.overrides)):
        raise ConfigError(f"{program} looks at one configuration", where="-m", hint=f"{program} once for each")
    args = _with_earlier(args, options)
    runner = _Runner(job)
    Plugins.instance().register(LocalConfigs)
    try:
        with _raw_errors(), _arguments(program, args), runner.watching_sweeps():
            if options.multirun:
                check_sweep(options.overrides, options.config_dir, _config_name(options))
            hydra.main(config_path=CONFIG_MODULE, config_name=CONFIG_NAME, version_base=VERSION_BASE)(runner)()
    except Exception as error:
        explained = friendly(error, options.overrides, options.config_dir, _config_name(options))
        if explained is None:
            raise
        raise explained from error
    if runner.error is not None:
        raise runner.error
    return runner.sweep


def _with_earlier(args: Sequence[str], options: Namespace) -> list[str]:
    """Puts the overrides of the run that the arguments name before the user's own; in ``options`` too."""
    earlier = earlier_overrides(options.overrides, options.config_dir)
    place = list(args).index(options.overrides[0]) if options.overrides else len(args)
    options.overrides = [*earlier, *options.overrides]
    return [*args[:place], *earlier, *args[place:]]


def _config_name(options: Namespace) -> str:
    return options.config_name or CONFIG_NAME


@contextmanager
def _raw_errors() -> Iterator[None]:
    """Lets Hydra raise what it otherwise prints."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


@contextmanager
def _arguments(program: str, args: Sequence[str]) -> Iterator[None]:
    before = sys.argv
    sys.argv = [program, *args]
    try:
        yield
    finally:
        sys.argv = before


class _Runner:
    """The task function that Hydra calls; keeps what the job raised, since Hydra would print it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.error: Exception | None = None
        self.sweep: Sweep | None = None

    def __call__(self, cfg: DictConfig) -> Any:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            return self._run_in_sweep(cfg)
        try:
            return self.job(cfg)
        except Exception as error:
            self.error = error
            return None

    def _run_in_sweep(self, cfg: DictConfig) -> Any:
        try:
            return self.job(cfg)
        except TrainkitError as error:
            message = told(error)
        except SystemExit as stop:
            if isinstance(stop.code, int) and stop.code > _SIGNALLED:
                raise
            message = traceback.format_exc()
        except Exception:
            message = traceback.format_exc()
        hydra_cfg = HydraConfig.get()
        plain: Any = OmegaConf.to_container(hydra_cfg.overrides.task, resolve=False)
        overrides = tuple(map(str, plain))
        print(f"job {hydra_cfg.job.num} failed ({' '.join(overrides)})\n{message}", file=sys.stderr)
        return FailedJob(overrides, message)

    @contextmanager
    def watching_sweeps(self) -> Iterator[None]:
        """Counts the jobs by what Hydra's launcher gives back, from whatever process or machine they ran on."""
        multirun = Hydra.multirun

        def counted(hydra_app: Hydra, *args: Any, **kwargs: Any) -> Any:
            returned = multirun(hydra_app, *args, **kwargs)
            jobs = list(_jobs(returned))
            self.sweep = Sweep(len(jobs), sum(map(_has_failed, jobs)))
            return returned

        Hydra.multirun = counted  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            Hydra.multirun = multirun  # type: ignore[method-assign]


def _jobs(returned: Any) -> Iterator[Any]:
    if isinstance(returned, list | tuple):
        for item in returned:
            yield from _jobs(item)
    elif hasattr(returned, "status") and hasattr(returned, "overrides"):
        yield returned


def _has_failed(job_return: Any) -> bool:
    if job_return.status.name == "FAILED":
        return True
    return getattr(job_return.return_value, "status", None) == "failed"
