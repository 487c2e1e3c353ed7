"""What a run came to: the typed face of ``result.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainkit.errors import RunError
from trainkit.rundir import FILES, FORMAT_VERSION, SEAL, RunDirectory, read_json, sums_of, write_json
from trainkit.runs.score import estimate_from_json, estimate_json
from trainkit.types import Estimate

EXTRA_VALIDATION = "validation/"
"""What stands before the name of a further validation set in files."""


def extra_validation(metrics: Mapping[str, Mapping[str, Estimate]]) -> dict[str, Mapping[str, Estimate]]:
    """Metrics of the further validation sets by their names, of metrics by part."""
    return {
        part.removeprefix(EXTRA_VALIDATION): values
        for part, values in metrics.items()
        if part.startswith(EXTRA_VALIDATION)
    }


@dataclass(frozen=True)
class Result:
    """What a run came to.

    Attributes:
        status: ``completed``, ``failed`` or ``interrupted``.
        run_dir: The run's directory; None where it failed before one was made.
        test: Metrics of the test part with intervals, by name.
        validation: Metrics of the validation part with intervals, by name.
        extra_validation: Metrics of each further validation set, by its name.
        objective_name: Name of the value that chose the best epoch, which a search looks at.
        objective_mode: ``max`` or ``min``.
        objective: That value; None where there was no validation part.
        baseline: Name, metrics and paired comparison of the baseline; empty without one.
        facts: Everything else in ``result.json``: steps, epochs, seconds, seed, fingerprint, and so on.
        error: Why it failed.
    """

    status: str
    run_dir: Path | None
    test: Mapping[str, Estimate] = field(default_factory=dict)
    validation: Mapping[str, Estimate] = field(default_factory=dict)
    objective_name: str | None = None
    objective_mode: str | None = None
    objective: float | None = None
    baseline: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    extra_validation: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)

    @property
    def steps(self) -> int | None:
        """Optimizer steps done; None for a classical model."""
        return self.facts.get("steps")

    @property
    def epochs(self) -> int | None:
        """Epochs begun; None for a classical model."""
        return self.facts.get("epochs")

    def to_json(self) -> dict[str, Any]:
        """Contents of ``result.json``."""
        extra = {f"{EXTRA_VALIDATION}{name}": values for name, values in self.extra_validation.items()}
        parts = {"test": self.test, "validation": self.validation, **extra}
        metrics = {
            part: {name: estimate_json(value) for name, value in values.items()}
            for part, values in parts.items()
            if values
        }
        objective = {"name": self.objective_name, "mode": self.objective_mode, "value": self.objective}
        plain = {"format_version": FORMAT_VERSION, "status": self.status, "metrics": metrics, "objective": objective}
        return (
            plain | dict(self.facts) | {"baseline": dict(self.baseline)} | ({"error": self.error} if self.error else {})
        )

    def save(self) -> None:
        """Writes ``result.json``, the last file of a run, with sums of what it was made from."""
        assert self.run_dir is not None
        run = RunDirectory(self.run_dir)
        kept = (run.weights, run.classical_model, run.predictions, run.metrics)
        values = self.to_json() | {FILES: sums_of(*kept)}
        if run.environment.is_file() and (run_id := read_json(run.environment).get("run_id")):
            values["run_id"] = run_id
        write_json(run.result, values, sealed=True)

    @classmethod
    def load(cls, run: RunDirectory) -> Result:
        """Reads ``result.json``.

        Raises:
            RunError: It is missing or damaged.
        """
        values = run.read_result()
        try:
            return cls._from_json(run, values)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise RunError(f"'{run.result}' is not as trainkit writes it ({reason})", where="RUN") from error

    @classmethod
    def _from_json(cls, run: RunDirectory, values: Mapping[str, Any]) -> Result:
        metrics = {
            part: {name: estimate_from_json(estimate) for name, estimate in estimates.items()}
            for part, estimates in values["metrics"].items()
        }
        objective = values["objective"]
        known = {"format_version", "status", "metrics", "objective", "baseline", "error", "run_id", FILES, SEAL}
        return cls(
            status=values["status"],
            run_dir=run.path,
            test=metrics.get("test", {}),
            validation=metrics.get("validation", {}),
            extra_validation=extra_validation(metrics),
            objective_name=objective["name"],
            objective_mode=objective["mode"],
            objective=objective["value"],
            baseline=values.get("baseline", {}),
            facts={name: value for name, value in values.items() if name not in known},
            error=values.get("error"),
        )
