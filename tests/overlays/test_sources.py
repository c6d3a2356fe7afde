"""Inputs: videos, folders, URLs; and downloads from faulty local servers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import pytest

from tasks.downloads.cache import Pace
from tasks.engine.contract.errors import BadInput, TransientError
from tasks.media.segments.source import survey_video
from tasks.overlays.sources import ALL_NETWORKS, FetchLimits, fetch_video, read_sources
from tasks.overlays.video_source import VideoSource
from tests.landmarks.models.server import (
    Fault,
    Handler,
    ModelServer,
    answer_busy,
    answer_with,
    redirect_to,
    send_endlessly,
    stall,
    truncate,
)

PATH = "/films/My%20clip.mp4"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a video with its index at the start, as on the web: truncation is visible only on close inspection."""
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    source = "-f lavfi -i testsrc2=size=320x240:rate=25:duration=2 -c:v libx264 -qp 10 -threads 1 -pix_fmt yuv420p"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source.split(), "-movflags", "+faststart", str(path)]
    subprocess.run(command, check=True)
    content = path.read_bytes()
    assert len(content) > 150_000
    return content


@pytest.fixture
def server(video: bytes) -> Iterator[ModelServer]:
    own = ModelServer({PATH: video})
    running = own.start()
    yield own
    own.released.set()
    running.shutdown()
    running.server_close()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fetch(server: ModelServer, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that downloads a path without delays between retries, and checks the folder's content."""
    limits = FetchLimits(private_networks=("127.0.0.1/32",), cache=tmp_path / "cache", stall_seconds=10.0, tries=3)

    def run(path: str = PATH, **changes: object) -> Path:
        folder = tmp_path / "videos"
        pace = Pace(sleep=lambda _: None, chance=lambda: 0.0)
        url = path if "://" in path else server.url + path
        try:
            return fetch_video(url, folder, replace(limits, **changes), pace)  # type: ignore[arg-type]
        finally:
            assert not list(folder.glob(".*")), "a part of a download is left"

    return run


def test_input_is_a_video_a_folder_or_a_url(tmp_path: Path) -> None:
    for name in ("clip10.mp4", "clip2.mkv", "sub/clip2.mkv", "note.txt", ".hidden.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    second = VideoSource("clip2", "clip2.mkv", tmp_path / "clip2.mkv")
    assert read_sources(str(tmp_path / "clip2.mkv")) == ([second], [])
    sources, problems = read_sources(str(tmp_path))
    assert problems == []
    assert [source.name for source in sources] == ["clip2.mkv", "clip10.mp4", "sub/clip2.mkv"]
    assert len({source.id for source in sources}) == 3
    (remote,), problems = read_sources("https://cdn.example.org/a/My%20clip.mp4?token=1")
    assert problems == []
    assert (remote.name, remote.path, remote.url) == (
        "My clip.mp4",
        None,
        "https://cdn.example.org/a/My%20clip.mp4?token=1",
    )
    assert remote.id.startswith("My-clip")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org", "example.org"),
        ("https://example.org/watch?v=1", "watch"),
        ("https://example.org/..%2f..%2fetc%2fpasswd", "passwd"),
        ("https://example.org/a%0Ab.mp4", "a\\nb.mp4"),
    ],
)
def test_url_gives_the_name_of_the_video(url: str, name: str) -> None:
    (source,), problems = read_sources(url)
    assert problems == []
    assert source.name == name
    assert "/" not in source.id


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("ftp://example.org/a.mp4", "scheme ftp://"),
        ("file:///etc/passwd", "scheme file://"),
        ("https:///a.mp4", "no host"),
        ("https:/example.org/a.mp4", "no host"),
        ("https://example.org/a b.mp4", "no host"),
        ("https://[::1", "Invalid IPv6 URL"),
        ("https://example.org:99999/a", "Port out of range"),
        ("https://me:secret@example.org/a.mp4", "a user or a password"),
        ("http://127.0.0.1/a.mp4", "not public"),
        ("http://localhost:8000/a.mp4", "not public"),
        ("http://[::1]/a.mp4", "not public"),
        ("http://169.254.169.254/latest", "not public"),
        ("/nowhere/a.mp4", "does not exist"),
        ("/dev/null", "is a pipe or a device"),
    ],
)
def test_invalid_inputs_are_problems(given: str, reason: str) -> None:
    sources, (problem,) = read_sources(given)
    assert sources == []
    line = str(problem)
    assert reason in line
    assert line.startswith("--input: ")
    assert "secret" not in line


