"""Run a few trials of every kind; ``make chaos`` runs a hundred. Kills while publishing are in tests/engine."""

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.storm import EXPECTED_CODES, MIX, Baseline, Trial, TrialRunner, create_trials
from tests.engine.processes import find_processes
from tests.runs.bench import Bench

LOCAL = [("item's child", 1), ("flow", 2), ("own Prefect server", 4)]
REMOTE = [
    ("cluster: worker", 5),
    ("cluster: nanny", 6),
    ("cluster: flow", 7),
    ("cluster: item's child", 8),
    ("cluster: scheduler", 9),  # last, because it ends the cluster
]


@pytest.mark.parametrize(("target", "seed"), LOCAL)
def test_local_run_survives_a_kill(
    bench: Bench, baseline: Baseline, monkeypatch: pytest.MonkeyPatch, target: str, seed: int
) -> None:
    if "server" in target:  # Prefect would retry calls to the killed server for minutes
        monkeypatch.setenv("PREFECT_CLIENT_MAX_RETRIES", "0")
    verdict = TrialRunner(bench, baseline).run(Trial(target, seed))
    assert verdict.problems == [], verdict


@pytest.mark.parametrize(("target", "seed"), REMOTE)
def test_cluster_run_survives_a_kill(
    bench: Bench, baseline: Baseline, cluster: Cluster, target: str, seed: int
) -> None:
    verdict = TrialRunner(bench, baseline, cluster).run(Trial(target, seed))
    assert verdict.problems == [], verdict
    servers = [
        command for command in find_processes(cluster.mark).values() if "uvicorn" in command or "api_server" in command
    ]
    assert servers == [], "a worker has started its own Prefect server"


def test_local_run_of_a_graph_survives_a_kill(bench: Bench, graph_baseline: Baseline) -> None:
    verdict = TrialRunner(bench, graph_baseline).run(Trial("flow", 3, is_graph=True))
    assert verdict.problems == [], verdict


def test_cluster_run_of_a_graph_survives_a_kill(bench: Bench, graph_baseline: Baseline, cluster: Cluster) -> None:
    verdict = TrialRunner(bench, graph_baseline, cluster).run(Trial("cluster: worker", 10, is_graph=True))
    assert verdict.problems == [], verdict


def test_default_trials_include_every_target() -> None:
    assert sum(MIX.values()) == 100
    assert set(EXPECTED_CODES) < set(MIX)
    assert {trial.target for trial in create_trials(20, 1)} == set(MIX)
    assert len({trial.seed for trial in create_trials(100, 1)}) == 100
    graphs = {trial.target for trial in create_trials(100, 1) if trial.is_graph}
    assert graphs == set(MIX), "each process of a graph's run is killed too"
