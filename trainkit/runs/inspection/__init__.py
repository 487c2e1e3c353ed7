"""A look before the run: what works here, and what is wrong with a configuration."""

from trainkit.runs.inspection.finding import Finding
from trainkit.runs.inspection.further import Further
from trainkit.runs.inspection.inspect import inspect_run
from trainkit.runs.inspection.result import CheckResult

__all__ = ["CheckResult", "Finding", "Further", "inspect_run"]
