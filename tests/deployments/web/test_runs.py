"""Runs of uploads: overlays are detected and chosen, runs start, end, are cancelled and repeated, results download."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from tests.deployments.web.client import Web

SIZE = "320x180"
LOGO = {"x": 256, "y": 14, "width": 41, "height": 32}


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the video of a street with a translucent logo."""
    from examples.demo_overlays import main

    folder = tmp_path_factory.mktemp("marked")
    main(folder)
    return (folder / "marked" / "street.mp4").read_bytes()


def read_frames(data: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(data)) as container:
        return [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]


def test_overlay_is_detected_then_removed(served_web: Web, marked: bytes) -> None:
    upload_id = served_web.send(marked, preset="lossless")
    status = served_web.wait_for(upload_id, "ready")
    assert "1 overlay" in status["sentence"]
    assert served_web.call("GET", f"/uploads/{upload_id}/frames/0").content[:2] == b"\xff\xd8"
    assert served_web.call("POST", f"/api/uploads/{upload_id}/run").status_code == 202
    assert served_web.call("POST", f"/api/uploads/{upload_id}/run").status_code == 409
    served_web.wait_for(upload_id, "done")
    result = served_web.call("GET", f"/uploads/{upload_id}/result")
    assert "film-cleaned" in result.headers["Content-Disposition"]
    before, after = read_frames(marked), read_frames(result.content)
    assert len(before) == len(after)
    changed = np.any([a != b for a, b in zip(before, after, strict=True)], axis=0)
    rows, columns = np.nonzero(changed)
    assert (rows.min() >= 8, rows.max() < 54, columns.min() >= 248) == (True, True, True)
    assert "<html" in served_web.call("GET", f"/uploads/{upload_id}/report").text
    assert served_web.call("DELETE", f"/api/uploads/{upload_id}").status_code == 204
    assert not {path for path in served_web.list_files() if upload_id in path}
