"""Render ``report.html``, the self-contained page of a run."""

from tasks.engine.reporting.report.model import Bar, Failure, Picture
from tasks.engine.reporting.report.page import render_report

__all__ = ["Bar", "Failure", "Picture", "render_report"]
