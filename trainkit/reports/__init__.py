"""Pages about a run for people: ``report.html`` and ``MODEL_CARD.md``, from a run directory's data alone."""

from trainkit.reports.card import write_model_card
from trainkit.reports.examples import examples_of
from trainkit.reports.report import write_report

__all__ = ["examples_of", "write_model_card", "write_report"]
