"""Workers that cannot run items are named before anything runs, and get none; so are those that join later."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.clusters.dask_processes import start_dask
from tests.engine.faults import LEDGER
from tests.engine.processes import wait_until, wait_until_gone
from tests.runs.bench import Bench


def find_obstacle() -> str:
    """Return the reason why no process can have mounts of its own; empty if it can."""
    command = ["unshare", "--mount", "true"]
    attempt = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"mounts are not permitted: {attempt.stderr.strip()}" if attempt.returncode else ""


def mount_over(folder: Path, other: Path) -> tuple[str, ...]:
    """Return the prefix of a command that sees ``other`` at the path ``folder``, as on another machine."""
    script = f'mount --bind "{other}" "{folder}" && exec "$@"'
    return "unshare", "--mount", "sh", "-c", script, "sh"


@pytest.fixture
def needs_mounts() -> None:
    if obstacle := find_obstacle():
        pytest.skip(obstacle)


def write_items(bench: Bench, count: int = 4) -> None:
    inputs = bench.folder / "inputs"
    inputs.mkdir()
    for number in range(count):
        (inputs / f"{number}.bin").write_bytes(b"input")
    bench.write_manifest(
        *(
            {"id": f"item-{number}", "do": "take_time", "seconds": 0.1, "inputs": [f"{inputs}/{number}.bin"]}
            for number in range(count)
        )
    )


@pytest.mark.usefixtures("needs_mounts")
def test_workers_that_see_other_folders_are_named_and_get_no_items(bench: Bench, tmp_path: Path) -> None:
    """Both exist at the same path on another machine. One joins before the run, one during it."""
    write_items(bench)
    bench.output.mkdir()
    empty, outputs = tmp_path / "empty", tmp_path / "other-output"
    for folder in (empty, outputs):
        folder.mkdir()
    with start_dask(tmp_path / "dask") as dask:
        dask.add_worker("good", **{LEDGER: str(bench.ledger)})
        dask.add_worker("blind", prefix=mount_over(bench.folder / "inputs", empty))
        dask.add_worker("astray", prefix=mount_over(bench.output, outputs))
        dask.wait_for_workers("good", "blind", "astray")
        bench.hold(1)
        options = ("--scheduler", dask.address, "--shard-size", 1)
        with bench.start_flow(*options) as flow:
            flow.wait_for_text("does not see the input")
            flow.wait_for_text("sees another folder")
            wait_until(bench.count_tries, "the first item")
            dask.add_worker("late", prefix=mount_over(bench.output, outputs))
            flow.wait_for_text("worker late at")
            bench.release()
            assert flow.wait() == 0, flow.log.read_text()
            log = flow.log.read_text()
    assert "worker blind at" in log
    assert "worker astray at" in log
    assert log.count("gets no items: it sees another folder at") == 2
    first = re.search(r"[1-4] done", log)
    assert first
    assert max(log.index("worker blind"), log.index("worker astray")) < first.start(), "both before anything ran"
    assert bench.count_items() == (4, 0, 0, 0)
    assert list(outputs.rglob("*.json")) == [], "nothing was written there"
    wait_until_gone(bench.mark)


@pytest.mark.usefixtures("needs_mounts")
def test_run_without_any_usable_worker_fails_with_the_reason(bench: Bench, tmp_path: Path) -> None:
    bench.write_manifest({"id": "a"})
    bench.output.mkdir()
    (tmp_path / "other").mkdir()
    with start_dask(tmp_path / "dask") as dask:
        dask.add_worker("alone", prefix=mount_over(bench.output, tmp_path / "other"))
        dask.wait_for_workers("alone")
        with bench.start_flow("--scheduler", dask.address) as flow:
            assert flow.wait() == 1
            log = flow.log.read_text()
    assert "Traceback" not in log
    assert "no worker can run items: worker alone at" in log
    assert bench.count_items() == (0, 0, 0, 1)


def test_scheduler_without_workers_is_waited_for(bench: Bench, tmp_path: Path) -> None:
    bench.write_manifest({"id": "a"})
    with start_dask(tmp_path / "dask") as dask, bench.start_flow("--scheduler", dask.address) as flow:
        flow.wait_for_text(f"{dask.address} has no workers yet: waiting for one; start some: dask worker")
        dask.add_worker("first")
        assert flow.wait() == 0, flow.log.read_text()
        assert "1 slot from now on (1 worker)" in flow.log.read_text() or bench.count_items() == (1, 0, 0, 0)
    assert bench.count_items() == (1, 0, 0, 0)
