"""Uploads by tus: creation, offsets, resumption, checks and limits."""

from __future__ import annotations

import http.client
import signal
import struct
import subprocess
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pytest

from examples.demo_data import find_clip
from tests.deployments.web.client import BYTES, METRICS_TOKEN, TOKENS, Web, start_web
from tests.engine.processes import wait_until
from tests.flows.service import Service


@pytest.fixture(scope="module")
def clip() -> bytes:
    return find_clip("bikes.mp4").read_bytes()


@pytest.fixture(scope="module")
def long_clip(clip: bytes) -> bytes:
    """Return the clip with 4 MiB that no player reads."""
    size = 4 << 20
    return clip + struct.pack(">I4s", size, b"free") + bytes(size - 8)


def make_record(upload_id: str, user: str = "anna") -> str:
    return f"{user}/{upload_id}/upload.json"


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
    assert (web.folder / "anna" / upload_id / "input" / "video.mp4").read_bytes() == clip


def test_bytes_at_another_offset_are_refused(web: Web, clip: bytes) -> None:
    upload_id = web.create(len(clip)).json()["id"]
    assert web.patch(upload_id, 0, clip[:1000]).status_code == 204
    answer = web.patch(upload_id, 0, clip[:1000])
    assert (answer.status_code, answer.json()) == (409, {"detail": "The upload continues at 1000, not at 0."})
    wrong = web.call("PATCH", f"/api/uploads/{upload_id}", headers={"Upload-Offset": "1000"}, content=b"x")
    assert wrong.status_code == 415
    assert web.read(upload_id)["offset"] == 1000
    other = web.call("HEAD", f"/api/uploads/{upload_id}", headers={"Tus-Resumable": "0.2.2"})
    assert (other.status_code, other.headers["Tus-Version"]) == (412, "1.0.0")


def test_more_bytes_than_announced_are_refused(web: Web) -> None:
    upload_id = web.create(10).json()["id"]
    assert web.patch(upload_id, 0, b"12345").status_code == 204
    answer = web.patch(upload_id, 5, b"67890x")
    assert answer.status_code == 413
    assert "10 that were announced" in answer.json()["detail"]
    assert web.read(upload_id)["offset"] == 5


@pytest.mark.parametrize(
    ("data", "words"), [(b"Not a video.\n", "not a video"), (b"#EXTM3U\nfile:///etc/passwd\n", "not a video")]
)
def test_file_that_is_no_video_is_removed(web: Web, data: bytes, words: str) -> None:
    upload_id = web.create(len(data), name="notes.mp4").json()["id"]
    answer = web.patch(upload_id, 0, data)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert "notes.mp4" in answer.json()["detail"]
    assert str(web.folder) not in answer.json()["detail"]
    status = web.read(upload_id)
    assert (status["state"], status["sentence"]) == ("refused", answer.json()["detail"])
    assert {path for path in web.list_files() if upload_id in path} == {make_record(upload_id)}
    assert web.call("DELETE", f"/api/uploads/{upload_id}").status_code == 204
    assert not any(upload_id in path for path in web.list_files())


@pytest.mark.parametrize("name", ["../film.mp4", "/etc/passwd", "..", "a\\b.mp4", "", "film\n.mp4", "x" * 201])
def test_names_with_folders_or_control_characters_are_refused(web: Web, name: str) -> None:
    before = web.list_files()
    answer = web.create(10, name=name)
    assert answer.status_code == 422
    assert answer.json()["detail"].endswith(".")
    assert web.list_files() == before


def test_name_is_shown_but_is_no_path(web: Web) -> None:
    assert web.create(10, name='<b>"film".mp4').status_code == 201
    page = web.call("GET", "/", headers={"Accept": "text/html"}).text
    assert "&lt;b&gt;&#34;film&#34;.mp4" in page
    assert "<b>" not in page
    assert not any("film" in path for path in web.list_files())


def test_unknown_flows_and_presets_are_refused(web: Web) -> None:
    assert web.create(10, flow="shell").status_code == 422
    answer = web.create(10, preset="best")
    assert (answer.status_code, "standard, lossless, small" in answer.json()["detail"]) == (422, True)


def test_size_and_quota_are_limited(service: Service, tmp_path: Path) -> None:
    with start_web(tmp_path, service, HEADRACE_WEB_MAX_SIZE="1000", HEADRACE_WEB_QUOTA="2500") as web:
        for size in (0, 1001):
            answer = web.create(size)
            assert (answer.status_code, "accepts 1 byte to" in answer.json()["detail"]) == (413, True)
        assert web.create(1000).status_code == 201
        answer = web.create(1000)  # with the records, this is over the quota
        second = web.create(1000)
        assert {answer.status_code, second.status_code} <= {201, 413}
        assert second.status_code == 413
        assert "quota" in second.json()["detail"]
        assert web.create(1000, user="bert").status_code == 201


