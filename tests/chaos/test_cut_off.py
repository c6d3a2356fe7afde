"""A machine of a cluster that is cut off: it lives, but nothing gets through to it or from it any more."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tasks.engine.store.layout import Layout
from tasks.engine.store.records import RecordStore
from tests.chaos.cluster import Cluster, cluster_in
from tests.chaos.network import Machine, Network, forbidden, network, on
from tests.engine.faults import STALLED
from tests.engine.processes import Patience, count_tries, wait_until, wait_until_gone
from tests.homes import build_server_environment
from tests.runs.bench import ROOT, Bench, FlowProcess

ITEMS = [f"item-{number:02d}" for number in range(24)]
NOTICED_SECONDS = 12  # Dask takes nothing shorter than 11
LONG_SECONDS = 600
_TIMEOUT = "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP"
# Ends when there is an answer from an address.
_ASK = """
import sys, time, urllib.request
while True:
    try:
        urllib.request.urlopen(sys.argv[1])
        break
    except OSError:
        time.sleep(0.05)
"""


class Place:
    """Two machines: ``near`` with scheduler, flow and a worker; ``far`` with another worker, which is cut off."""

    def __init__(self, folder: Path, made: Network, far_notices_seconds: int) -> None:
        self.network = made
        self.stalled = {name: folder / f"stalled-{name}" for name in ("near", "far")}
        for stalled in self.stalled.values():
            stalled.mkdir()
        self.near = self._machine("near", NOTICED_SECONDS)
        self.far = self._machine("far", far_notices_seconds)
        (self.stalled["far"] / "all").touch()

    def _machine(self, name: str, seconds: int) -> Machine:
        return self.network.machine({_TIMEOUT: f"{seconds}s", STALLED: str(self.stalled[name])})

    def starts(self, cluster: Cluster, machine: Machine) -> dict[int, list[str]]:
        """Items that were started on ``machine``, by the process that did."""
        lines = [line.split() for line in cluster.ledger.read_text().splitlines()] if cluster.ledger.exists() else []
        pids = on(machine, list({int(pid) for _, _, pid in lines}))
        return {pid: [item for word, item, by in lines if word == "start" and int(by) == pid] for pid in pids}


@pytest.fixture(scope="module")
def made_network() -> Iterator[Network]:
    if why := forbidden():
        pytest.skip(why)
    with network() as made:
        yield made


@pytest.fixture(scope="module")
def server(
    made_network: Network, make_home: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a Prefect server, on a machine of its own, that every machine reaches."""
    machine, port = made_network.machine({}), 4200
    code = (
        "import socket; from tests.open_server import main; "
        f"listening = socket.create_server(({machine.address!r}, {port})); main(listening.detach())"
    )
    home = make_home(tmp_path_factory.mktemp("server") / "home")
    environment = {**build_server_environment(home), "PYTHONPATH": str(ROOT)}
    command = [*machine.prefix, sys.executable, "-P", "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment):
        url = f"http://{machine.address}:{port}/api"
        subprocess.run([*machine.prefix, sys.executable, "-c", _ASK, f"{url}/health"], check=True, timeout=600)
        yield url


def begin(place: Place, bench: Bench, cluster: Cluster, flow: FlowProcess) -> tuple[int, str]:
    """Cut ``far`` off when it is at its first item and ``near`` has ended some; the process there and its item."""
    wait_until(lambda: len(count_tries(cluster.ledger, "end")) >= 5, f"items ended: {flow.log}")
    wait_until(lambda: place.starts(cluster, place.far), f"an item at the far end: {flow.log}")
    ((child, (item, *_)),) = place.starts(cluster, place.far).items()
    (place.stalled["near"] / item).touch()  # until it is released, so that both are at it
    place.network.cut(place.far)
    return child, item


def check(bench: Bench) -> None:
    """Everything is done, nobody is to blame, and all outputs are what the records say."""
    assert bench.count_items() == (len(ITEMS), 0, 0, 0)
    assert {row["attempts"] for row in bench.items.values()} == {1}
    store = RecordStore(Layout(bench.output), "faults")
    found = store.load()
    assert set(found) == set(ITEMS)
    torn = [name for name, record in found.items() if not store.has_intact_outputs(record, "digest")]
    assert torn == []
    assert [*bench.output.rglob("*.tmp"), *bench.output.rglob("*.stale")] == []


def run_options(cluster: Cluster) -> tuple[object, ...]:
    return ("--scheduler", cluster.address, "--shard-size", 1, "--timeout", 300)


def test_its_items_go_to_the_others_and_its_processes_end(
    made_network: Network, server: str, bench: Bench, tmp_path: Path
) -> None:
    place = Place(tmp_path, made_network, far_notices_seconds=NOTICED_SECONDS)
    with ExitStack() as stack:
        cluster = stack.enter_context(cluster_in(tmp_path / "cluster", (place.near, place.far)))
        cluster.mend()
        bench.api, bench.prefix = server, place.near.prefix
        bench.write_manifest(*({"id": name, "do": "sign"} for name in ITEMS))
        with bench.start_flow(*run_options(cluster)) as flow:
            child, item = begin(place, bench, cluster, flow)
            patience = Patience(2 * NOTICED_SECONDS + 30)
            (place.stalled["near"] / item).unlink()
            assert flow.wait() == 0, flow.log.read_text()
            assert "Traceback" not in flow.log.read_text()
            assert not patience.is_over
        wait_until(lambda: not on(place.far, list(cluster.children())), "the end of the children that were cut off")
        check(bench)
        started = count_tries(cluster.ledger)
        assert [name for name, count in started.items() if count > 1] == [item], "what had not begun ran once"
        assert child not in {row["maker"] for row in bench.items.values()}
    wait_until_gone(bench.mark)


def test_an_item_that_ends_on_both_sides_is_published_by_one(
    made_network: Network, server: str, bench: Bench, tmp_path: Path
) -> None:
    """The far end does not notice that it was cut off, and goes on with what it has."""
    place = Place(tmp_path, made_network, far_notices_seconds=LONG_SECONDS)
    with ExitStack() as stack:
        cluster = stack.enter_context(cluster_in(tmp_path / "cluster", (place.near, place.far)))
        cluster.mend()
        bench.api, bench.prefix = server, place.near.prefix
        bench.write_manifest(*({"id": name, "do": "sign"} for name in ITEMS))
        with bench.start_flow(*run_options(cluster)) as flow:
            _, item = begin(place, bench, cluster, flow)
            wait_until(lambda: count_tries(cluster.ledger)[item] == 2, f"{item} at both ends: {flow.log}")
            for stalled in (place.stalled["near"] / item, place.stalled["far"] / "all"):
                stalled.unlink()
            wait_until(lambda: count_tries(cluster.ledger, "end")[item] == 2, f"{item} ended on both sides")
            assert flow.wait() == 0, flow.log.read_text()
            assert "Traceback" not in flow.log.read_text()
        check(bench)
    wait_until_gone(bench.mark)


def test_workers_that_do_not_reach_the_prefect_server(made_network: Network, bench: Bench, tmp_path: Path) -> None:
    """A run's own server listens on the loopback, where no other machine comes."""
    place = Place(tmp_path, made_network, far_notices_seconds=NOTICED_SECONDS)
    with cluster_in(tmp_path / "cluster", (place.far, place.far)) as cluster:
        cluster.mend()
        bench.api, bench.prefix = None, place.near.prefix
        bench.write_manifest({"id": "a"})
        with bench.start_flow("--scheduler", cluster.address) as flow:
            assert flow.wait() == 1
            log = flow.log.read_text()
    assert "Traceback" not in log
    assert "name a server that all workers reach, by PREFECT_API_URL" in log
    assert bench.summary["state"] == "failed"
