"""The page that a run leaves: ``report.html``, one file that needs nothing else."""

from tasks.engine.reporting.report.model import Bar, Failure, Picture
from tasks.engine.reporting.report.page import render_report

__all__ = ["Bar", "Failure", "Picture", "render_report"]
