"""Change the number of slots of a run while it runs, here and on a cluster: no item is lost or runs twice."""

from collections.abc import Iterator

import pytest

from tasks.engine.running.slot_count import request_slots
from tasks.engine.store.layout import Layout
from tests.chaos.cluster import Cluster, start_cluster
from tests.engine.processes import find_processes, wait_until, wait_until_gone
from tests.runs.bench import Bench, FlowProcess

GATED = [f"gated-{number}" for number in range(3)]
SHORT = [f"short-{number:02d}" for number in range(12)]
_CHILD = "tasks.engine.running.child"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with start_cluster(tmp_path_factory.mktemp("cluster")) as running:
        running.repair()
        yield running


def write_items(bench: Bench, gated: int) -> None:
    """Write items of which the first wait until the gate opens."""
    gate = str(bench.folder / "gate")
    waiting = [{"id": item, "do": "wait_for", "gate": gate} for item in GATED[:gated]]
    bench.write_manifest(*waiting, *({"id": item, "do": "take_time", "seconds": 0.1} for item in SHORT))


def change_slots(bench: Bench, flow: FlowProcess, slots: int) -> None:
    request_slots(Layout(bench.output), slots)
    flow.wait_for_text(f"{slots} slot{'s' if slots > 1 else ''} from now on (requested)")


def wait_for_running(bench: Bench, count: int) -> None:
    wait_until(lambda: count_running(bench)[-1] == count, lambda: f"{count} running items: {count_running(bench)}")


def count_running(bench: Bench) -> list[int]:
    """Return the number of running items after each start and end."""
    counts = [0]
    for line in bench.ledger.read_text().splitlines() if bench.ledger.exists() else ():
        counts.append(counts[-1] + (1 if line.startswith("start") else -1))
    return counts


def finish(bench: Bench, flow: FlowProcess, items: int) -> None:
    """Open the gate, and check that each item runs once."""
    (bench.folder / "gate").touch()
    assert flow.wait() == 0, flow.log.read_text()
    assert bench.count_items() == (items, 0, 0, 0)
    assert set(bench.count_tries().values()) == {1}
    wait_until_gone(bench.mark)


def test_raised_number_starts_more_items(bench: Bench) -> None:
    write_items(bench, 3)
    with bench.start_flow("--workers", 1, "--order", "manifest") as flow:
        wait_for_running(bench, 1)
        change_slots(bench, flow, 3)
        wait_for_running(bench, 3)
        finish(bench, flow, 15)
    assert max(count_running(bench)) == 3


def test_lowered_number_ends_slots_after_their_item(bench: Bench) -> None:
    write_items(bench, 3)
    with bench.start_flow("--workers", 3, "--order", "manifest") as flow:
        wait_for_running(bench, 3)
        change_slots(bench, flow, 1)
        assert count_running(bench)[-1] == 3, "running items continue"
        bench.hold(8)
        (bench.folder / "gate").touch()
        wait_until(lambda: bench.count_tries("end").total() >= 8, "some items after the change")
        wait_until(lambda: len(list_children(bench)) == 1, lambda: f"one child: {find_processes(bench.mark)}")
        bench.release()
        finish(bench, flow, 15)
    assert set(count_running(bench)[-12:]) <= {0, 1}, "one item at a time"


def list_children(bench: Bench) -> list[int]:
    return [pid for pid, command in find_processes(bench.mark).items() if _CHILD in command]


@pytest.fixture
def remote(bench: Bench, cluster: Cluster) -> tuple[str, ...]:
    """Return the options for a run on the cluster, which has two threads."""
    cluster.ledger.unlink(missing_ok=True)
    bench.ledger = cluster.ledger
    return "--scheduler", cluster.address, "--order", "manifest", "--shard-size", "2"


def test_lowered_number_limits_a_cluster(bench: Bench, remote: tuple[str, ...]) -> None:
    """The batches that are too many give back what they have not started."""
    write_items(bench, 1)
    bench.hold(2)
    with bench.start_flow(*remote) as flow:
        wait_until(lambda: bench.count_tries("end").total() == 2, "two items")
        wait_for_running(bench, 2)
        change_slots(bench, flow, 1)
        bench.release()
        finish(bench, flow, 13)
    assert set(count_running(bench)[-8:]) <= {0, 1}, "one item at a time"


def test_raised_number_uses_more_of_a_cluster(bench: Bench, remote: tuple[str, ...]) -> None:
    write_items(bench, 3)
    with bench.start_flow(*remote, "--workers", 1) as flow:
        wait_for_running(bench, 1)
        change_slots(bench, flow, 2)
        wait_for_running(bench, 2)
        finish(bench, flow, 15)
    assert max(count_running(bench)) == 2
