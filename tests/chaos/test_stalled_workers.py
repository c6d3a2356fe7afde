"""A worker of a cluster stalls, or one of its items takes long: items that wait for it run on the other worker."""

import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from tasks.engine.store.layout import Layout
from tasks.engine.store.records import RecordStore
from tests.chaos.cluster import Cluster, start_cluster
from tests.chaos.network import Machine
from tests.engine.faults import STALLED
from tests.engine.processes import wait_until, wait_until_gone
from tests.runs.bench import Bench

ITEMS = [f"item-{number}" for number in range(6)]
OPTIONS = ("--order", "manifest", "--timeout", 300)


@pytest.fixture(scope="module")
def third_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("third-cluster")
    (folder / "stalled").mkdir()
    with start_cluster(folder, (Machine(variables={STALLED: str(folder / "stalled")}),)) as cluster:
        yield cluster


@pytest.fixture
def cluster(third_cluster: Cluster, bench: Bench) -> Cluster:
    third_cluster.repair()
    third_cluster.ledger.unlink(missing_ok=True)
    bench.ledger = third_cluster.ledger
    bench.write_manifest(*({"id": item, "do": "sign"} for item in ITEMS))
    return third_cluster


def list_recorded(bench: Bench) -> set[str]:
    return RecordStore(Layout(bench.output), "faults").ids()


def find_item(bench: Bench, worker: int) -> str:
    """Return the item that runs on a worker."""
    started = [line.split() for line in bench.ledger.read_text().splitlines()]
    (item,) = [item for _, item, child in started if psutil.Process(int(child)).ppid() == worker]
    return item


def check_results(bench: Bench, stalled: str = "") -> None:
    """Check that each item ran once, and that its outputs are those of the process that its record names.

    The ``stalled`` item may run twice, if its worker stalled before it reported that it has begun.
    """
    assert bench.count_items() == (len(ITEMS), 0, 0, 0)
    assert {item: tries for item, tries in bench.count_tries().items() if item != stalled} == dict.fromkeys(
        set(ITEMS) - {stalled}, 1
    )
    assert {row["attempts"] for row in bench.items.values()} == {1}
    store = RecordStore(Layout(bench.output), "faults")
    torn = [name for name, record in store.load().items() if not store.has_intact_outputs(record, "digest")]
    assert torn == []
    assert [*bench.output.rglob("*.tmp"), *bench.output.rglob("*.stale")] == []
    wait_until_gone(bench.mark)


@pytest.mark.parametrize("shard_size", [1, 3])
def test_items_of_a_stalled_worker_run_elsewhere(bench: Bench, cluster: Cluster, shard_size: int) -> None:
    """Its unstarted items run on the other worker. When it continues, nothing runs or is published twice."""
    everything = cluster.folder / "stalled" / "all"
    everything.touch()
    with bench.start_flow("--scheduler", cluster.address, "--shard-size", shard_size, *OPTIONS) as flow:
        wait_until(lambda: len(bench.count_tries()) == 2, lambda: f"two items at work: {flow.log.read_text()}", 120.0)
        stalled = cluster.pick("worker", 0)
        item = find_item(bench, stalled)
        os.kill(stalled, signal.SIGSTOP)
        try:
            everything.unlink()
            wait_until(
                lambda: list_recorded(bench) >= set(ITEMS) - {item},
                lambda: f"all items but that of the stalled worker: {list_recorded(bench)} {flow.log.read_text()}",
                120.0,
            )
        finally:
            os.kill(stalled, signal.SIGCONT)
        assert flow.wait() == 0, flow.log.read_text()
    check_results(bench, item)


@pytest.mark.parametrize("shard_size", [1, 3])
def test_no_item_waits_behind_a_long_one_while_a_worker_is_free(
    bench: Bench, cluster: Cluster, shard_size: int
) -> None:
    long_item = cluster.folder / "stalled" / ITEMS[0]
    long_item.touch()
    with bench.start_flow("--scheduler", cluster.address, "--shard-size", shard_size, *OPTIONS) as flow:
        wait_until(
            lambda: list_recorded(bench) == set(ITEMS[1:]),
            lambda: f"all items but the long one: {list_recorded(bench)} {flow.log.read_text()}",
            120.0,
        )
        long_item.unlink()
        assert flow.wait() == 0, flow.log.read_text()
    check_results(bench)
