"""Reading a whole video: the good frames of a damaged file are kept, and each bad one keeps its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from tasks.engine.contract.errors import BadInput
from tasks.media.reading import DamagedFrame, FrameImage, UnreliableIndexError, VideoReader

from .conftest import DEFECTS, digest
from .test_damage import decoded, flipped

Reference = Callable[[Path], list[tuple[int | None, str]]]


def whole(path: Path) -> list[FrameImage | DamagedFrame]:
    with VideoReader(path) as reader:
        found = list(reader.read_frames_or_damage())
        assert [frame.frame_index for frame in found] == list(range(len(reader.timeline)))
        assert [frame.actual_seconds for frame in found] == [reader.timeline.seconds(n) for n in range(len(found))]
    return found


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_a_sound_video_gives_every_frame(name: str, defect: Callable[[str], Path]) -> None:
    path = defect(name)
    with VideoReader(path) as reader:
        chosen = [digest(frame.image) for frame in reader.read_frames(range(len(reader.timeline)))]
    assert [digest(frame.image) for frame in whole(path) if isinstance(frame, FrameImage)] == chosen


def test_recovery_points_are_no_entries(defect: Callable[[str], Path], reference: Reference) -> None:
    """Intra refresh: the container marks recovery points as keyframes, but frames need what comes before them."""
    path = defect("intra-refresh.mp4")
    with VideoReader(path) as reader:
        found = list(reader.read_frames_or_damage())
    assert [digest(frame.image) for frame in found if isinstance(frame, FrameImage)] == [
        picture for _, picture in reference(path)
    ]


@pytest.mark.parametrize("name", ["plain.mp4", "open-gop-h264.mp4", "no-container.h264"])
def test_chosen_frames_are_those_of_frames(name: str, defect: Callable[[str], Path]) -> None:
    chosen = [41, 3, 17, 18, 3]
    with VideoReader(defect(name)) as reader:
        right = [(frame.frame_index, digest(frame.image)) for frame in reader.read_frames(chosen)]
    with VideoReader(defect(name)) as reader:
        frames = [frame for frame in reader.read_frames_or_damage(chosen) if isinstance(frame, FrameImage)]
    assert [(frame.frame_index, digest(frame.image)) for frame in frames] == right


def test_chosen_frames_beside_damage(defect: Callable[[str], Path], reference: Reference, tmp_path: Path) -> None:
    """Frames of the damaged GOP (15 to 29) keep their places, and the others are given."""
    sound = defect("plain.mp4")
    with VideoReader(without_packet(sound, 15, tmp_path / "damaged.mp4")) as reader:
        found = list(reader.read_frames_or_damage([2, 14, 15, 29, 30, 49]))
    assert [frame.frame_index for frame in found if isinstance(frame, DamagedFrame)] == [15, 29]
    right = reference(sound)
    for frame in found:
        assert isinstance(frame, DamagedFrame) or digest(frame.image) == right[frame.frame_index][1]


@pytest.mark.parametrize("name", ["plain.mp4", "open-gop-h264.mp4", "no-container.h264"])
def test_the_end_of_a_video_alone(name: str, defect: Callable[[str], Path]) -> None:
    with VideoReader(defect(name)) as reader:
        right = [digest(frame.image) for frame in reader.read_frames(range(31, 50))]
    with VideoReader(defect(name)) as reader:
        frames = [frame for frame in reader.read_frames_or_damage(range(31, 50)) if isinstance(frame, FrameImage)]
    assert [digest(frame.image) for frame in frames] == right


def test_channels(defect: Callable[[str], Path]) -> None:
    with VideoReader(defect("plain.mp4")) as bgr, VideoReader(defect("plain.mp4"), channels="rgb24") as rgb:
        assert np.array_equal(next(bgr.read_frames([7])).image[:, :, ::-1], next(rgb.read_frames([7])).image)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["plain.mp4", "plain.ts", "mpeg2-b-frames.mpg", "vfr.mkv", "mpeg4-b-frames.avi"])
def test_flipped_bits(
    name: str, seed: int, defect: Callable[[str], Path], reference: Reference, tmp_path: Path
) -> None:
    """Each frame that comes out is the sound file's, or what a full decode makes of the flip; none is lost."""
    right = {pts: {picture} for pts, picture in reference(defect(name))}
    path = tmp_path / name
    path.write_bytes(flipped(defect(name).read_bytes(), seed))
    try:
        found = whole(path)
    except (BadInput, UnreliableIndexError):
        return
    full = decoded(path)
    for frame in found:
        if isinstance(frame, FrameImage):
            assert digest(frame.image) in right.get(frame.pts, set()) | full[frame.pts]


