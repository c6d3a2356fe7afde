"""Reading a Parquet manifest that may be damaged or malicious.

Over some damaged files Arrow does not raise but ends its process, and a file of some kilobytes can say that it holds
terabytes. So a process of its own reads the file first, and nobody reads more than the limits below.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

MAX_ROWS = 10_000_000
MAX_UNPACKED_BYTES = 2**30
_AT_ONCE_BYTES = 2**28
_CHECK_SECONDS = 300.0
_REFUSED = 3
_TOO_LARGE = f"it unpacks to more than {MAX_ROWS:,} rows or {MAX_UNPACKED_BYTES / 2**30:g} GiB"


def read_rows(content: bytes, columns: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The rows of a Parquet file, with all columns or with ``columns``, each of text.

    Raises ValueError that says in one clause what is wrong with it.
    """
    command = [sys.executable, "-P", "-m", "tasks.engine.contract.parquet", *columns]
    root = str(Path(__file__).resolve().parents[3])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    try:
        done = subprocess.run(
            command, input=content, capture_output=True, timeout=_CHECK_SECONDS, check=False, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"reading it takes longer than {_CHECK_SECONDS:g} s") from error
    if done.returncode == _REFUSED:
        raise ValueError(done.stdout.decode(errors="replace"))
    if done.returncode:
        how = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
        raise ValueError(f"reading it ends the process that does ({how})")
    return _rows(content, columns)


def main() -> int:
    """Read the file at standard input; where it is refused, say why."""
    try:
        _rows(sys.stdin.buffer.read(), tuple(sys.argv[1:]))
    except ValueError as error:
        sys.stdout.write(str(error))
        return _REFUSED
    return 0


def _rows(content: bytes, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    import pyarrow as pa

    try:
        return _unpacked(content, columns)
    except (pa.ArrowException, OSError, ValueError, OverflowError, LookupError, RecursionError) as error:
        raise ValueError(str(error).partition("\n")[0]) from error


def _unpacked(content: bytes, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows. Stops where they are too many or too large, long before they fill the memory."""
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    unpacked_bytes = 0
    with pq.ParquetFile(io.BytesIO(content)) as file:
        names = file.schema_arrow.names
        if len(set(names)) < len(names):
            raise ValueError("it has two columns of one name")
        if missing := set(columns) - {field.name for field in file.schema_arrow if str(field.type) == "string"}:
            raise ValueError(f"it has no column of text named {', '.join(sorted(missing))}")
        chosen = list(columns) or None
        for batch in file.iter_batches(_batch_rows(file.metadata), columns=chosen, use_threads=False):
            unpacked = batch.to_pylist()
            rows += unpacked
            unpacked_bytes += sum(map(_weight, unpacked))
            if unpacked_bytes > MAX_UNPACKED_BYTES or len(rows) > MAX_ROWS:
                raise ValueError(_TOO_LARGE)
    return rows


def _batch_rows(metadata: Any) -> int:
    """How many rows may be unpacked at once: each value might be as large as all that its column chunk holds."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    sizes: list[int] = [
        group.column(number).total_uncompressed_size for group in groups for number in range(group.num_columns)
    ]
    if metadata.num_rows > MAX_ROWS or sum(sizes) > MAX_UNPACKED_BYTES:
        raise ValueError(_TOO_LARGE)
    return max(4, min(4096, _AT_ONCE_BYTES // max(1, *sizes, 1)))


def _weight(value: Any) -> int:
    """About the bytes that a cell takes."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_weight, value.values()))
    return sum(map(_weight, value)) if isinstance(value, list | tuple) else 8


if __name__ == "__main__":
    # Without Arrow's own farewell: what it does to the process then says nothing of the file.
    verdict = main()
    sys.stdout.flush()
    os._exit(verdict)
