"""A few strokes of every kind; ``make chaos`` gives a hundred. Kills while publishing are in tests/engine."""

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.storm import EXPECTED, MIX, Storm, Stroke, Undisturbed, strokes
from tests.engine.processes import find_processes
from tests.runs.bench import Bench

LOCAL = [("item's child", 1), ("flow", 2), ("flow", 3), ("own Prefect server", 4)]
REMOTE = [
    ("cluster: worker", 5),
    ("cluster: nanny", 6),
    ("cluster: flow", 7),
    ("cluster: item's child", 8),
    ("cluster: scheduler", 9),  # the last, because the cluster goes with it
]


@pytest.mark.parametrize(("target", "seed"), LOCAL)
def test_a_stroke_loses_nothing(
    bench: Bench, undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch, target: str, seed: int
) -> None:
    if "server" in target:  # one that is gone is called again and again otherwise; one that is busy must be
        monkeypatch.setenv("PREFECT_CLIENT_MAX_RETRIES", "0")
    verdict = Storm(bench, undisturbed).give(Stroke(target, seed))
    assert verdict.problems == [], verdict


@pytest.mark.parametrize(("target", "seed"), REMOTE)
def test_a_stroke_at_a_cluster_loses_nothing(
    bench: Bench, undisturbed: Undisturbed, cluster: Cluster, target: str, seed: int
) -> None:
    verdict = Storm(bench, undisturbed, cluster).give(Stroke(target, seed))
    assert verdict.problems == [], verdict
    servers = [words for words in find_processes(cluster.mark).values() if "uvicorn" in words or "api_server" in words]
    assert servers == [], "a worker has started a Prefect server of its own"


def test_the_long_form_has_every_kind() -> None:
    assert sum(MIX.values()) == 100
    assert set(EXPECTED) < set(MIX)
    assert {stroke.target for stroke in strokes(20, 1)} == set(MIX)
    assert len({stroke.seed for stroke in strokes(100, 1)}) == 100