def test_another_request_for_the_same_upload_is_refused_while_one_sends(web: Web, long_clip: bytes) -> None:
    clip = long_clip
    upload_id = web.create(len(clip)).json()["id"]
    with open_patch(web, upload_id, len(clip)) as connection:
        connection.send(clip[: 1 << 21])
        wait_until(lambda: web.read(upload_id)["offset"] >= 1 << 20, "the first bytes")
        assert web.patch(upload_id, web.read(upload_id)["offset"], b"x").status_code == 423
    wait_until(lambda: web.read(upload_id)["offset"] == 1 << 21, lambda: f"all bytes sent, {web.read(upload_id)}")
    answers: list[int] = []

    def is_free() -> bool:  # the first request ends a moment after its last byte
        answers.append(web.patch(upload_id, 1 << 21, clip[1 << 21 :]).status_code)
        return answers[-1] != 423

    wait_until(is_free, "the end of the first request")
    assert answers[-1] == 204


def test_stalled_and_old_uploads_expire(service: Service, tmp_path: Path, clip: bytes) -> None:
    settings = {"HEADRACE_WEB_STALL_SECONDS": "0.5", "HEADRACE_WEB_STALLED_HOURS": str(3 / 3600)}
    settings["HEADRACE_WEB_EXPIRY_HOURS"] = str(10 / 3600)
    with start_web(tmp_path, service, **settings) as web:
        upload_id = web.create(len(clip)).json()["id"]
        with open_patch(web, upload_id, len(clip)) as connection:
            connection.send(clip[:1000])
            response = connection.getresponse()
            assert response.status == 408
            assert b"What was uploaded is kept" in response.read()
        assert web.read(upload_id)["offset"] == 1000
        web.send(clip)
        wait_until(lambda: not web.list_files(), lambda: f"the end of {web.list_files()}")
        assert web.call("GET", f"/api/uploads/{upload_id}").status_code == 404


def test_upload_continues_after_the_service_was_killed(service: Service, tmp_path: Path, long_clip: bytes) -> None:
    folder, clip = tmp_path / "uploads", long_clip
    with start_web(tmp_path, service, folder, signal.SIGKILL) as web:
        upload_id = web.create(len(clip), flow="frames", preset="few").json()["id"]
        connection = open_patch(web, upload_id, len(clip))
        connection.send(clip[: 3 << 20])
        wait_until(lambda: web.read(upload_id)["offset"] >= 1 << 20, "the first bytes")
        web.program.process.kill()
        connection.close()
    with start_web(tmp_path, service, folder) as web:
        offset = web.read(upload_id)["offset"]
        assert 1 << 20 <= offset <= 3 << 20
        assert web.patch(upload_id, offset, clip[offset:]).status_code == 204
        assert web.read(upload_id)["state"] == "ready"
        assert (folder / "anna" / upload_id / "input" / "video.mp4").read_bytes() == clip


def test_check_continues_after_a_restart(service: Service, tmp_path: Path, clip: bytes) -> None:
    folder = tmp_path / "uploads"
    with start_web(tmp_path, service, folder) as web:
        upload_id = web.create(len(clip), flow="frames", preset="few").json()["id"]
    (folder / "anna" / upload_id / "video.part").write_bytes(clip)  # killed before the check
    (folder / "anna" / ("0" * 32)).mkdir()  # killed while an upload was created
    with start_web(tmp_path, service, folder) as web:
        web.wait_for(upload_id, "ready")
        assert not (folder / "anna" / ("0" * 32)).exists()


