"""Runs whose workers are jobs of a batch system: a stand-in for its commands starts real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clusters.batch_system import list_running, list_scripts, read_group
from tests.clusters.conftest import write_job_cluster
from tests.engine.processes import wait_until, wait_until_gone
from tests.runs.bench import Bench


def write_items(bench: Bench, count: int, seconds: float = 0.1) -> None:
    bench.write_manifest(*({"id": f"item-{n}", "do": "take_time", "seconds": seconds} for n in range(count)))


def check_script(script: Path) -> None:
    """Check a job script by its shell and by shellcheck, without hints that values in quotes stay as they are."""
    subprocess.run(["bash", "-n", script], check=True)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    ran = subprocess.run(
        [shellcheck, "--shell=bash", "--severity=warning", script], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize(
    "system", ["slurm", pytest.param("pbs", marks=pytest.mark.long), pytest.param("lsf", marks=pytest.mark.long)]
)
def test_workers_start_from_zero_and_end_with_the_run(bench: Bench, jobs: Path, system: str) -> None:
    write_items(bench, 6)
    words = {"QUOTED": "it's $HOME", "PLAIN": "1"}
    cluster = write_job_cluster(bench, system, maximum=2, environment=words, scratch=f"{bench.folder}/scratch")
    with bench.start_flow("--cluster", cluster) as flow:
        assert flow.wait() == 0, flow.log.read_text()
        log = flow.log.read_text()
    assert bench.count_items() == (6, 0, 0, 0)
    assert "Traceback" not in log
    assert 1 <= len(list_scripts(jobs)) <= 2, "there are two slots at most"
    wait_until(lambda: not list_running(jobs), "the end of all jobs")
    for script in list_scripts(jobs):
        check_script(script)
    assert not list((bench.output / ".headrace/jobs").glob("*"))
    wait_until_gone(bench.mark)


def test_items_of_a_killed_job_run_in_another(bench: Bench, jobs: Path) -> None:
    write_items(bench, 6)
    bench.hold(2)
    with bench.start_flow("--cluster", write_job_cluster(bench, maximum=1), "--shard-size", 1) as flow:
        wait_until(lambda: bench.count_tries("end").total() == 2, lambda: f"two items: {flow.log.read_text()}", 120.0)
        wait_until(lambda: bench.count_tries().total() == 3, "an item that is held")
        os.killpg(read_group(jobs, "1"), signal.SIGKILL)
        bench.release()
        assert flow.wait() == 0, flow.log.read_text()
    assert bench.count_items() == (6, 0, 0, 0)
    assert {row["attempts"] for row in bench.items.values()} == {1}
    assert bench.count_tries().total() == 7, "only the item in flight ran twice"
    assert len(list_scripts(jobs)) == 2
    wait_until_gone(bench.mark)


def test_queue_that_never_starts_is_reported_and_ctrl_c_cancels_the_jobs(bench: Bench, jobs: Path) -> None:
    write_items(bench, 3)
    (jobs / "hold").touch()
    with bench.start_flow("--cluster", write_job_cluster(bench, maximum=2)) as flow:
        flow.wait_for_text("slurm: waiting for workers; squeue: 2 PENDING (Priority)")
        flow.signal(signal.SIGINT)
        assert flow.wait() == 130, flow.log.read_text()
    assert bench.count_items() == (0, 0, 0, 3)
    wait_until(lambda: not list_running(jobs), "the end of all jobs")


def test_jobs_of_a_killed_run_end(bench: Bench, jobs: Path) -> None:
    """Those that run lose their scheduler; the next run cancels those that wait."""
    write_items(bench, 4)
    bench.hold(0)
    cluster = write_job_cluster(bench, maximum=2)
    with bench.start_flow("--cluster", cluster, "--shard-size", 1) as flow:
        wait_until(lambda: bench.count_tries().total() >= 1, lambda: f"an item: {flow.log.read_text()}", 120.0)
        (jobs / "hold").touch()
        flow.signal(signal.SIGKILL)
        flow.process.wait()
    bench.release()
    (jobs / "hold").unlink()
    first = len(list_scripts(jobs))
    with bench.start_flow("--cluster", cluster, "--shard-size", 1) as flow:
        flow.wait_for_text("ended what was left of the jobs headrace-")
        assert flow.wait() == 0, flow.log.read_text()
    assert bench.count_items()[:2][0] + bench.count_items()[1] == 4
    wait_until(lambda: not list_running(jobs), "the end of all jobs")
    assert len(list_scripts(jobs)) > first


def test_jobs_that_cannot_be_submitted_end_the_run(bench: Bench, jobs: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid account or partition' >&2\nexit 1\n")
    (broken / "sbatch").chmod(0o755)
    write_items(bench, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{broken}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("HEADRACE_TEST_RETRY", "0")
        with bench.start_flow("--cluster", write_job_cluster(bench)) as flow:
            assert flow.wait() == 1
            log = flow.log.read_text()
    assert "3 workers in a row did not start; the last: sbatch failed: sbatch: error: invalid account" in log
    assert "Traceback" not in log


def test_worker_processes_of_this_machine_are_replaced(bench: Bench) -> None:
    """A cluster of the type local: from zero to two workers, one of which dies."""
    from tests.clusters.conftest import write_cluster

    write_items(bench, 8)
    bench.hold(2)
    cluster = write_cluster(bench, "local", maximum=2, memory="1GiB")
    with bench.start_flow("--cluster", cluster, "--shard-size", 1) as flow:
        wait_until(lambda: bench.count_tries().total() >= 3, lambda: f"items: {flow.log.read_text()}", 120.0)
        workers = [pid for pid, command in find_workers(bench).items()]
        os.kill(workers[0], signal.SIGKILL)
        bench.release()
        assert flow.wait() == 0, flow.log.read_text()
    assert bench.count_items() == (8, 0, 0, 0)
    assert {row["attempts"] for row in bench.items.values()} == {1}
    wait_until_gone(bench.mark)


def find_workers(bench: Bench) -> dict[int, str]:
    from tests.engine.processes import find_processes

    return {pid: command for pid, command in find_processes(bench.mark).items() if "dask_worker" in command}


def test_shellcheck_is_installed() -> None:
    assert shutil.which("shellcheck", path=str(Path(sys.executable).parent))
