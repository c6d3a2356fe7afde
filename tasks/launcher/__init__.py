"""Starts what a run needs and the host does not have yet: the command line, the local Prefect API, the Dask cluster."""
