"""Run a flow's stages on Dask and report them to Prefect."""

from tasks.batch.run import BatchRun, batch_run
from tasks.batch.waiting import Patience

__all__ = ["BatchRun", "Patience", "batch_run"]
