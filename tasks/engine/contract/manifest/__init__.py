"""Read and check manifests.

A manifest is a table in JSON (a list of objects, or ``{"data": [...]}``), JSON Lines, CSV, TSV or Parquet. These
functions raise no errors for problems in the user's files: they return the readable rows and all problems together.
"""

from tasks.engine.contract.manifest.ids import MAX_NAME_LENGTH, read_ids
from tasks.engine.contract.manifest.input_folder import InputFolder
from tasks.engine.contract.manifest.reading import MAX_MANIFEST_BYTES, read_table
from tasks.engine.contract.manifest.table import (
    MAX_ALIKE,
    Row,
    Table,
    cap_problems,
    check_priority,
    collect_extra_columns,
    find_missing_columns,
)
from tasks.engine.contract.manifest.values import MAX_DEPTH, check_json_name, convert_to_json, is_url, is_utf8, shorten

__all__ = [
    "MAX_ALIKE",
    "MAX_DEPTH",
    "MAX_MANIFEST_BYTES",
    "MAX_NAME_LENGTH",
    "InputFolder",
    "Row",
    "Table",
    "cap_problems",
    "check_json_name",
    "check_priority",
    "collect_extra_columns",
    "convert_to_json",
    "find_missing_columns",
    "is_url",
    "is_utf8",
    "read_ids",
    "read_table",
    "shorten",
]
