"""Read and check manifests.

A manifest is a table in JSON (a list of objects, or ``{"data": [...]}``), JSON Lines, CSV, TSV or Parquet. Nothing here
raises an error for what the user wrote: each function returns what it could read and the problems, so that all problems
can be shown at once.
"""

from tasks.engine.contract.manifest.ids import MAX_NAME_LENGTH, read_ids
from tasks.engine.contract.manifest.input_folder import InputFolder
from tasks.engine.contract.manifest.reading import read_table
from tasks.engine.contract.manifest.table import (
    MAX_ALIKE,
    Row,
    Table,
    cap_problems,
    carried,
    missing_columns,
    unknown_priority,
)
from tasks.engine.contract.manifest.values import MAX_DEPTH, is_url, is_utf8, json_name, json_value, shorten

__all__ = [
    "MAX_ALIKE",
    "MAX_DEPTH",
    "MAX_NAME_LENGTH",
    "InputFolder",
    "Row",
    "Table",
    "cap_problems",
    "carried",
    "is_url",
    "is_utf8",
    "json_name",
    "json_value",
    "missing_columns",
    "read_ids",
    "read_table",
    "shorten",
    "unknown_priority",
]
