"""The command line: one table of commands, each one a function that is imported when its command is called."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trainkit
from trainkit.errors import ConfigError, TrainkitError, did_you_mean, one_of, told

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

UNREAD = 141
"""Exit code where the reader of standard output went away, as of a program ended by SIGPIPE."""
FOUND = 1
"""Exit code of a check that found something to mend."""

FAILED_JOBS = 3
"""Exit code of a multirun in which a job failed."""

Arguments = tuple[tuple[tuple[str, ...], dict[str, Any]], ...]
"""Names and settings of ``argparse.ArgumentParser.add_argument``, one pair per argument."""


@dataclass(frozen=True)
class Command:
    """One line of the table.

    Attributes:
        help: What it does, in one line.
        target: Module and function, imported when the command is called.
        arguments: Its arguments; None for Hydra's overrides and options.
    """

    help: str
    target: str
    arguments: Arguments | None = None


_RUN = (("run",), {"metavar": "RUN", "help": "directory of a run"})
_TRUST = (
    ("--trust",),
    {"metavar": "PKG", "action": "append", "default": [], "help": "package of yours that the run may import"},
)

COMMANDS: dict[str, Command] = {
    "fit": Command("train a model, score it on the test data, keep the run", "trainkit.api:run_job"),
    "check": Command(
        "look at a configuration before the run: what works here, what is wrong", "trainkit.api:check_job"
    ),
    "evaluate": Command(
        "score a run again, with intervals",
        "trainkit.api:evaluate",
        (
            _RUN,
            (("--split",), {"choices": ["test", "validation"], "default": "test", "help": "rows to score (test)"}),
            _TRUST,
        ),
    ),
    "predict": Command(
        "predict the rows of a file with a run's model",
        "trainkit.api:predict",
        (
            _RUN,
            (("file",), {"metavar": "FILE", "help": "data as the run was trained on, the target may be missing"}),
            (("-o", "--output"), {"metavar": "OUT", "required": True, "help": "file to write, .csv or .parquet"}),
            _TRUST,
        ),
    ),
    "list": Command(
        "list models, data, tasks, optimizers, … or runs",
        "trainkit.listing:list_",
        (
            (("kind",), {"metavar": "KIND", "nargs": "?", "help": "models, data, …, experiments, runs; none: counts"}),
            (("--root",), {"metavar": "DIR", "help": "directory of the runs (runs)"}),
            (("--sort",), {"metavar": "METRIC", "help": "a metric, best first; or date, time, name (date)"}),
            (
                ("--filter",),
                {
                    **{"metavar": "KEY=VALUE", "dest": "filters", "nargs": "+", "action": "extend", "default": []},
                    "help": "runs with model=cnn, optimizer.lr=1e-3, status=failed, 'accuracy>=0.9' (quote < and >)",
                },
            ),
            (("--limit",), {"metavar": "N", "type": int, "help": "lines at most"}),
            (("--json",), {"action": "store_true", "dest": "as_json", "help": "a JSON list instead of lines"}),
            (("--config-dir",), {"metavar": "DIR", "help": "directory with YAMLs of your own"}),
        ),
    ),
    "new": Command(
        "make a small project of your own that trains at once",
        "trainkit.project:new",
        ((("name",), {"metavar": "NAME", "help": "its directory and package, for example demo"}),),
    ),
}
"""Every command by name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: Command and arguments; by default those of the process.

    Returns:
        Exit code: 0, 1 for a check that found something, 2 for a mistake of the user's (a few lines on standard error),
        3 for a multirun with failed jobs, 130 after Ctrl-C, 141 where nobody reads on. A bug raises, and ends the
        process with its traceback and 1.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(args)
    except TrainkitError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(told(error), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as head, has seen enough; what is left in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD


def _dispatch(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(_help())
        return 0 if args else 2
    if args[0] == "--version":
        print(f"trainkit {trainkit.__version__}")
        return 0
    if args[0] == "--completion":
        print(load("trainkit.completion:script")(" ".join(args[1:])), end="")
        return 0
    if args[0] == "--complete":
        return _complete(args[1:])
    name, rest = args[0], args[1:]
    command = COMMANDS.get(name)
    if command is None:
        hint = did_you_mean(name, COMMANDS) or "trainkit --help"
        raise ConfigError(f"unknown command '{name}'", expected=one_of(COMMANDS), hint=hint)
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a _target_ may name the user's own module beside him
    if name == "check":
        return _check(command, rest)
    return _call(name, command, rest) if command.arguments is not None else _fit(command, rest)


def _call(name: str, command: Command, args: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"trainkit {name}", description=command.help, allow_abbrev=False)
    for names, settings in command.arguments or ():
        parser.add_argument(*names, **settings)
    given = vars(parser.parse_args(args))
    positional = [given.pop(names[0]) for names, _ in command.arguments or () if not names[0].startswith("-")]
    load(command.target)(*positional, **given)
    return 0


def _complete(words: list[str]) -> int:
    try:
        found = load("trainkit.completion:complete")(words, {name: entry.arguments for name, entry in COMMANDS.items()})
    except Exception:  # the user is in the middle of a line: nothing is completed, whatever is wrong
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        return 1
    print(*found, sep="\n", end="\n" * bool(found))
    return 0


def _fit(command: Command, args: list[str]) -> int:
    if "-h" in args or "--help" in args:
        print(_fit_help(command))
        return 0
    from trainkit.config.app import run_app

    sweep = run_app(args, lambda cfg: load(command.target)(cfg))
    if sweep is None or not sweep.failed:
        return 0
    print(f"{sweep.failed} of {sweep.jobs} jobs failed", file=sys.stderr)
    return FAILED_JOBS


def _check(command: Command, args: list[str]) -> int:
    if "-h" in args or "--help" in args:
        print(_CHECK_USAGE.format(help=command.help))
        return 0
    from trainkit.config.app import run_app

    results: list[Any] = []
    args, further = _without_further(args)
    run_app(args, lambda cfg: results.append(load(command.target)(cfg, further)), "trainkit check", can_sweep=False)
    return 0 if all(result.ok for result in results) else FOUND


def _without_further(args: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Arguments of ``check`` without ``profile=…``, ``resume=…`` and ``batch=…``, and what these ask for."""
    asked = {name: value for name, mark, value in (arg.partition("=") for arg in args) if mark and name in _FURTHER}
    kept = [arg for arg in args if arg.partition("=")[0] not in asked]
    trace = asked.get("profile", "false")
    file = {"false": None, "true": Path("profile.json.gz")}.get(trace.lower(), Path(trace))
    flags = {name: _flag(name, asked.get(name, "false")) for name in ("resume", "batch")}
    return kept, {"trace": file, **flags}


def _flag(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ConfigError(f"{name} is '{value}'", where=name, expected="true or false")
    return value.lower() == "true"


def load(target: str) -> Callable[..., Any]:
    """Imports a function named ``module:function``."""
    module, _, function = target.partition(":")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return loaded


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items()]
    head = "usage: trainkit COMMAND …\n\ntrains a PyTorch model fast, resumes it exactly, says how far to believe it"
    tail = "  trainkit COMMAND -h    the arguments of a command\n  trainkit --version     the version\n\n" + _COMPLETION
    return "\n".join([head, "", "commands:", *lines, "", tail])


def _fit_help(command: Command) -> str:
    from trainkit.config.shipped import groups

    choices = groups()
    width = max(map(len, choices))
    listed = [f"  {name:<{width}}  {' | '.join(names)}" for name, names in choices.items()]
    return "\n".join([_FIT_USAGE.format(help=command.help), *listed, "", _FIT_OPTIONS])


_COMPLETION = """completion with Tab, for your shell's start-up file:
  bash   eval "$(trainkit --completion bash)"
  zsh    eval "$(trainkit --completion zsh)"
  fish   trainkit --completion fish | source"""

_FIT_USAGE = """usage: trainkit fit [group=choice …] [key=value …] [options]

{help}

examples:
  trainkit fit
  trainkit fit data=table data.path=churn.csv data.target=Churn
  trainkit fit model=mlp model.hidden=[128,128] optimizer.lr=3e-4 trainer.max_epochs=50
  trainkit fit model=custom model._target_=mynet.Net +model.num_classes=???
  trainkit fit -m seed=0,1,2 model=mlp,cnn

groups and their choices:"""

_FURTHER = ("profile", "resume", "batch")

_CHECK_USAGE = """usage: trainkit check [group=choice …] [key=value …] [options]

{help}

Takes what trainkit fit takes (trainkit fit -h), trains nothing and writes nothing. A copy of the net learns one batch
by heart; loader and net are timed; the data is searched for rows that the parts share and for features that give the
target away; the learning rate is stepped through the run.

examples:
  trainkit check
  trainkit check data=table data.path=churn.csv data.target=Churn optimizer.lr=3e-2
  trainkit check profile=true model=cnn
  trainkit check resume=true trainer.ema=0.99

profile=true trains a copy for some seconds and says where the time of a run goes, and what to change; the trace of a
few steps is written to profile.json.gz (profile=FILE.json: elsewhere), which https://ui.perfetto.dev opens.

resume=true trains a short version whole, and again with kills, in processes, and says whether both end in the same
weights, optimizer, generators and curves, and else what differs. batch=true looks for the largest batch that fits.

exit code: 0 nothing to mend, 1 something found, 2 a mistake for which fit would not start either"""

_FIT_OPTIONS = """options:
  -m, --multirun     one job for each combination of the values separated by commas
  -c, --cfg job      print the config instead of running it (with --resolve: interpolations resolved)
  -cd, --config-dir  directory with YAMLs of your own, searched after trainkit's
  -cn, --config-name config to compose instead of fit
  -i, --info         where the config comes from
  --hydra-help       Hydra's own help
  HYDRA_FULL_ERROR=1 in the environment shows the traceback of every error"""


if __name__ == "__main__":
    sys.exit(main())
