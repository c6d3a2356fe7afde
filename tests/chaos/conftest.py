"""Share a cluster and the results of an undisturbed run between all trials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.cluster import Cluster, start_cluster
from tests.chaos.storm import GRAPH, Baseline
from tests.runs.bench import Bench
from tests.runs.conftest import bench

__all__ = ["bench"]


@pytest.fixture(scope="session")
def baseline(tmp_path_factory: pytest.TempPathFactory, prefect_home: Path, prefect_api: str) -> Baseline:
    with pytest.MonkeyPatch.context() as patch:
        return Baseline.measure(Bench(tmp_path_factory.mktemp("undisturbed"), prefect_home, prefect_api, patch))


@pytest.fixture(scope="session")
def graph_baseline(tmp_path_factory: pytest.TempPathFactory, prefect_home: Path, prefect_api: str) -> Baseline:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("undisturbed-graph")
        return Baseline.measure(Bench(folder, prefect_home, prefect_api, patch), GRAPH)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with start_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running
