"""Reading all frames: intact frames of a damaged file are kept, and damaged ones keep their places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from tasks.engine.contract.errors import BadInput
from tasks.media.reading import DamagedFrame, FrameImage, UnreliableIndexError, VideoReader

from .conftest import DEFECTS, digest
from .test_damage import decode_fully, flip_bits

Reference = Callable[[Path], list[tuple[int | None, str]]]


def read_all(path: Path) -> list[FrameImage | DamagedFrame]:
    with VideoReader(path) as reader:
        frames = list(reader.read_frames_or_damage())
        assert [frame.frame_index for frame in frames] == list(range(len(reader.timeline)))
        assert [frame.actual_seconds for frame in frames] == [reader.timeline.seconds(n) for n in range(len(frames))]
    return frames


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_intact_video_gives_every_frame(name: str, defect: Callable[[str], Path]) -> None:
    path = defect(name)
    with VideoReader(path) as reader:
        chosen = [digest(frame.image) for frame in reader.read_frames(range(len(reader.timeline)))]
    assert [digest(frame.image) for frame in read_all(path) if isinstance(frame, FrameImage)] == chosen


def test_inexact_recovery_points_are_no_entries(defect: Callable[[str], Path], reference: Reference) -> None:
    """Intra refresh: the container marks recovery points as keyframes, but frames depend on earlier ones."""
    path = defect("intra-refresh.mp4")
    with VideoReader(path) as reader:
        frames = list(reader.read_frames_or_damage())
    assert [digest(frame.image) for frame in frames if isinstance(frame, FrameImage)] == [
        picture for _, picture in reference(path)
    ]


@pytest.mark.parametrize("name", ["plain.mp4", "open-gop-h264.mp4", "no-container.h264"])
def test_both_read_methods_give_the_same_frames(name: str, defect: Callable[[str], Path]) -> None:
    chosen = [41, 3, 17, 18, 3]
    with VideoReader(defect(name)) as reader:
        right = [(frame.frame_index, digest(frame.image)) for frame in reader.read_frames(chosen)]
    with VideoReader(defect(name)) as reader:
        frames = [frame for frame in reader.read_frames_or_damage(chosen) if isinstance(frame, FrameImage)]
    assert [(frame.frame_index, digest(frame.image)) for frame in frames] == right


def test_chosen_frames_keep_their_places_around_damage(
    defect: Callable[[str], Path], reference: Reference, tmp_path: Path
) -> None:
    """Keep the places of frames of the damaged GOP (15 to 29), and read the others."""
    intact = defect("plain.mp4")
    with VideoReader(damage_packet(intact, 15, tmp_path / "damaged.mp4")) as reader:
        frames = list(reader.read_frames_or_damage([2, 14, 15, 29, 30, 49]))
    assert [frame.frame_index for frame in frames if isinstance(frame, DamagedFrame)] == [15, 29]
    right = reference(intact)
    for frame in frames:
        assert isinstance(frame, DamagedFrame) or digest(frame.image) == right[frame.frame_index][1]


@pytest.mark.parametrize("name", ["plain.mp4", "open-gop-h264.mp4", "no-container.h264"])
def test_last_frames_equal_those_of_read_frames(name: str, defect: Callable[[str], Path]) -> None:
    with VideoReader(defect(name)) as reader:
        right = [digest(frame.image) for frame in reader.read_frames(range(31, 50))]
    with VideoReader(defect(name)) as reader:
        frames = [frame for frame in reader.read_frames_or_damage(range(31, 50)) if isinstance(frame, FrameImage)]
    assert [digest(frame.image) for frame in frames] == right


def test_rgb_is_bgr_reversed(defect: Callable[[str], Path]) -> None:
    with VideoReader(defect("plain.mp4")) as bgr, VideoReader(defect("plain.mp4"), channels="rgb24") as rgb:
        assert np.array_equal(next(bgr.read_frames([7])).image[:, :, ::-1], next(rgb.read_frames([7])).image)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["plain.mp4", "plain.ts", "mpeg2-b-frames.mpg", "vfr.mkv", "mpeg4-b-frames.avi"])
def test_flipped_bits(
    name: str, seed: int, defect: Callable[[str], Path], reference: Reference, tmp_path: Path
) -> None:
    """Compare each frame with that of the intact file or of a full decode of the damaged file; none is lost."""
    right = {pts: {picture} for pts, picture in reference(defect(name))}
    path = tmp_path / name
    path.write_bytes(flip_bits(defect(name).read_bytes(), seed))
    try:
        frames = read_all(path)
    except (BadInput, UnreliableIndexError):
        return
    full = decode_fully(path)
    for frame in frames:
        if isinstance(frame, FrameImage):
            assert digest(frame.image) in right.get(frame.pts, set()) | full[frame.pts]


def damage_packet(path: Path, number: int, to: Path) -> Path:
    """Copy the video with zeros in packet ``number``, except its first 40 bytes."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    offset, size = packets[number]
    data = bytearray(path.read_bytes())
    data[offset + 40 : offset + size] = bytes(size - 40)
    to.write_bytes(data)
    return to


