"""Two runs in one output folder, of which the first is paused until the second has taken its lock over."""

from __future__ import annotations

import signal
import subprocess

import psutil
import pytest

from tasks.engine.store.lock import SECONDS_VARIABLE
from tests.engine.containers import CONTAINER, require_containers
from tests.engine.processes import wait_until
from tests.runs.bench import Bench, hash_files, load_records

SECONDS = "3"  # of silence after which an owner counts as dead


def signal_all(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to all processes of a container, as if its machine was paused or resumed."""
    for member in psutil.Process(process.pid).children(recursive=True):
        member.send_signal(number)


def test_run_that_was_paused_ends_after_another_took_its_lock(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their own PID namespaces the runs cannot look each other up, so only the heartbeat counts."""
    require_containers()
    monkeypatch.setenv(SECONDS_VARIABLE, SECONDS)
    gate = bench.folder / "gate"
    bench.prefix = CONTAINER
    bench.write_manifest({"id": "done"}, {"id": "late", "do": "wait_for", "gate": str(gate)})
    options = ("--workers", 1, "--shard-size", 2, "--order", "manifest")  # one shard: one item after the other
    with bench.start_flow(*options) as first:
        wait_until(
            lambda: "late" in bench.count_tries() and len(load_records(bench.output)) == 1,
            lambda: f"the second item, and the record of the first: {first.log.read_text()}",
        )
        signal_all(first.process, signal.SIGSTOP)
        gate.touch()
        with bench.start_flow(*options) as second:
            assert second.wait() == 0, second.log.read_text()
        assert "cannot be looked up from here: waiting up to 3 s for a sign of life" in second.log.read_text()
        assert (bench.count_tries()["done"], bench.count_tries()["late"]) == (1, 2)
        assert bench.count_items() == (1, 1, 0, 0)
        files, kept, summary = hash_files(bench.output), load_records(bench.output), bench.summary
        signal_all(first.process, signal.SIGCONT)
        assert first.wait() == 1, first.log.read_text()
    said = first.log.read_text()
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if "has lost its lock" in line]
    assert said.rstrip().endswith(line), said
    assert (hash_files(bench.output), load_records(bench.output), bench.summary) == (files, kept, summary)
    assert not (bench.output / ".headrace" / "lock").exists()
    assert list((bench.output / ".headrace" / "private").iterdir()) == []
