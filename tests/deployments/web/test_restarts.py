"""A run survives restarts of the service, of the Prefect server and of the worker."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deployments.web.client import Web, start_web
from tests.deployments.web.clips import make_clips, read_luma
from tests.engine.processes import find_processes, wait_until
from tests.flows.service import ROOT, Program, Service, find_free_port, run_service, start_program

pytestmark = pytest.mark.long

RUNNING = {"waiting", "running"}


@contextlib.contextmanager
def start_worker(folder: Path, service: Service) -> Iterator[Program]:
    variables = service.build_environment(PREFECT_RUNNER_POLL_FREQUENCY="1")
    with start_program([sys.executable, ROOT / "deployments" / "serve.py"], folder, variables) as program:
        program.wait_for_text("polling for scheduled runs")
        yield program


def kill_tree(program: Program) -> None:
    """Kill a program and all its descendants, as a lost machine does."""
    for pid in find_processes(program.mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    program.wait()


def find_run(service: Service, upload_id: str, **filters: object) -> str:
    """Return the id of the latest run of an upload."""
    only = {"tags": {"all_": [f"upload:{upload_id}"]}}
    runs = service.find("flow_runs", flow_runs=only, sort="EXPECTED_START_TIME_DESC")
    return str(runs[0]["id"])


def start_run(web: Web, upload_id: str) -> None:
    answer = web.call("POST", f"/api/uploads/{upload_id}/run")
    assert answer.status_code == 202, answer.text


def test_run_survives_restarts(tmp_path: Path, make_home: Callable[[Path], Path]) -> None:
    home, port, uploads = make_home(tmp_path / "home"), find_free_port(), tmp_path / "uploads"
    marked = make_clips(tmp_path)[1].read_bytes()
    with contextlib.ExitStack() as server:
        service = server.enter_context(run_service(tmp_path, home, port=port))
        with start_worker(tmp_path, service) as worker, start_web(tmp_path, service, uploads, signal.SIGKILL) as web:
            upload_id = web.send(marked)
            web.wait_for(upload_id, "ready")
            start_run(web, upload_id)
            web.wait_for(upload_id, "running")
            kill_tree(worker)
            lost = find_run(service, upload_id)
            assert web.read(upload_id)["state"] == "running"
            # As the automation for runs of dead workers does.
            service.post(
                f"/flow_runs/{lost}/set_state", state={"type": "CRASHED", "message": "The worker died."}, force=True
            )
            status = web.wait_for(upload_id, "failed")
            assert status["sentence"] == ("The run failed: The worker died. Your video is kept: start the run again.")
            with start_worker(tmp_path, service):
                start_run(web, upload_id)
                web.wait_for(upload_id, "running")
                web.program.process.kill()
                server.close()
                with start_web(tmp_path, service, uploads) as again:
                    status = again.read(upload_id)
                    assert status["state"] == "unknown"
                    assert "Nothing is lost" in status["sentence"]
                    server.enter_context(run_service(tmp_path, home, port=port))
                    again.wait_for(upload_id, "done")
                    assert find_run(service, upload_id) != lost
                    cleaned = read_luma(again.call("GET", f"/uploads/{upload_id}/result").content)
                    assert len(cleaned) == len(read_luma(marked))
                    wait_until(lambda: again.read(upload_id)["compared"] or look(again, upload_id), "the comparison")


def look(web: Web, upload_id: str) -> bool:
    """Open the page, which extracts frames before and after; return False."""
    web.call("GET", f"/uploads/{upload_id}", headers={"Accept": "text/html"})
    return False
