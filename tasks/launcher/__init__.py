"""Start flows from the command line, with a local Prefect API and a local Dask cluster if there are none."""
