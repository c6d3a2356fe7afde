"""The batch engine: items, identity, records, planning, isolation, running, reporting.

Imports no Prefect, no Dask and no media or science library.
"""
