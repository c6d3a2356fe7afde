"""The files that a run left in its output folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployments.web.presets import FLOWS
from deployments.web.store import UploadFolder
from deployments.web.uploads import Upload
from tasks.engine.store.layout import STATE_FOLDER


def find_video(upload: Upload, folder: UploadFolder) -> Path | None:
    """Return the resulting video of a flow that makes one; None if there is none yet."""
    flow = FLOWS[upload.flow]
    if not flow.compares:
        return None
    files = [path for name in flow.results for path in sorted((folder.output / name).glob("*")) if path.is_file()]
    return files[0] if files else None


def list_results(upload: Upload, folder: UploadFolder) -> list[Path]:
    """Return all files for download."""
    walks = (os.walk(folder.output / name) for name in FLOWS[upload.flow].results)  # a run may remove files meanwhile
    paths = (Path(place, name) for walk in walks for place, _, names in walk for name in names)
    return sorted(path for path in paths if path.is_file() and not path.is_symlink())


def find_report(folder: UploadFolder) -> Path | None:
    """Return the report of the last run."""
    path = folder.output / "report.html"
    return path if path.is_file() else None


def find_log(folder: UploadFolder, stage: str, name: str) -> Path | None:
    """Return the log of a failed item, as the report names it; it is looked up among the logs that exist."""
    logs = (path for path in (folder.output / STATE_FOLDER / "logs").glob("*/*.log") if path.is_file())
    return next((path for path in logs if (path.parent.name, path.name) == (stage, name)), None)


def read_summary(folder: UploadFolder) -> dict[str, Any]:
    """Return the summary of the last run; empty if there is none yet."""
    try:
        summary: dict[str, Any] = json.loads((folder.output / "summary.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return summary


def list_failures(folder: UploadFolder) -> list[str]:
    """Return a line per failed item of the last run."""
    try:
        rows = json.loads((folder.output / "failures.json").read_bytes())
    except (OSError, ValueError):
        return []
    return [str(row.get("message", "")) for row in rows]


def name_result(upload: Upload, suffix: str) -> str:
    """Return the name under which a user saves the result."""
    stem = upload.name.rpartition(".")[0] or upload.name
    return f"{stem}-{FLOWS[upload.flow].results[0]}{suffix}"


def iterate_zip(paths: list[Path], top: Path) -> Iterator[bytes]:
    """Yield a ZIP file of ``paths``, named relative to ``top``, without storing it."""
    from zipfile import ZipFile

    sink: Any = _Sink()
    with ZipFile(sink, "x") as archive:
        for path in paths:
            with (
                path.open("rb") as source,
                archive.open(path.relative_to(top).as_posix(), "w", force_zip64=True) as entry,
            ):
                while block := source.read(1 << 20):
                    entry.write(block)
                    yield sink.take()
    yield sink.take()


class _Sink:
    """A file that only grows, and gives away what was written."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._blocks.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: nothing is buffered elsewhere."""

    def take(self) -> bytes:
        data = b"".join(self._blocks)
        self._blocks.clear()
        return data
