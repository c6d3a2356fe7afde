"""Run flows by their command lines, in this process or in a child process, and read their outputs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pyarrow.parquet as pq
import pytest

from tests.engine.faults import LEDGER, get_hold_file
from tests.engine.processes import MARK, count_tries, wait_for_exit, wait_until

ROOT = Path(__file__).resolve().parents[2]
FAULT_FLOW = "tests.runs.fault_flow"
_TIMES = {"usage", "run_id", "attempts", "history"}  # fields that differ between equal runs


class Bench:
    """Folder with a manifest, a ledger and an output folder."""

    def __init__(self, folder: Path, home: Path, api: str | None, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.manifest = folder / "manifest.json"
        self.ledger = folder / "ledger"
        self.output = folder / "output"
        self.mark = uuid.uuid4().hex
        self.api = api
        self.prefix: tuple[str, ...] = ()  # goes before the command of start_flow
        self._home = home
        self._patch = patch

    def write_manifest(self, *rows: Mapping[str, Any]) -> None:
        """Write the items of the next run."""
        self.manifest.write_text(json.dumps(list(rows)))

    def run(self, *options: object, flow: str = FAULT_FLOW, small: bool = True) -> int:
        """Run ``flow`` in this process; return its exit code. The API is the session's.

        A ``small`` run has one slot and one shard per stage unless the options include ``--workers``. Each slot is a
        process that imports the stage and each shard is a Prefect task; together they take longer than a few items.
        """
        from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

        from tasks.launcher.command import main

        assert self.api is not None
        with self._patch.context() as patch, temporary_settings({PREFECT_API_URL: self.api, PREFECT_HOME: self._home}):
            for name, value in self._build_variables().items():
                patch.setenv(name, value)
            return main(
                flow, self._build_arguments(flow, (*_build_small_options(options), *options) if small else options)
            )

    @contextlib.contextmanager
    def start_flow(self, *options: object, flow: str = FAULT_FLOW) -> Iterator[FlowProcess]:
        """Start ``flow`` in a child process; kill it at the end of the block if it still runs."""
        script = ROOT / f"{flow.replace('.', '/')}.py"
        log = self.folder / f"said-{uuid.uuid4().hex[:6]}"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*self.prefix, sys.executable, str(script), *self._build_arguments(flow, options)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=self._build_environment(),
            )
            try:
                yield FlowProcess(process, log)
            finally:
                process.kill()
                process.wait()

    def hold(self, after: int) -> None:
        """Let items with the action ``take_time`` wait once ``after`` items have ended, until :meth:`release`."""
        get_hold_file(self.ledger).write_text(str(after))

    def release(self) -> None:
        """Let items continue that wait because of :meth:`hold`."""
        get_hold_file(self.ledger).unlink(missing_ok=True)

    def count_tries(self, word: str = "start") -> Counter[str]:
        """Return how often each item was started (or ended) since the ledger was last removed."""
        return count_tries(self.ledger, word)

    def take_started_items(self) -> list[str]:
        """Return the items started since the last call, in order."""
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        self.ledger.unlink(missing_ok=True)
        return [line.split()[1] for line in lines if line.startswith("start ")]

    @property
    def summary(self) -> dict[str, Any]:
        """Return the content of summary.json."""
        content: dict[str, Any] = json.loads((self.output / "summary.json").read_bytes())
        return content

    @property
    def failures(self) -> dict[str, dict[str, Any]]:
        """Return the rows of failures.json by id."""
        return {row["id"]: row for row in json.loads((self.output / "failures.json").read_bytes())}

    @property
    def items(self) -> dict[str, dict[str, Any]]:
        """Return the rows of items.parquet by id."""
        return {row["id"]: row for row in pq.read_table(self.output / "items.parquet").to_pylist()}

    def count_items(self) -> tuple[int, int, int, int]:
        """Return the done, cached, failed and remaining items of the last run."""
        items = self.summary["items"]
        return items["done"], items["cached"], items["failed"], items["remaining"]

    def _build_arguments(self, flow: str, options: tuple[object, ...]) -> list[str]:
        own = ["--manifest", self.manifest, "--output-dir", self.output] if flow == FAULT_FLOW else []
        return [str(argument) for argument in (*own, *options)]

    def _build_variables(self) -> dict[str, str]:
        given = {LEDGER: str(self.ledger), MARK: self.mark, "PREFECT_HOME": str(self._home)}
        return given if self.api is None else {**given, "PREFECT_API_URL": self.api}

    def _build_environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
        return {**inherited, **self._build_variables()}


@dataclass(frozen=True)
class FlowProcess:
    """Flow in a child process. ``log`` is the file of its standard output and error."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_for_text(self, text: str) -> None:
        """Return when the flow has printed ``words``."""
        wait_until(lambda: text in self.log.read_text(), lambda: f"{text!r} in {self.log.read_text()}")

    def signal(self, number: int) -> None:
        """Send a signal to the running flow."""
        assert self.process.poll() is None, f"it ended before the signal: {self.log.read_text()}"
        self.process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code."""
        return wait_for_exit(self.process)


def _build_small_options(options: tuple[object, ...]) -> tuple[object, ...]:
    """Return options for one slot and one shard, unless ``options`` include the number of slots."""
    if "--workers" in options:
        return ()
    return ("--workers", 1) if "--shard-size" in options else ("--workers", 1, "--shard-size", 100)


def flush_prefect_logs() -> None:
    """Let Prefect send its pending logs and events, so that it does not call a server that has stopped."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=10)
    EventsWorker.drain_all(timeout=10)


def load_records(output: Path) -> dict[str, Any]:
    """Return every record of an output folder without its times, by ``<stage>/<id>``."""
    contents = {}
    for path in sorted((output / ".headrace/records").rglob("*.json")):
        content = json.loads(path.read_bytes())
        contents[f"{path.parent.name}/{path.stem}"] = {name: content[name] for name in content.keys() - _TIMES}
    return contents


def hash_files(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of a folder by path, without hidden folders."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    visible = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in visible}


def list_files(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and mtime of every entry of a folder, including hidden ones."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*")
    }


def create_bench(folder: Path, home: Path, api: str) -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patch:
        yield Bench(folder, home, api, patch)


def load_values(bench: Bench, stage: str) -> dict[str, dict[str, Any]]:
    """Return the rows of a stage in items.parquet by item."""
    table = pq.read_table(bench.output / "items.parquet").to_pylist()
    return {row["id"]: row for row in table if row["stage"] == stage}


def count_stage_items(bench: Bench, stage: str) -> tuple[int, int, int, int]:
    """Return the done, cached, failed and remaining items of a stage."""
    items = bench.summary["stages"][stage]
    return items["done"], items["cached"], items["failed"], items["remaining"]


def read_frame_times(path: Path) -> list[Fraction]:
    """Return the frame times in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(container.streams.video[0]))
        return [frame.pts * frame.time_base for frame in frames if frame.pts is not None and frame.time_base]
