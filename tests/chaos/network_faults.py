"""Run a cluster whose machines share only the folder of the results, and disturb its network.

Flow, Prefect server, scheduler and each worker have a network namespace of their own, with their own home and temporary
folder. Each worker has its own ledger of items. ``python -m tests.chaos.network_faults`` runs all scenarios; ``pytest
tests/chaos`` runs one that contains several faults.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tasks.engine.running.slot_count import request_slots
from tasks.engine.store.layout import Layout
from tasks.engine.store.records import RecordStore
from tests.chaos.cluster import Cluster, start_cluster
from tests.chaos.network import Machine, Network, create_network, find_slow_obstacle
from tests.chaos.prefect_machine import serve_prefect
from tests.engine.faults import LEDGER, get_hold_file
from tests.engine.processes import count_tries, wait_for_exit, wait_until, wait_until_gone
from tests.homes import run_api
from tests.runs.bench import Bench, FlowProcess, hash_files

ITEMS = [f"item-{number:02d}" for number in range(30)]
ITEM_SECONDS = 0.2
TCP_SECONDS = 12  # after which Dask gives up a silent connection; it requires at least 11
_WORKERS = ("first", "second", "third")
_TIMEOUT = "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP"


@dataclass
class Site:
    """Machines on one switch: ``flow``, ``prefect``, ``scheduler``, and the workers, all with their own folders."""

    network: Network
    folder: Path
    machines: dict[str, Machine] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("flow", "prefect", "scheduler", *_WORKERS):
            self.machines[name] = self.network.add_machine(self._make_variables(name), has_slow_cable=True)

    def _make_variables(self, name: str) -> dict[str, str]:
        own = self.folder / name
        (own / "tmp").mkdir(parents=True)
        variables = {"HOME": str(own), "TMPDIR": str(own / "tmp"), "PREFECT_HOME": str(own / "prefect")}
        return {**variables, _TIMEOUT: f"{TCP_SECONDS}s", LEDGER: str(self.get_ledger(name))}

    def get_ledger(self, name: str) -> Path:
        """Return the ledger of the items on a worker."""
        return self.folder / f"ledger-{name}"

    def cut(self, name: str, seconds: float = 0.0) -> None:
        """Pull out the cable of a machine; with ``seconds``, plug it in again after that time."""
        self.network.disconnect(self.machines[name])
        if seconds:
            time.sleep(seconds)  # the fault itself, not a wait for anything
            self.network.connect(self.machines[name])

    def plug_in(self, name: str) -> None:
        """Plug in the cable of a machine."""
        self.network.connect(self.machines[name])

    def slow_down(self, delay_seconds: float, loss: float, *names: str) -> None:
        """Slow down the cables of machines."""
        for name in names:
            self.network.slow_down(self.machines[name], delay_seconds, loss)


class DisturbedRun:
    """A run on a site while its network is disturbed.

    lossy  items that a fault may repeat, by machine: those that had started there and not ended
    """

    def __init__(self, site: Site, cluster: Cluster, bench: Bench) -> None:
        self.site = site
        self.cluster = cluster
        self.bench = bench
        self.flow: FlowProcess
        self._lossy: dict[str, set[str]] = {}

    @contextmanager
    def start(self, workers: Sequence[str] = ("first", "second")) -> Iterator[None]:
        """Start the cluster with ``workers``, and the flow; at the end of the block, check the results."""
        self.cluster.start([self.site.machines[name] for name in workers])
        self.bench.prefix = self.site.machines["flow"].prefix
        self.bench.write_manifest(*({"id": name, "do": "take_time", "seconds": ITEM_SECONDS} for name in ITEMS))
        options = ("--scheduler", self.cluster.address, "--shard-size", 1, "--timeout", 300)
        with self.bench.start_flow(*options) as self.flow:
            yield

    def count(self, name: str, word: str = "start") -> Counter[str]:
        """Return how often each item was started (or ended) on a worker."""
        return count_tries(self.site.get_ledger(name), word)

    def count_all(self, word: str = "start") -> Counter[str]:
        """Return how often each item was started (or ended)."""
        return sum((self.count(name, word) for name in _WORKERS), Counter[str]())

    def wait_for(self, count: int, name: str | None = None) -> None:
        """Return when further ``count`` items have ended, on a worker or on all."""
        wanted = self._count_ended(name) + count
        wait_until(lambda: self._count_ended(name) >= wanted or self._has_ended(), self._explain)
        assert not self._has_ended(), self._explain()

    def _count_ended(self, name: str | None) -> int:
        return (self.count(name, "end") if name else self.count_all("end")).total()

    def hold(self, name: str) -> set[str]:
        """Let items on a worker wait; return those that wait there.

        An item that was about to end when it should wait ends within a second.
        """
        get_hold_file(self.site.get_ledger(name)).write_text("0")
        seen, since = set[str](), time.monotonic()

        def has_waited() -> bool:
            nonlocal seen, since
            running = self.find_running(name)
            if running != seen:
                seen, since = running, time.monotonic()
            return bool(running) and time.monotonic() - since > 1.0

        wait_until(has_waited, self._explain)
        return seen

    def release(self, name: str) -> None:
        """Let the items on a worker continue."""
        get_hold_file(self.site.get_ledger(name)).unlink()

    def find_running(self, name: str) -> set[str]:
        """Return the items that have started on a worker and not ended there."""
        return set(self.count(name) - self.count(name, "end"))

    def lose(self, name: str) -> None:
        """Note that the items in flight on a worker may run again: its machine is about to vanish."""
        self._lossy[name] = set(self.count(name, "end"))

    def join(self, name: str) -> None:
        """Let a worker join the run."""
        self.cluster.join(self.site.machines[name])
        request_slots(Layout(self.bench.output), 2)

    def _has_ended(self) -> bool:
        return self.flow.process.poll() is not None

    def _explain(self) -> str:
        ended = {name: self.count(name, "end").total() for name in _WORKERS}
        return f"ended: {ended}; {self.flow.log.read_text()}"

    def check(self) -> None:
        """Check that the run ends with the exact results, and that nothing ran twice except items in flight."""
        assert wait_for_exit(self.flow.process, 300.0) == 0, self._explain()
        assert "Traceback" not in self.flow.log.read_text()
        self.check_results((len(ITEMS), 0, 0, 0))

    def check_results(self, counts: tuple[int, int, int, int]) -> None:
        """Check the results, whatever has happened before."""
        output = self.bench.output
        assert self.bench.count_items() == counts
        assert {row["attempts"] for row in self.bench.items.values()} == {1}, "a lost machine is no attempt"
        store = RecordStore(Layout(output), "faults")
        assert store.ids() == set(ITEMS)
        assert all(store.has_intact_outputs(record, "digest") for record in store.load().values())
        assert hash_files(output / "made") == _hash_expected()
        private = [*(output / ".headrace/private").iterdir(), *(output / ".headrace").glob("*lock*")]
        assert [*output.rglob("*.tmp"), *output.rglob("*.stale"), *private] == []
        repeated = {item for item, tries in self.count_all().items() if tries > 1}
        in_flight = {item for name, ended in self._lossy.items() for item in set(self.count(name)) - ended}
        assert repeated <= in_flight, f"ran twice, but not in flight: {repeated - in_flight}"
        assert self.count_all().keys() == set(ITEMS)


def _hash_expected() -> dict[str, str]:
    """Return the digests of all outputs, by path: they depend on the items only."""
    contents = {}
    for item in ITEMS:
        content = f"{item} text\n".encode()
        contents[f"{item}/note.txt"] = hashlib.sha256(content).hexdigest()
        contents[f"{item}/more/data.bin"] = hashlib.sha256(content * 1000).hexdigest()
    return contents


def run_quick(run: DisturbedRun) -> None:
    """One run with several faults: a slow cable, a machine that joins, a short cut of two cables, a power cut."""
    run.site.slow_down(0.02, 0.02, "first", "flow")
    with run.start(["first"]):
        run.wait_for(2)
        run.hold("first")
        run.join("second")
        run.wait_for(2, "second")
        run.site.cut("scheduler", 1.0)
        run.site.cut("prefect", 1.0)
        run.wait_for(1, "second")
        run.hold("second")
        run.lose("second")
        run.site.network.kill(run.site.machines["second"])
        run.release("first")
        run.check()


def cut_worker_briefly(run: DisturbedRun) -> None:
    """The cable of a worker is pulled out for 4 s."""
    with run.start():
        run.wait_for(3)
        run.site.cut("second", 4.0)
        run.wait_for(2, "second")
        run.check()


def cut_worker_until_it_is_lost(run: DisturbedRun) -> None:
    """The cable of a worker is pulled out until its items have run elsewhere, then plugged in: it works again."""
    with run.start():
        run.wait_for(3)
        running = run.hold("second")
        run.hold("first")
        run.lose("second")
        run.site.cut("second")
        run.release("first")
        wait_until(lambda: running <= set(run.count("first")), lambda: f"{running} on the other worker: {run.flow.log}")
        get_hold_file(run.site.get_ledger("first")).write_text("0")
        run.release("second")
        run.site.plug_in("second")
        started = run.count("second")
        wait_until(lambda: run.count("second") - started, lambda: f"an item on the machine: {run.flow.log.read_text()}")
        run.release("first")
        run.check()


def cut_scheduler(run: DisturbedRun) -> None:
    """The cable of the scheduler is pulled out for 4 s."""
    with run.start():
        run.wait_for(3)
        run.site.cut("scheduler", 4.0)
        run.check()


def cut_flow(run: DisturbedRun) -> None:
    """The cable of the flow's machine is pulled out for 4 s."""
    with run.start():
        run.wait_for(3)
        run.site.cut("flow", 4.0)
        run.check()