def test_only_one_service_uses_a_folder(web: Web, service: Service, tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="in use by another upload service"),
        start_web(tmp_path, service, web.folder),
    ):
        pass


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """Mount a disk of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"mounts are not permitted: {mounted.stderr.strip()}")
    return folder


def test_full_disk_is_one_sentence_and_the_upload_continues(
    service: Service, tmp_path: Path, small_disk: Path, clip: bytes
) -> None:
    try:
        with start_web(tmp_path, service, small_disk / "uploads") as web:
            data = clip + bytes(1 << 20)
            answer = web.create(3 << 20)
            assert (answer.status_code, "no space" in answer.json()["detail"]) == (507, True)
            upload_id = web.create(len(data), flow="frames", preset="few").json()["id"]
            filler = small_disk / "filler"
            filler.write_bytes(b"x" * (1500 << 10))
            answer = web.patch(upload_id, 0, data)
            assert answer.status_code == 507
            assert answer.json()["detail"] == (
                "The disk of the server is full. What was uploaded is kept: try again later."
            )
            kept = web.read(upload_id)["offset"]
            assert web.call("DELETE", f"/api/uploads/{upload_id}").status_code in {204, 507}
            assert 0 < kept < len(data)
            filler.unlink()
    finally:
        subprocess.run(["umount", small_disk], check=True)


def open_patch(web: Web, upload_id: str, size: int) -> Patch:
    """Begin to send bytes of an upload."""
    connection = Patch(urlsplit(web.url).netloc, timeout=60)
    connection.putrequest("PATCH", f"/api/uploads/{upload_id}")
    for name, value in {**BYTES, "Upload-Offset": "0", "Content-Length": str(size)}.items():
        connection.putheader(name, value)
    connection.putheader("Authorization", f"Bearer {TOKENS['anna']}")
    connection.endheaders()
    return connection


class Patch(http.client.HTTPConnection):
    """A connection that closes with its block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def test_users_do_not_see_each_other(web: Web, clip: bytes) -> None:
    upload_id = web.send(clip, flow="frames", preset="few")
    path = f"/api/uploads/{upload_id}"
    pages = [f"/uploads/{upload_id}{name}" for name in ("", "/result", "/report", "/frames/0", "/before/0", "/mask")]
    requests = [("GET", path), ("HEAD", path), ("DELETE", path), ("POST", f"{path}/run"), ("POST", f"{path}/cancel")]
    requests += [("GET", f"{path}/choice"), ("PUT", f"{path}/mask"), *(("GET", page) for page in pages)]
    for method, address in requests:
        other, absent = (web.call(method, address.replace(upload_id, key), "bert") for key in (upload_id, "0" * 32))
        assert (other.status_code, other.content) == (absent.status_code, absent.content) == (404, absent.content)
    assert web.patch(upload_id, len(clip), b"x", "bert").status_code == 404
    assert web.call("GET", "/api/uploads", "bert").json() == []
    assert upload_id in {upload["id"] for upload in web.call("GET", "/api/uploads").json()}
    assert web.read(upload_id)["state"] == "ready"


def test_requests_need_a_token(web: Web) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic !"},
        {"Authorization": "Basic YW5uYTo="},
    ):
        answer = web.call("GET", "/api/uploads", "", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")


def test_pages_send_a_token_with_every_change(web: Web) -> None:
    signed_in = {"auth": ("anna", TOKENS["anna"]), "user": ""}
    upload_id = web.create(10).json()["id"]
    path = f"/api/uploads/{upload_id}"
    for headers in ({}, {"X-CSRF-Token": "0" * 64}, {"Origin": "https://example.org"}):
        answer = web.call("DELETE", path, headers=headers, **signed_in)
        assert (answer.status_code, "reload the page" in answer.json()["detail"]) == (403, True)
    page = web.call("GET", "/", **signed_in).text
    token = page.partition('name="csrf-token" content="')[2].partition('"')[0]
    other = {"auth": ("bert", TOKENS["bert"]), "user": ""}
    assert web.call("DELETE", path, headers={"X-CSRF-Token": token}, **other).status_code == 403
    assert web.call("DELETE", path, headers={"X-CSRF-Token": token}, **signed_in).status_code == 204


def test_pages_cannot_be_embedded_and_load_nothing_from_elsewhere(web: Web) -> None:
    for path in ("/", "/static/page.js", "/no-such-page"):
        headers = web.call("GET", path).headers
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_error_is_a_page_for_browsers(web: Web) -> None:
    answer = web.call("GET", f"/uploads/{'0' * 32}", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert "There is no such upload." in answer.text
    assert "text/html" in answer.headers["Content-Type"]


def test_tus_limits_are_announced(web: Web) -> None:
    answer = web.call("OPTIONS", "/api/uploads")
    assert (answer.status_code, answer.headers["Tus-Version"]) == (204, "1.0.0")
    assert int(answer.headers["Tus-Max-Size"]) == 20 << 30


def test_metrics_have_their_own_token(web: Web) -> None:
    web.create(10)
    assert web.call("GET", "/metrics").status_code == 401
    answer = web.call("GET", "/metrics", "", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
    assert answer.status_code == 200
    values = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert int(values['headrace_uploads{state="incomplete"}']) >= 1
    assert int(values["headrace_disk_free_bytes"]) > 0
    assert values["headrace_prefect_up"] == "1"
    assert "anna" not in answer.text
