"""Progress, summary and report of a run."""
