"""Run items on workers that share nothing with the flow but the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.cluster import Cluster, start_cluster
from tests.chaos.network import Machine
from tests.engine.processes import wait_until, wait_until_gone
from tests.runs.bench import Bench
from tests.runs.conftest import bench
from tests.runs.test_stores import get_key, list_outputs, read_counts
from tests.stores.s3_server import S3Server

pytestmark = pytest.mark.long

__all__ = ["bench"]


@pytest.fixture
def separate_cluster(s3_server: S3Server, tmp_path: Path):
    """Two workers, each with its own folder for temporary files."""
    machines = []
    for number in range(2):
        folder = tmp_path / f"machine-{number}"
        folder.mkdir(mode=0o700)
        variables = {**s3_server.variables, "TMPDIR": str(folder), "HEADRACE_LOCK_SECONDS": "3"}
        machines.append(Machine(variables=variables))
    with start_cluster(tmp_path / "cluster", machines) as cluster:
        cluster.repair()
        yield cluster


def test_workers_share_only_the_store(
    bench: Bench, separate_cluster: Cluster, prefix: str, s3_server: S3Server, tmp_path: Path
) -> None:
    bench.output = prefix  # type: ignore[assignment]
    bench.ledger = separate_cluster.ledger
    rows = [{"id": f"item-{number:02d}"} for number in range(4)]
    gate = tmp_path / "gate"
    waiting = {"do": "wait_for", "gate": str(gate)}
    bench.write_manifest(*rows, {"id": "last-0", **waiting}, {"id": "last-1", **waiting})
    with bench.start_flow("--scheduler", separate_cluster.address, "--order", "manifest") as flow:
        wait_until(lambda: len(bench.count_tries()) == 6, flow.log.read_text)
        separate_cluster.kill_workers()
        separate_cluster.repair()
        gate.touch()
        assert flow.wait() == 0, flow.log.read_text()
    wait_until_gone(bench.mark)
    objects = s3_server.list(get_key(prefix))
    assert read_counts(objects)["done"] == 6
    made = list_outputs(objects)
    assert made["made/item-03/note.txt"] == b"item-03 text\n"
    assert len(made) == 12
    assert [key for key in objects if key.endswith(".stale") or "lease" in key or "claims" in key] == []
    assert {bench.count_tries("end")[f"item-{number:02d}"] for number in range(4)} == {1}
    with bench.start_flow("--scheduler", separate_cluster.address) as flow:
        assert flow.wait() == 0, flow.log.read_text()
    assert read_counts(s3_server.list(get_key(prefix)))["cached"] == 6
