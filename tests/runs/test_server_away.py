"""Stall and resume a Prefect server in mid-run: items continue meanwhile, and no state is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, PREFECT_CLIENT_RETRY_JITTER_FACTOR, temporary_settings

from tasks.launcher.prefect_run import retry_settings
from tests.engine.processes import wait_until
from tests.homes import OpenServer, run_api
from tests.runs.bench import Bench


@pytest.fixture
def api(make_home: Callable[[Path], Path], tmp_path: Path) -> Iterator[OpenServer]:
    """Start a server that the test may stop."""
    with run_api(make_home(tmp_path / "home")) as server:
        yield server


def test_run_continues_while_the_prefect_server_stalls(
    api: OpenServer, tmp_path: Path, prefect_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, prefect_home, api.url, monkeypatch)
    bench.write_manifest(*({"id": f"item-{n:02d}", "do": "take_time", "seconds": 0.2} for n in range(40)))
    with bench.start_flow("--workers", 2, "--shard-size", 3) as flow:
        wait_until(lambda: len(bench.count_tries("end")) >= 4, "some items done")
        os.killpg(api.process.pid, signal.SIGSTOP)
        try:
            assert len(bench.count_tries("end")) < 36
            wait_until(lambda: len(bench.count_tries("end")) == 40, "all items done without the server")
        finally:
            os.killpg(api.process.pid, signal.SIGCONT)
        assert flow.wait() == 0, flow.log.read_text()
        assert "Traceback" not in flow.log.read_text()
    assert set(bench.count_tries().values()) == {1}
    assert bench.count_items() == (40, 0, 0, 0)
    runs = httpx.post(f"{api.url}/flow_runs/filter", json={}).json()
    assert [run["state_name"] for run in runs] == ["Completed"]


def test_retry_settings_of_the_user_take_precedence() -> None:
    assert retry_settings().get(PREFECT_CLIENT_MAX_RETRIES, 2) == 2
    assert retry_settings().get(PREFECT_CLIENT_RETRY_JITTER_FACTOR, 0) == 0
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 7}):
        assert PREFECT_CLIENT_MAX_RETRIES not in retry_settings()
