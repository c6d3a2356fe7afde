"""Clusters for runs: files that describe them, and the Dask clusters that they start or connect to."""
