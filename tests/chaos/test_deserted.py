"""A cluster whose scheduler lives and whose workers are gone, and one that loses worker after worker."""

from collections.abc import Iterator

import pytest

from tests.chaos.cluster import Cluster, cluster_in
from tests.chaos.network import Machine
from tests.engine.processes import wait_until, wait_until_gone
from tests.runs.bench import Bench

NO_SECOND_CHANCE = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}  # Dask gives no shard out again by itself
QUICK = ("--look-seconds", 1)  # to see that no worker is there


@pytest.fixture(scope="module")
def second_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    machine = Machine(variables=NO_SECOND_CHANCE)
    with cluster_in(tmp_path_factory.mktemp("second-cluster"), (machine,)) as cluster:
        yield cluster


@pytest.fixture
def own_cluster(second_cluster: Cluster, bench: Bench) -> Cluster:
    """The cluster with all its workers, whatever an earlier test has killed of them."""
    second_cluster.mend()
    second_cluster.ledger.unlink(missing_ok=True)
    bench.ledger = second_cluster.ledger
    return second_cluster


def stalled(bench: Bench, count: int) -> list[dict[str, object]]:
    return [{"id": f"item-{n}", "do": "wait_for", "gate": str(bench.folder / "gate")} for n in range(count)]


@pytest.mark.parametrize("come_back", [False, True], ids=["for good", "for a time"])
def test_workers_that_are_all_gone(bench: Bench, own_cluster: Cluster, come_back: bool) -> None:
    bench.write_manifest(*stalled(bench, 6))
    seconds = 300 if come_back else 1
    with bench.start_flow("--scheduler", own_cluster.address, *QUICK, "--deserted-seconds", seconds) as flow:
        wait_until(lambda: len(bench.count_tries()) == 2, "two items at work")
        own_cluster.kill_workers()
        flow.wait_for_text(f"{own_cluster.address} has no workers any more: waiting {seconds} s for one")
        (bench.folder / "gate").touch()
        if come_back:
            own_cluster.mend()
        assert flow.wait() == (0 if come_back else 1), flow.log.read_text()
        log = flow.log.read_text()
    assert "Traceback" not in log
    assert log.count("has no workers any more") == 1
    wait_until_gone(bench.mark)
    if come_back:
        assert bench.count_items() == (6, 0, 0, 0)
        return
    assert log.count("then give the same command again: what is done stays done") == 1
    assert bench.summary["state"] == "failed"
    assert bench.count_items() == (0, 0, 0, 6)
    own_cluster.mend()
    assert bench.run("--scheduler", own_cluster.address) == 0
    assert bench.count_items() == (6, 0, 0, 0)


def test_ctrl_c_while_no_worker_is_there(bench: Bench, own_cluster: Cluster) -> None:
    bench.write_manifest(*stalled(bench, 6))
    with bench.start_flow("--scheduler", own_cluster.address, *QUICK) as flow:
        wait_until(lambda: len(bench.count_tries()) == 2, "two items at work")
        own_cluster.kill_workers()
        flow.wait_for_text("has no workers any more")
        flow.signal(2)
        assert flow.wait() == 130, flow.log.read_text()
    assert bench.count_items() == (0, 0, 0, 6)


def test_an_item_that_takes_its_worker_along_each_time(bench: Bench, own_cluster: Cluster) -> None:
    """After some losses in a row the cluster is to blame, not the item; what is done stays done."""
    bench.write_manifest({"id": "a"}, {"id": "b"}, {"id": "killer", "do": "kill_the_worker"})
    given = ("--scheduler", own_cluster.address, "--shard-size", 1, "--order", "manifest")
    with bench.start_flow(*given, "--losses", 2) as flow:
        assert flow.wait() == 1, flow.log.read_text()
        log = flow.log.read_text()
    assert "Traceback" not in log
    assert "3 workers in a row were lost" in log
    assert bench.count_items() == (2, 0, 0, 1)
    assert bench.failures == {}
    assert bench.count_tries()["killer"] >= 3