def test_private_addresses_are_accepted_if_allowed() -> None:
    (source,), problems = read_sources("http://127.0.0.1/a.mp4", FetchLimits(private_networks=ALL_NETWORKS))
    assert (source.id, problems) == ("a", [])


def test_folder_without_videos_or_with_an_outside_symlink_is_a_problem(tmp_path: Path) -> None:
    assert "no videos" in str(read_sources(str(tmp_path))[1][0])
    outside = tmp_path.parent / f"{tmp_path.name}-outside.mp4"
    outside.write_bytes(b"x")
    (tmp_path / "a.mp4").symlink_to(outside)
    assert read_sources(str(tmp_path))[0] == []
    assert len(read_sources(str(tmp_path))[1]) == 1


def test_download_is_complete(fetch: Callable[..., Path], video: bytes) -> None:
    path = fetch()
    assert path.read_bytes() == video
    assert path.name.startswith("My-clip")
    assert path.suffix == ".mp4"
    assert len(survey_video(path).timeline) == 50


def test_url_without_file_name_gets_the_suffix_of_the_content(
    fetch: Callable[..., Path], server: ModelServer, video: bytes
) -> None:
    server.files["/download?id=7"] = video
    assert fetch("/download?id=7").name == "download.mp4"


def send_half(handler: Handler, content: bytes) -> None:
    """Send half of the file with its validators."""
    handler.begin(len(content), headers={"ETag": f'"{len(content)}"'})
    handler.wfile.write(content[: len(content) // 2])
    handler.close_connection = True


def send_half_and_stall(handler: Handler, content: bytes) -> None:
    send_half(handler, content)
    handler.models.released.wait(30)


@pytest.mark.parametrize("fault", [send_half, send_half_and_stall], ids=["breaks off", "stalls"])
def test_interrupted_download_is_resumed(
    fetch: Callable[..., Path], server: ModelServer, video: bytes, fault: Fault
) -> None:
    server.faults.append(fault)
    assert fetch(stall_seconds=0.3).read_bytes() == video
    assert server.ranges == ["", "bytes=65536-"]  # complete chunks of 64 KiB


def test_interrupted_download_without_validators_restarts(
    fetch: Callable[..., Path], server: ModelServer, video: bytes
) -> None:
    server.faults.append(truncate)
    assert fetch().read_bytes() == video
    assert server.ranges == ["", ""]


def test_stalling_server_is_a_transient_error(fetch: Callable[..., Path], server: ModelServer) -> None:
    server.faults.extend([stall] * 3)
    with pytest.raises(TransientError, match="tried 3 times"):
        fetch(stall_seconds=0.2)
    assert len(server.requests) == 3


def test_busy_server_is_retried(fetch: Callable[..., Path], server: ModelServer, video: bytes) -> None:
    server.faults.extend([answer_busy(503), answer_busy(500)])
    assert fetch().read_bytes() == video


def test_changed_file_is_downloaded_again(fetch: Callable[..., Path], server: ModelServer, video: bytes) -> None:
    def changes(handler: Handler, content: bytes) -> None:
        handler.begin(len(content) + 1, headers={"ETag": '"another"'})
        handler.wfile.write(b"?" * 1000)
        handler.close_connection = True

    server.faults.append(changes)
    assert fetch().read_bytes() == video


def test_stated_size_over_the_limit_is_refused_at_once(fetch: Callable[..., Path], server: ModelServer) -> None:
    def huge(handler: Handler, _: bytes) -> None:
        handler.begin(10**12)
        handler.close_connection = True

    server.faults.append(huge)
    with pytest.raises(BadInput, match=r"more than the 1000000 bytes that a video may have \(--max-download\)"):
        fetch(max_bytes=10**6)
    assert len(server.requests) == 1


def test_unstated_size_over_the_limit_is_refused(fetch: Callable[..., Path], server: ModelServer) -> None:
    server.faults.append(send_endlessly)
    with pytest.raises(BadInput, match="more than the 2000000 bytes"):
        fetch(max_bytes=2 * 10**6)
    assert len(server.requests) == 1


def test_truncated_body_without_length_is_detected(fetch: Callable[..., Path], server: ModelServer) -> None:
    def silent(handler: Handler, content: bytes) -> None:
        handler.begin(None)
        handler.wfile.write(content[: len(content) // 2])

    server.faults.append(silent)
    with pytest.raises(BadInput, match=r"the file from http.* is truncated"):
        fetch()


def test_truncated_chunked_body_is_detected(fetch: Callable[..., Path], server: ModelServer, video: bytes) -> None:
    def chunked(handler: Handler, content: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"10000\r\n" + content[: 1 << 16] + b"\r\n")
        handler.close_connection = True

    server.faults.append(chunked)
    assert fetch().read_bytes() == video
    assert len(server.requests) == 2


PAGE = b"<!DOCTYPE html><html><body>Watch this video</body></html>"


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "video/mp4"])
def test_web_page_instead_of_a_video_is_refused(fetch: Callable[..., Path], server: ModelServer, kind: str) -> None:
    server.faults.append(answer_with(PAGE, kind))
    with pytest.raises(BadInput, match=r"a web page.*; give the address of the video file itself"):
        fetch()
    assert len(server.requests) == 1


def test_other_files_instead_of_a_video_are_refused(fetch: Callable[..., Path], server: ModelServer) -> None:
    for content, reason in (
        (b"hello\n" * 99, "is a text file"),
        (b"", "is empty"),
        (b"\x07\x00" * 999, "no video file"),
    ):
        server.faults.append(answer_with(content))
        with pytest.raises(BadInput, match=f"the file from http.*{reason}"):
            fetch()


def test_missing_file_is_bad_input(fetch: Callable[..., Path]) -> None:
    with pytest.raises(BadInput, match="does not have this file"):
        fetch("/absent.mp4")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://127.0.0.2/a.mp4", "not a public address"),
        ("http://localhost.localdomain@127.0.0.3/a.mp4", "not a public address"),
        ("http://[::1]/a.mp4", "not a public address"),
        ("http://169.254.169.254/latest/meta-data", "not a public address"),
        ("file:///etc/passwd", "cannot work"),
        ("ftp://example.org/a.mp4", "cannot work"),
    ],
)
def test_redirects_to_forbidden_addresses_are_refused(
    fetch: Callable[..., Path], server: ModelServer, target: str, reason: str
) -> None:
    server.faults.append(redirect_to(target))
    with pytest.raises(BadInput, match=reason):
        fetch()
    assert len(server.requests) == 1


def test_redirect_to_another_file_is_followed(fetch: Callable[..., Path], server: ModelServer, video: bytes) -> None:
    server.files["/elsewhere"] = video
    server.faults.append(redirect_to("/elsewhere"))
    assert fetch().read_bytes() == video


def test_private_server_is_not_contacted_unless_allowed(
    fetch: Callable[..., Path], server: ModelServer, video: bytes
) -> None:
    with pytest.raises(BadInput, match="not public"):
        fetch(private_networks=())
    assert server.requests == []
    assert fetch(private_networks=ALL_NETWORKS).read_bytes() == video