def test_damaged_keyframe_damages_its_gop_only(
    defect: Callable[[str], Path], reference: Reference, tmp_path: Path
) -> None:
    """Expect damage in all 15 frames of its closed GOP, and nowhere else."""
    intact = defect("plain.mp4")
    frames = read_all(damage_packet(intact, 15, tmp_path / "damaged.mp4"))
    bad = [frame for frame in frames if isinstance(frame, DamagedFrame)]
    assert [frame.frame_index for frame in bad] == list(range(15, 30))
    assert "damaged: the decoder" in bad[0].reason
    for frame, (_, right) in zip(frames, reference(intact), strict=True):
        assert isinstance(frame, DamagedFrame) or digest(frame.image) == right


def test_damaged_reference_damages_frames_shown_before_it(
    defect: Callable[[str], Path], reference: Reference, tmp_path: Path
) -> None:
    """Frames between two references leave the decoder before the second reference, and share its damage."""
    intact = defect("open-gop-h264.mp4")
    with av.open(str(intact)) as container:
        packets = [(packet.pts, packet.is_keyframe) for packet in container.demux(video=0) if packet.size]
    keyframe = [number for number, (_, is_key) in enumerate(packets) if is_key][1]
    leading = sum(pts < packets[keyframe][0] for pts, _ in packets[keyframe + 1 :])
    assert leading > 0
    shown = sum(pts < packets[keyframe][0] for pts, _ in packets)
    frames = read_all(damage_packet(intact, keyframe, tmp_path / "damaged.mp4"))
    bad = [frame.frame_index for frame in frames if isinstance(frame, DamagedFrame)]
    assert bad[: leading + 1] == list(range(shown - leading, shown + 1))
    for frame, (_, right) in zip(frames, reference(intact), strict=True):
        assert isinstance(frame, DamagedFrame) or digest(frame.image) == right


@pytest.mark.parametrize("name", ["h264-without-times.avi", "no-container.h264"])
def test_damage_in_a_video_without_times_stays_within_its_gop(
    name: str, defect: Callable[[str], Path], reference: Reference, tmp_path: Path
) -> None:
    """Only frames of the damaged GOP are damaged. Frames that the decoder does not output do not count."""
    intact = defect(name)
    path = damage_packet(intact, 20, tmp_path / name)
    with VideoReader(path) as reader:
        frames = list(reader.read_frames_or_damage())
        chosen = list(reader.read_frames_or_damage([3, 22, len(frames) - 3]))
    bad = [frame.frame_index for frame in frames if isinstance(frame, DamagedFrame)]
    assert bad
    assert 15 <= bad[0] <= bad[-1] <= 30
    right = [picture for _, picture in reference(intact)]
    good = [digest(frame.image) for frame in frames if isinstance(frame, FrameImage)]
    assert good[:15] == right[:15]
    assert good[-19:] == right[-19:]
    assert all(picture in right for picture in good)
    assert [type(frame) for frame in chosen] == [FrameImage, DamagedFrame, FrameImage]
