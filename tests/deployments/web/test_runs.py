"""Runs of uploads: they start, end, fail, are cancelled and repeated; results are downloaded and deleted."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from examples.demo_data import find_clip
from tests.deployments.web.client import METRICS_TOKEN, Web, start_web
from tests.deployments.web.clips import HIDDEN, crop, make_clips, read_luma
from tests.engine.processes import wait_until
from tests.flows.service import Service, find_free_port


@pytest.fixture(scope="module")
def clip() -> bytes:
    return find_clip("bikes.mp4").read_bytes()


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_clips(tmp_path_factory.mktemp("clips"))[1].read_bytes()


def start_run(web: Web, upload_id: str) -> None:
    answer = web.call("POST", f"/api/uploads/{upload_id}/run")
    assert answer.status_code == 202, answer.text


def test_frames_are_extracted_and_downloaded_as_a_zip_file(served_web: Web, clip: bytes) -> None:
    upload_id = served_web.send(clip, flow="frames", preset="few", name="street \u00e9.mp4")
    start_run(served_web, upload_id)
    assert served_web.call("POST", f"/api/uploads/{upload_id}/run").status_code == 409
    served_web.wait_for(upload_id, "done")
    answer = served_web.call("GET", f"/uploads/{upload_id}/result")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert len([name for name in archive.namelist() if name.endswith(".jpg")]) == 8
        assert any(name.startswith("dataset/") for name in archive.namelist())
    assert "<html" in served_web.call("GET", f"/uploads/{upload_id}/report").text
    metrics = served_web.call("GET", "/metrics", "", headers={"Authorization": f"Bearer {METRICS_TOKEN}"}).text
    assert re.search(r'headrace_runs{state="completed"} [1-9]', metrics), metrics
    assert re.search(r'headrace_items{outcome="done"} [1-9]', metrics), metrics
    assert served_web.call("DELETE", f"/api/uploads/{upload_id}").status_code == 204
    assert not any(upload_id in path for path in served_web.list_files())


def test_failed_run_is_one_sentence_and_can_be_repeated(served_web: Web, clip: bytes) -> None:
    upload_id = served_web.send(clip, flow="frames", preset="few")
    video = served_web.folder / "anna" / upload_id / "input" / "video.mp4"
    video.write_text("Not a video any more.\n")
    start_run(served_web, upload_id)
    status = served_web.wait_for(upload_id, "incomplete", "failed")
    assert "failed" in status["sentence"]
    assert any("video.mp4" in failure for failure in status["failures"])
    assert served_web.call("GET", f"/uploads/{upload_id}", headers={"Accept": "text/html"}).status_code == 200
    assert served_web.call("GET", f"/uploads/{upload_id}/.headrace/logs/frames/absent.log").status_code == 404
    video.write_bytes(clip)
    start_run(served_web, upload_id)
    wait_until(lambda: served_web.read(upload_id)["state"] == "done", "the second run", 120, 0.3)


def test_running_run_is_cancelled_then_deleted(served_web: Web, service: Service, marked: bytes) -> None:
    upload_id = served_web.send(marked, preset="small")
    served_web.wait_for(upload_id, "ready")
    start_run(served_web, upload_id)
    served_web.wait_for(upload_id, "running")
    refused = served_web.call("PUT", f"/api/uploads/{upload_id}/choice", json={})
    assert (refused.status_code, "A run is working" in refused.json()["detail"]) == (409, True)
    assert served_web.call("POST", f"/api/uploads/{upload_id}/cancel").status_code == 202
    served_web.wait_for(upload_id, "stopped")
    start_run(served_web, upload_id)
    served_web.wait_for(upload_id, "running")
    assert served_web.call("DELETE", f"/api/uploads/{upload_id}").status_code in {202, 204}
    wait_until(
        lambda: served_web.call("GET", f"/api/uploads/{upload_id}").status_code == 404,
        lambda: f"the end of {served_web.call('GET', f'/api/uploads/{upload_id}').text}",
        120,
    )
    assert not any(upload_id in path for path in served_web.list_files())
    runs = service.find("flow_runs", flow_runs={"tags": {"all_": [f"upload:{upload_id}"]}})
    assert {run["state"]["type"] for run in runs} == {"CANCELLED"}


def test_choice_is_checked_and_removes_nothing_else(served_web: Web, marked: bytes) -> None:
    upload_id = served_web.send(marked, preset="lossless")
    path = f"/api/uploads/{upload_id}"
    served_web.wait_for(upload_id, "ready")
    x, y, width, height = HIDDEN
    own = {"x": x, "y": y, "width": width, "height": height}
    for wrong in (
        {"boxes": [{**own, "x": 300}]},
        {"boxes": [{**own, "width": 0}]},
        {"boxes": [{"x": 0, "y": 0, "width": 320, "height": 180}]},
        {"times": [{"start": 3, "end": 2}]},
        {"times": [{"start": 100, "end": 200}]},
        {"mask": True},
        {"path": "/etc/passwd"},
    ):
        answer = served_web.call("PUT", f"{path}/choice", json=wrong)
        assert (answer.status_code, answer.json()["detail"].endswith(".")) == (422, True), wrong
    for data in (b"not an image", b"\x89PNG\r\n\x1a\n", b""):
        answer = served_web.call("PUT", f"{path}/mask", content=data)
        assert (answer.status_code, "cannot be used" in answer.json()["detail"]) == (422, True)
    detected = served_web.folder / "anna" / upload_id / "detection" / "about.json"
    skip = [overlay["box"] for overlay in json.loads(detected.read_bytes())["overlays"]]
    chosen = {"skip": skip, "boxes": [own], "times": [{"start": 6.2, "end": 7}]}
    assert served_web.call("PUT", f"{path}/choice", json=chosen).status_code == 200
    start_run(served_web, upload_id)
    status = served_web.wait_for(upload_id, "done")
    assert any(re.fullmatch(r"segments: (\d+)/\1 \(100%\),.*", line) for line in status["stages"]), status["stages"]
    before = read_luma(marked)
    changed = read_luma(served_web.call("GET", f"/uploads/{upload_id}/result").content) != before
    frames = np.flatnonzero(changed.any(axis=(1, 2)))
    assert (frames.min(), frames.max()) == (155, 174)
    inside = crop(changed, HIDDEN, 4).sum()
    assert inside == changed.sum() > 0


def test_uploads_work_while_prefect_is_unavailable(
    service: Service, prefect_home: Path, tmp_path: Path, clip: bytes
) -> None:
    away = Service(f"http://127.0.0.1:{find_free_port()}/api", prefect_home)
    folder = tmp_path / "uploads"
    with start_web(tmp_path, away, folder) as web:
        upload_id = web.send(clip, flow="frames", preset="few")
        answer = web.call("POST", f"/api/uploads/{upload_id}/run")
        assert (answer.status_code, "does not answer" in answer.json()["detail"]) == (503, True)
        assert web.read(upload_id)["state"] == "unknown"
        page = web.call("GET", "/", headers={"Accept": "text/html"})
        assert (page.status_code, "Nothing is lost" in page.text) == (200, True)
        assert web.call("DELETE", f"/api/uploads/{upload_id}").status_code == 202
        assert web.read(upload_id)["state"] == "deleting"
        metrics = web.call("GET", "/metrics", "", headers={"Authorization": f"Bearer {METRICS_TOKEN}"}).text
        assert "headrace_prefect_up 0" in metrics
    with start_web(tmp_path, service, folder) as web:
        wait_until(lambda: not web.list_files(), lambda: f"the end of {web.list_files()}")


def test_missing_deployment_is_one_sentence(service: Service, tmp_path: Path, clip: bytes) -> None:
    with start_web(tmp_path, service, HEADRACE_WEB_FRAMES_DEPLOYMENT="dataset-prep/absent") as web:
        upload_id = web.send(clip, flow="frames", preset="few")
        answer = web.call("POST", f"/api/uploads/{upload_id}/run")
        assert answer.status_code == 503
        assert "has no deployment dataset-prep/absent" in answer.json()["detail"]
