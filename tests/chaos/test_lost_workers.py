"""All workers of a cluster are killed while its scheduler keeps running, or one worker after another is lost."""

from collections.abc import Iterator

import pytest

from tests.chaos.cluster import Cluster, start_cluster
from tests.chaos.network import Machine
from tests.engine.processes import wait_until, wait_until_gone
from tests.runs.bench import Bench

NO_RETRIES = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}  # Dask does not resubmit a shard
QUICK = ("--look-seconds", 1)  # to notice missing workers


@pytest.fixture(scope="module")
def second_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    machine = Machine(variables=NO_RETRIES)
    with start_cluster(tmp_path_factory.mktemp("second-cluster"), (machine,)) as cluster:
        yield cluster


@pytest.fixture
def repaired_cluster(second_cluster: Cluster, bench: Bench) -> Cluster:
    """Repair the cluster after an earlier test has killed workers of it."""
    second_cluster.repair()
    second_cluster.ledger.unlink(missing_ok=True)
    bench.ledger = second_cluster.ledger
    return second_cluster


def create_stalled_items(bench: Bench, count: int) -> list[dict[str, object]]:
    return [{"id": f"item-{n}", "do": "wait_for", "gate": str(bench.folder / "gate")} for n in range(count)]


@pytest.mark.parametrize("workers_return", [False, True], ids=["for ever", "for a time"])
def test_run_waits_for_lost_workers_and_gives_up_after_a_time(
    bench: Bench, repaired_cluster: Cluster, workers_return: bool
) -> None:
    bench.write_manifest(*create_stalled_items(bench, 6))
    seconds = 300 if workers_return else 1
    with bench.start_flow("--scheduler", repaired_cluster.address, *QUICK, "--deserted-seconds", seconds) as flow:
        wait_until(lambda: len(bench.count_tries()) == 2, "two items at work")
        repaired_cluster.kill_workers()
        flow.wait_for_text(f"{repaired_cluster.address} has no workers any more: waiting {seconds} s for one")
        (bench.folder / "gate").touch()
        if workers_return:
            repaired_cluster.repair()
        assert flow.wait() == (0 if workers_return else 1), flow.log.read_text()
        log = flow.log.read_text()
    assert "Traceback" not in log
    assert log.count("has no workers any more") == 1
    wait_until_gone(bench.mark)
    if workers_return:
        assert bench.count_items() == (6, 0, 0, 0)
        return
    assert log.count("then give the same command again: finished items stay done") == 1
    assert bench.summary["state"] == "failed"
    assert bench.count_items() == (0, 0, 0, 6)
    repaired_cluster.repair()
    assert bench.run("--scheduler", repaired_cluster.address) == 0
    assert bench.count_items() == (6, 0, 0, 0)


def test_ctrl_c_without_workers_interrupts_the_run(bench: Bench, repaired_cluster: Cluster) -> None:
    bench.write_manifest(*create_stalled_items(bench, 6))
    with bench.start_flow("--scheduler", repaired_cluster.address, *QUICK) as flow:
        wait_until(lambda: len(bench.count_tries()) == 2, "two items at work")
        repaired_cluster.kill_workers()
        flow.wait_for_text("has no workers any more")
        flow.signal(2)
        assert flow.wait() == 130, flow.log.read_text()
    assert bench.count_items() == (0, 0, 0, 6)


def test_item_that_kills_its_worker_each_time_fails_the_run(bench: Bench, repaired_cluster: Cluster) -> None:
    """The run blames the cluster, not the item, after several losses in a row; done items stay done."""
    bench.write_manifest({"id": "a"}, {"id": "b"}, {"id": "killer", "do": "kill_the_worker"})
    options = ("--scheduler", repaired_cluster.address, "--shard-size", 1, "--order", "manifest")
    with bench.start_flow(*options, "--losses", 2) as flow:
        assert flow.wait() == 1, flow.log.read_text()
        log = flow.log.read_text()
    assert "Traceback" not in log
    assert "3 workers in a row were lost" in log
    assert bench.count_items() == (2, 0, 0, 1)
    assert bench.failures == {}
    assert bench.count_tries()["killer"] >= 3