def without_packet(path: Path, number: int, to: Path) -> Path:
    """A copy of the video with noughts for all of its packet ``number`` but the first 40 bytes."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    offset, size = packets[number]
    data = bytearray(path.read_bytes())
    data[offset + 40 : offset + size] = bytes(size - 40)
    to.write_bytes(data)
    return to


def test_a_damaged_keyframe(defect: Callable[[str], Path], reference: Reference, tmp_path: Path) -> None:
    """Its closed GOP of 15 frames is bad, and no other frame is."""
    sound = defect("plain.mp4")
    found = whole(without_packet(sound, 15, tmp_path / "damaged.mp4"))
    bad = [frame for frame in found if isinstance(frame, DamagedFrame)]
    assert [frame.frame_index for frame in bad] == list(range(15, 30))
    assert "damaged: the decoder" in bad[0].reason
    for frame, (_, right) in zip(found, reference(sound), strict=True):
        assert isinstance(frame, DamagedFrame) or digest(frame.image) == right


def test_a_damaged_reference_of_frames_that_are_shown_before_it(
    defect: Callable[[str], Path], reference: Reference, tmp_path: Path
) -> None:
    """The frames between two references come out of the decoder before the second one, whose damage is theirs too."""
    sound = defect("open-gop-h264.mp4")
    with av.open(str(sound)) as container:
        packets = [(packet.pts, packet.is_keyframe) for packet in container.demux(video=0) if packet.size]
    keyframe = [number for number, (_, is_key) in enumerate(packets) if is_key][1]
    leading = sum(pts < packets[keyframe][0] for pts, _ in packets[keyframe + 1 :])
    assert leading > 0
    shown = sum(pts < packets[keyframe][0] for pts, _ in packets)
    found = whole(without_packet(sound, keyframe, tmp_path / "damaged.mp4"))
    bad = [frame.frame_index for frame in found if isinstance(frame, DamagedFrame)]
    assert bad[: leading + 1] == list(range(shown - leading, shown + 1))
    for frame, (_, right) in zip(found, reference(sound), strict=True):
        assert isinstance(frame, DamagedFrame) or digest(frame.image) == right


@pytest.mark.parametrize("name", ["h264-without-times.avi", "no-container.h264"])
def test_damage_in_a_video_without_times(
    name: str, defect: Callable[[str], Path], reference: Reference, tmp_path: Path
) -> None:
    """The rest of the damaged GOP is bad, and no other frame is. A frame that decoding does not give is no frame."""
    sound = defect(name)
    path = without_packet(sound, 20, tmp_path / name)
    with VideoReader(path) as reader:
        frames = list(reader.read_frames_or_damage())
        chosen = list(reader.read_frames_or_damage([3, 22, len(frames) - 3]))
    bad = [frame.frame_index for frame in frames if isinstance(frame, DamagedFrame)]
    assert bad
    assert 15 <= bad[0] <= bad[-1] <= 30
    right = [picture for _, picture in reference(sound)]
    good = [digest(frame.image) for frame in frames if isinstance(frame, FrameImage)]
    assert good[:15] == right[:15]
    assert good[-19:] == right[-19:]
    assert all(picture in right for picture in good)
    assert [type(frame) for frame in chosen] == [FrameImage, DamagedFrame, FrameImage]
