"""Videos whose frames are coded as two fields in separate packets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tasks.media.reading import DamagedFrame, FrameImage, VideoReader

from .conftest import digest, run_ffmpeg
from .field_video import encode_h264_fields, encode_mpeg2_fields, write_fields
from .test_entries import Reference, check

FRAMES, GROUP = 12, 4
KEYFRAMES = set(range(0, 2 * FRAMES, 2 * GROUP))
KINDS = ["h264", "h264-recovery", "h264-disposable", "mpeg2video"]


def encode_fields(kind: str) -> list[bytes]:
    if kind == "mpeg2video":
        return encode_mpeg2_fields(FRAMES, GROUP)
    return encode_h264_fields(FRAMES, GROUP, recovery=kind == "h264-recovery", disposable=kind == "h264-disposable")


def write(path: Path, kind: str, pictures: Sequence[bytes], keyframes: set[int] = KEYFRAMES) -> Path:
    return write_fields(path, pictures, keyframes, "mpeg2video" if kind == "mpeg2video" else "h264")


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
@pytest.mark.parametrize("kind", KINDS)
def test_field_coded_frames_equal_a_full_decode(kind: str, suffix: str, tmp_path: Path, reference: Reference) -> None:
    """Check that frames and provenance do not depend on the requested frames, and that decoding starts at keyframes."""
    path = write(tmp_path / f"fields.{suffix}", kind, encode_fields(kind))
    right = [picture for _, picture in reference(path)]
    assert len(set(right)) == FRAMES
    check(path, right)
    with VideoReader(path) as reader:
        assert reader.info.frames == FRAMES
        assert reader.info.fps == pytest.approx(25)
        distances = [frame.keyframe_distance_frames for frame in reader.read_frames(range(FRAMES))]
        assert distances == [frame % GROUP for frame in range(FRAMES)]


def test_field_coded_frames_in_mp4_equal_a_full_decode(tmp_path: Path, reference: Reference) -> None:
    raw = tmp_path / "fields.h264"
    raw.write_bytes(b"".join(encode_fields("h264")))
    path = tmp_path / "fields.mp4"
    run_ffmpeg("-f", "h264", "-framerate", "50", "-i", str(raw), "-c", "copy", str(path))
    check(path, [picture for _, picture in reference(path)])


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_keyframe_flags_of_fields_do_not_change_frames(kind: str, tmp_path: Path, reference: Reference) -> None:
    path = write(tmp_path / "fields.mkv", kind, encode_fields(kind), set(range(2 * FRAMES)))
    check(path, [picture for _, picture in reference(path)])


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
@pytest.mark.parametrize("kind", KINDS)
def test_recording_that_ends_within_a_frame_keeps_whole_frames(
    kind: str, suffix: str, tmp_path: Path, reference: Reference
) -> None:
    """Keep all whole frames, and drop the single field at the end."""
    whole = write(tmp_path / f"whole.{suffix}", kind, encode_fields(kind))
    right = [picture for _, picture in reference(whole)]
    check(write(tmp_path / f"cut.{suffix}", kind, encode_fields(kind)[:-1]), right[:-1])


@pytest.mark.parametrize("kind", KINDS)
def test_missing_field_damages_only_dependent_frames(kind: str, tmp_path: Path, reference: Reference) -> None:
    """Frame 6 lacks its bottom field: it is damaged, and so are frames decoded from it. All others are correct."""
    pictures = encode_fields(kind)
    right = [picture for _, picture in reference(write(tmp_path / "whole.mkv", kind, pictures))]
    path = write(tmp_path / "gap.mkv", kind, pictures[:13] + pictures[14:], {0, 8, 15})
    with VideoReader(path) as reader:
        frames = list(reader.read_frames_or_damage())
    good = [digest(frame.image) for frame in frames if isinstance(frame, FrameImage)]
    assert good == right[:6] + right[8:]
    reasons = [frame.reason for frame in frames if isinstance(frame, DamagedFrame)]
    assert reasons
    assert all("second field is missing" in reason for reason in reasons)