def cut_prefect(run: DisturbedRun) -> None:
    """The cable of the Prefect server is pulled out for 6 s."""
    with run.start():
        run.wait_for(3)
        run.site.cut("prefect", 6.0)
        run.check()


def slow_down_everything(run: DisturbedRun) -> None:
    """All cables delay packets by 50 ms and lose 3 %."""
    run.site.slow_down(0.05, 0.03, *run.site.machines)
    with run.start():
        run.check()


def kill_worker(run: DisturbedRun) -> None:
    """A worker's machine loses its power."""
    with run.start():
        run.wait_for(3)
        run.hold("second")
        run.lose("second")
        run.site.network.kill(run.site.machines["second"])
        run.check()


def replace_worker(run: DisturbedRun) -> None:
    """One machine joins, then another loses its power, then a third joins."""
    with run.start(["first"]):
        run.wait_for(1)
        run.join("second")
        run.wait_for(2, "second")
        run.hold("first")
        run.lose("first")
        run.site.network.kill(run.site.machines["first"])
        run.wait_for(2, "second")
        run.cluster.join(run.site.machines["third"])
        run.check()


def kill_scheduler(run: DisturbedRun) -> None:
    """The scheduler's machine loses its power; a run without it completes the items."""
    with run.start():
        run.wait_for(3)
        for name in ("first", "second"):
            run.hold(name)
            run.lose(name)
        run.site.network.kill(run.site.machines["scheduler"])
        assert wait_for_exit(run.flow.process, 300.0) == 1, run.flow.log.read_text()
        log = run.flow.log.read_text()
        assert "Traceback" not in log
        assert log.count("is gone; start one and give the same command again") == 1
    _finish_alone(run)


