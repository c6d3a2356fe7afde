"""A machine of a cluster is disconnected: it keeps running, but its network packets are lost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.engine.store.layout import Layout
from tasks.engine.store.records import RecordStore
from tests.chaos.cluster import Cluster, start_cluster
from tests.chaos.network import Machine, Network, create_network, find_obstacle, select_on_machine
from tests.chaos.prefect_machine import serve_prefect
from tests.engine.faults import STALLED
from tests.engine.processes import Deadline, count_tries, wait_until, wait_until_gone
from tests.runs.bench import Bench, FlowProcess

ITEMS = [f"item-{number:02d}" for number in range(24)]
TIMEOUT_SECONDS = 12  # Dask requires at least 11
LONG_TIMEOUT_SECONDS = 600
_TIMEOUT = "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP"


class TwoMachines:
    """Two machines: ``near`` with scheduler, flow and a worker; ``far`` with another worker, to be disconnected."""

    def __init__(self, folder: Path, network: Network, far_timeout_seconds: int) -> None:
        self.network = network
        self.stalled = {name: folder / f"stalled-{name}" for name in ("near", "far")}
        for stalled in self.stalled.values():
            stalled.mkdir()
        self.near = self._add_machine("near", TIMEOUT_SECONDS)
        self.far = self._add_machine("far", far_timeout_seconds)
        (self.stalled["far"] / "all").touch()

    def _add_machine(self, name: str, seconds: int) -> Machine:
        return self.network.add_machine({_TIMEOUT: f"{seconds}s", STALLED: str(self.stalled[name])})

    def find_started_items(self, cluster: Cluster, machine: Machine) -> dict[int, list[str]]:
        """Return the items that were started on ``machine``, by the process that started them."""
        lines = [line.split() for line in cluster.ledger.read_text().splitlines()] if cluster.ledger.exists() else []
        pids = select_on_machine(machine, list({int(pid) for _, _, pid in lines}))
        return {pid: [item for word, item, by in lines if word == "start" and int(by) == pid] for pid in pids}


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    if obstacle := find_obstacle():
        pytest.skip(obstacle)
    with create_network() as network:
        yield network


@pytest.fixture(scope="module")
def server(
    network: Network, make_home: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Yield the address of a Prefect server on a third machine, which all machines reach."""
    with serve_prefect(network.add_machine({}), make_home(tmp_path_factory.mktemp("server") / "home")) as url:
        yield url


def disconnect_far(machines: TwoMachines, bench: Bench, cluster: Cluster, flow: FlowProcess) -> tuple[int, str]:
    """Disconnect ``far`` during its first item; return its process and the item."""
    wait_until(lambda: len(count_tries(cluster.ledger, "end")) >= 5, f"items ended: {flow.log}")
    wait_until(lambda: machines.find_started_items(cluster, machines.far), f"an item on the far machine: {flow.log}")
    ((child, (item, *_)),) = machines.find_started_items(cluster, machines.far).items()
    (machines.stalled["near"] / item).touch()  # stalls until the file is removed, so that both machines run the item
    machines.network.disconnect(machines.far)
    return child, item


def check_results(bench: Bench) -> None:
    """Raise AssertionError unless all items are done at the first attempt and all outputs match their records."""
    assert bench.count_items() == (len(ITEMS), 0, 0, 0)
    assert {row["attempts"] for row in bench.items.values()} == {1}
    store = RecordStore(Layout(bench.output), "faults")
    records = store.load()
    assert set(records) == set(ITEMS)
    torn = [name for name, record in records.items() if not store.has_intact_outputs(record, "digest")]
    assert torn == []
    assert [*bench.output.rglob("*.tmp"), *bench.output.rglob("*.stale")] == []


@contextmanager
def start_run(machines: TwoMachines, server: str, bench: Bench, folder: Path) -> Iterator[tuple[Cluster, FlowProcess]]:
    """Start a cluster on both machines, and a flow on the near one that runs ITEMS there."""
    with start_cluster(folder / "cluster", (machines.near, machines.far)) as cluster:
        cluster.repair()
        bench.api, bench.prefix = server, machines.near.prefix
        bench.write_manifest(*({"id": name, "do": "sign"} for name in ITEMS))
        options = ("--scheduler", cluster.address, "--shard-size", 1, "--timeout", 300)
        with bench.start_flow(*options) as flow:
            yield cluster, flow


def wait_for_success(flow: FlowProcess) -> None:
    assert flow.wait() == 0, flow.log.read_text()
    assert "Traceback" not in flow.log.read_text()


def test_items_of_disconnected_machine_run_elsewhere_and_its_processes_end(
    network: Network, server: str, bench: Bench, tmp_path: Path
) -> None:
    machines = TwoMachines(tmp_path, network, far_timeout_seconds=TIMEOUT_SECONDS)
    with start_run(machines, server, bench, tmp_path) as (cluster, flow):
        child, item = disconnect_far(machines, bench, cluster, flow)
        deadline = Deadline(2 * TIMEOUT_SECONDS + 30)
        (machines.stalled["near"] / item).unlink()
        wait_for_success(flow)
        assert not deadline.is_over
        wait_until(
            lambda: not select_on_machine(machines.far, list(cluster.find_children())),
            "the end of the disconnected item processes",
        )
        check_results(bench)
        started = count_tries(cluster.ledger)
        assert [name for name, count in started.items() if count > 1] == [item], "other items ran once"
        assert child not in {row["maker"] for row in bench.items.values()}
    wait_until_gone(bench.mark)


def test_item_that_ends_on_both_machines_is_published_once(
    network: Network, server: str, bench: Bench, tmp_path: Path
) -> None:
    """The far machine does not notice the disconnection and finishes its item."""
    machines = TwoMachines(tmp_path, network, far_timeout_seconds=LONG_TIMEOUT_SECONDS)
    with start_run(machines, server, bench, tmp_path) as (cluster, flow):
        _, item = disconnect_far(machines, bench, cluster, flow)
        wait_until(lambda: count_tries(cluster.ledger)[item] == 2, f"{item} on both machines: {flow.log}")
        for stalled in (machines.stalled["near"] / item, machines.stalled["far"] / "all"):
            stalled.unlink()
        wait_until(lambda: count_tries(cluster.ledger, "end")[item] == 2, f"{item} ended on both machines")
        wait_for_success(flow)
        check_results(bench)
    wait_until_gone(bench.mark)


def test_workers_without_connection_to_the_prefect_server_fail_the_run(
    network: Network, bench: Bench, tmp_path: Path
) -> None:
    """A run's private server listens on the loopback, which no other machine reaches."""
    machines = TwoMachines(tmp_path, network, far_timeout_seconds=TIMEOUT_SECONDS)
    with start_cluster(tmp_path / "cluster", (machines.far, machines.far)) as cluster:
        cluster.repair()
        bench.api, bench.prefix = None, machines.near.prefix
        bench.write_manifest({"id": "a"})
        with bench.start_flow("--scheduler", cluster.address) as flow:
            assert flow.wait() == 1
            log = flow.log.read_text()
    assert "Traceback" not in log
    assert "name a server that all workers reach, by PREFECT_API_URL" in log
    assert bench.summary["state"] == "failed"
