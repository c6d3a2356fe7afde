"""Read a Parquet manifest that may be damaged or malicious.

Some damaged files crash Arrow's process, and a file of a few kilobytes can unpack to terabytes. Therefore a separate
process reads the file first, and the limits below apply to every read.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

MAX_ROWS = 10_000_000
MAX_UNPACKED_BYTES = 2**30
_AT_ONCE_BYTES = 2**28
_CHECK_SECONDS = 300.0
_REFUSED = 3
_TOO_LARGE = f"it unpacks to more than {MAX_ROWS:,} rows or {MAX_UNPACKED_BYTES / 2**30:g} GiB"


def read_rows(content: bytes, columns: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file, with all columns or only the text columns ``columns``.

    Raises ValueError with a one-clause message if the file cannot be read.
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
    return _read_limited(content, columns)


def read_types(content: bytes) -> dict[str, str]:
    """Return the types of the columns of a file that :func:`read_rows` has read, in Arrow's words: ``int32``."""
    import pyarrow.parquet as pq

    return {field.name: str(field.type) for field in pq.read_schema(io.BytesIO(content))}


def main() -> int:
    """Read the file at standard input; print why if it is refused."""
    try:
        _read_limited(sys.stdin.buffer.read(), tuple(sys.argv[1:]))
    except ValueError as error:
        sys.stdout.write(str(error))
        return _REFUSED
    return 0


def _read_limited(content: bytes, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    import pyarrow as pa

    try:
        return _read_bounded(content, columns)
    except (pa.ArrowException, OSError, ValueError, OverflowError, LookupError, RecursionError) as error:
        raise ValueError(str(error).partition("\n")[0]) from error


def _read_bounded(content: bytes, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Read the rows. Raises ValueError if they exceed the limits, long before they fill the memory."""
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
        for batch in file.iter_batches(_choose_batch_size(file.metadata), columns=chosen, use_threads=False):
            unpacked = batch.to_pylist()
            rows += unpacked
            unpacked_bytes += sum(map(_measure_bytes, unpacked))
            if unpacked_bytes > MAX_UNPACKED_BYTES or len(rows) > MAX_ROWS:
                raise ValueError(_TOO_LARGE)
    return rows


def _choose_batch_size(metadata: Any) -> int:
    """Return the number of rows per batch. A single value may be as large as its whole column chunk."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    sizes: list[int] = [
        group.column(number).total_uncompressed_size for group in groups for number in range(group.num_columns)
    ]
    if metadata.num_rows > MAX_ROWS or sum(sizes) > MAX_UNPACKED_BYTES:
        raise ValueError(_TOO_LARGE)
    return max(4, min(4096, _AT_ONCE_BYTES // max(1, *sizes, 1)))


def _measure_bytes(value: Any) -> int:
    """Return the approximate size of a cell in bytes."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_measure_bytes, value.values()))
    return sum(map(_measure_bytes, value)) if isinstance(value, list | tuple) else 8


def end_process(code: int) -> NoReturn:
    """End this process without Arrow's shutdown, which aborts at times in short-lived processes."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # a closed pipe, as in `... | head`
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    end_process(main())