def kill_flow(run: DisturbedRun) -> None:
    """The flow's machine loses its power; a run on another machine completes the items."""
    with run.start():
        run.wait_for(3)
        for name in ("first", "second"):
            run.hold(name)
            run.lose(name)
        run.site.network.kill(run.site.machines["flow"])
        run.flow.process.wait()
    wait_until(lambda: not run.cluster.find_children(), "the end of the dead run's items", 120.0)
    _finish_alone(run)


def _finish_alone(run: DisturbedRun) -> None:
    """Run the same command without the cluster, on another machine."""
    for name in ("first", "second"):
        run.release(name)
    run.bench.prefix, run.bench.ledger = run.site.machines["third"].prefix, run.site.get_ledger("third")
    done = len(RecordStore(Layout(run.bench.output), "faults").ids())
    with run.bench.start_flow("--workers", 2) as flow:
        assert flow.wait() == 0, flow.log.read_text()
    run.check_results((len(ITEMS) - done, done, 0, 0))


SCENARIOS: tuple[Callable[[DisturbedRun], None], ...] = (
    run_quick,
    cut_worker_briefly,
    cut_worker_until_it_is_lost,
    cut_scheduler,
    cut_flow,
    cut_prefect,
    slow_down_everything,
    kill_worker,
    replace_worker,
    kill_scheduler,
    kill_flow,
)


def disturb(scenario: Callable[[DisturbedRun], None], bench: Bench, home: Path) -> None:
    """Run a scenario in the folder of ``bench``; ``home`` is a Prefect home with a database."""
    with ExitStack() as stack:
        network = stack.enter_context(create_network())
        site = Site(network, bench.folder / "machines")
        bench.api = stack.enter_context(serve_prefect(site.machines["prefect"], home))
        cluster = stack.enter_context(start_cluster(bench.folder / "cluster", (site.machines["scheduler"],)))
        scenario(DisturbedRun(site, cluster, bench))
    wait_until_gone(bench.mark)


def main() -> int:
    """Run all scenarios, or those whose names are given; return the number of failed ones."""
    if obstacle := find_slow_obstacle():
        print(f"network faults: skipped: {obstacle}", flush=True)
        return 0
    failed = 0
    with tempfile.TemporaryDirectory(prefix="headrace-network-") as name, pytest.MonkeyPatch.context() as patch:
        used = Path(name, "used-home")
        with run_api(used):
            pass
        for scenario in SCENARIOS:
            if sys.argv[1:] and __name__ == "__main__" and scenario.__name__ not in sys.argv[1:]:
                continue
            folder, started = Path(name, scenario.__name__), time.monotonic()
            folder.mkdir()
            home = folder / "home"
            subprocess.run(["cp", "-r", used, home], check=True)
            problem = ""
            try:
                disturb(scenario, Bench(folder, home, None, patch), home)
            except (AssertionError, OSError) as error:
                problem, failed = f": failed: {error}", failed + 1
            print(f"{scenario.__name__}: {time.monotonic() - started:.0f} s{problem}", flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
