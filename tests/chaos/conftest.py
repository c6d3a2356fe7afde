"""What the strokes share: a cluster, and what a run that nobody disturbs makes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.cluster import Cluster, cluster_in
from tests.chaos.storm import Undisturbed
from tests.runs.bench import Bench
from tests.runs.conftest import bench

__all__ = ["bench"]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect_home: Path, prefect_api: str) -> Undisturbed:
    with pytest.MonkeyPatch.context() as patch:
        return Undisturbed.of(Bench(tmp_path_factory.mktemp("undisturbed"), prefect_home, prefect_api, patch))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_in(tmp_path_factory.mktemp("cluster")) as made:
        yield made
