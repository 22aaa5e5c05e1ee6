"""Figures, tables and the HTML report of a run, from plain arrays and small dataclasses."""

from estimhank.report.inputs import ReportInputs
from estimhank.report.write import write_report

__all__ = ["ReportInputs", "write_report"]
