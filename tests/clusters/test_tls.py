"""Runs on a cluster with TLS: certificates of its authority are accepted, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.launcher.clusters.certificates import create_certificates
from tests.clusters.conftest import write_cluster
from tests.clusters.dask_processes import start_dask
from tests.engine.processes import wait_for_exit
from tests.runs.bench import Bench


def list_options(folder: Path, role: str) -> list[str]:
    """Return the options of ``dask scheduler`` or ``dask worker``."""
    return [f"--tls-ca-file={folder}/ca.pem", f"--tls-cert={folder}/{role}.pem", f"--tls-key={folder}/{role}.key"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return folders with certificates of two authorities, and expired ones."""
    base = tmp_path_factory.mktemp("certificates")
    for name, days in {"own": 1, "other": 1, "expired": -1}.items():
        create_certificates(base / name, days)
    return {name: base / name for name in ("own", "other", "expired")}


def test_cluster_with_tls_accepts_only_its_own_certificates(
    bench: Bench, tmp_path: Path, folders: dict[str, Path]
) -> None:
    bench.write_manifest({"id": "a"})
    own, other = folders["own"], folders["other"]
    with start_dask(tmp_path / "dask", ["--protocol=tls", *list_options(own, "scheduler")]) as dask:
        assert dask.address.startswith("tls://")
        dask.add_worker("good", *list_options(own, "worker"))
        stranger = dask.add_worker("stranger", *list_options(other, "worker"), "--death-timeout=5")
        dask.wait_for_workers("good")
        refusals = {"other": "no Dask scheduler answers at tls://", "expired": "ca.pem expired on "}
        for name, message in refusals.items():
            cluster = write_cluster(bench, "address", address=dask.address, tls=folders[name])
            with bench.start_flow("--cluster", cluster) as flow:
                assert flow.wait() == 1
                lines = [line for line in flow.log.read_text().splitlines() if line.startswith("error: ")]
                assert len(lines) == 1
                assert message in lines[0]
                assert "Traceback" not in flow.log.read_text()
        cluster = write_cluster(bench, "address", address=dask.address, tls=own)
        with bench.start_flow("--cluster", cluster) as flow:
            assert flow.wait() == 0, flow.log.read_text()
            assert "neither encrypted" not in flow.log.read_text()
        assert bench.count_items() == (1, 0, 0, 0)
        assert wait_for_exit(stranger) != 0
        assert "name: stranger" not in dask.read_log("scheduler")


def test_local_cluster_uses_tls(bench: Bench, folders: dict[str, Path]) -> None:
    bench.write_manifest({"id": "a"})
    cluster = write_cluster(bench, "local", tls=folders["own"], memory="1GiB")
    with bench.start_flow("--cluster", cluster) as flow:
        assert flow.wait() == 0, flow.log.read_text()
    assert bench.count_items() == (1, 0, 0, 0)
