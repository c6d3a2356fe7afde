"""Files that are not videos are rejected in one line, and playlists without opening their entries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.engine.contract.errors import BadInput
from tasks.media.reading import VideoReader


def get_refusal(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        VideoReader(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_empty_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert get_refusal(tmp_path / "a.mp4") == "a.mp4: is empty (0 bytes); fetch it again"


def test_text_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("<html>404: no such video, sorry about thät</html>\n" * 20, encoding="utf-8")
    assert get_refusal(tmp_path / "a.mp4") == "a.mp4: is a text file, not a video"


def test_random_bytes_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(np.random.default_rng(0).bytes(50_000))
    assert "is damaged or no video file" in get_refusal(tmp_path / "a.mp4")


def test_missing_file_is_rejected(tmp_path: Path) -> None:
    assert get_refusal(tmp_path / "a.mp4") == "a.mp4: no such file"


def test_folder_is_rejected(tmp_path: Path) -> None:
    assert get_refusal(tmp_path) == f"{tmp_path.name}: is a folder, not a video file"


def test_audio_file_is_rejected(ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac", str(tmp_path / "a.mp4"))
    assert "holds no video stream" in get_refusal(tmp_path / "a.mp4")


def test_audio_file_with_cover_is_rejected(ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "cover.png"), np.zeros((64, 64, 3), np.uint8))
    cover = [
        "-i",
        str(tmp_path / "cover.png"),
        "-map",
        "0",
        "-map",
        "1",
        "-c:v",
        "png",
        "-disposition:v",
        "attached_pic",
    ]
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", *cover, str(tmp_path / "a.mp4"))
    assert "holds no video stream" in get_refusal(tmp_path / "a.mp4")


def test_image_is_rejected(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "a.png").rename(tmp_path / "a.mp4")
    assert "no video file" in get_refusal(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.ffconcat", "ffconcat version 1.0\nfile '{video}'\n"),
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:3,\n{video}\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:3,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"),
    ],
)
def test_playlists_are_rejected(name: str, text: str, defect: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text.format(video=defect("plain.ts")), encoding="utf-8")
    assert "is a text file" in get_refusal(tmp_path / name)


def test_path_that_looks_like_a_protocol_is_read_as_a_file(
    defect: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "concat:a|b.mp4"
    (tmp_path / name).write_bytes(defect("plain.mp4").read_bytes())
    with VideoReader(Path(name)) as reader:
        assert len(reader.timeline) == 50


def test_info_describes_the_video(defect: Callable[[str], Path]) -> None:
    with VideoReader(defect("plain.mp4")) as reader:
        info = reader.info
    assert (info.codec, info.width_px, info.height_px, info.frames) == ("h264", 320, 180, 50)
    assert info.fps == pytest.approx(25)
    assert info.duration_seconds == pytest.approx(2)
