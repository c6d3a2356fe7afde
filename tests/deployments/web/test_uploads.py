"""Uploads by tus: creation, offsets, resumption, checks, and the isolation of users."""

from __future__ import annotations

import pytest

from examples.demo_data import find_clip
from tests.deployments.web.client import Web


@pytest.fixture(scope="module")
def clip() -> bytes:
    return find_clip("bikes.mp4").read_bytes()


def test_upload_is_sent_in_pieces_and_checked(web: Web, clip: bytes) -> None:
    upload_id = web.create(len(clip), flow="frames", preset="few").json()["id"]
    half = len(clip) // 2
    assert web.patch(upload_id, 0, clip[:half]).headers["Upload-Offset"] == str(half)
    assert web.read(upload_id)["state"] == "receiving"
    head = web.call("HEAD", f"/api/uploads/{upload_id}")
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == (str(half), str(len(clip)))
    assert web.patch(upload_id, half, clip[half:]).status_code == 204
    status = web.read(upload_id)
    assert (status["state"], status["offset"]) == ("ready", len(clip))
    (stored,) = web.folder.rglob("video.*")
    assert stored.read_bytes() == clip
