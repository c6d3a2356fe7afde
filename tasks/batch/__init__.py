"""Run a flow's stages on Dask and report them to Prefect."""

from tasks.batch.remote_loop import Patience
from tasks.batch.run import BatchRun, batch_run

__all__ = ["BatchRun", "Patience", "batch_run"]
